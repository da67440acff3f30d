"""Picture of TAX-1, TAX-4 and TAX-5: what each structure takes from one linear and one convolutional layer."""

import torch
from matplotlib.figure import Figure
from torch import Tensor

from pruning_lib.structure import keep_largest, keep_n_of_m, keep_patterns, keep_stripes
from pruning_lib.teaching.figures.style import FONT_SIZE, INK, KEPT_AND_PRUNED, draw_legend, draw_weights, new_figure


def structures(seed: int = 0) -> Figure:
    """Two layers with random weights, pruned to a half by each rule of `pruning_lib.structure`, as computed by it."""
    generator = torch.Generator().manual_seed(seed)
    linear = {"w": torch.randn(8, 16, generator=generator).abs()}
    conv = {"w": torch.randn(4, 4, 3, 3, generator=generator).abs()}
    columns = [
        ("Unstructured", "any weight", keep_largest(linear, 0.5)["w"], keep_largest(conv, 0.5)["w"]),
        ("Semi-structured", "2:4  ·  stripes", keep_n_of_m(linear, 2, 4)["w"], keep_stripes(conv, 0.5)["w"]),
        (
            "Semi-structured",
            "4:8  ·  kernel patterns",
            keep_n_of_m(linear, 4, 8)["w"],
            keep_patterns(conv, entries=4, patterns=3)["w"],
        ),
        ("Structured", "neurons  ·  filters", keep_rows(linear["w"]), keep_rows(conv["w"])),
    ]
    figure = new_figure(11.5, 4.9)
    axes = figure.subplots(2, 4, height_ratios=[8, 19])
    for index, (title, subtitle, linear_mask, conv_mask) in enumerate(columns):
        top, bottom = axes[:, index]
        group = {1: 4, 2: 8}.get(index, 16)
        draw_weights(top, linear_mask, block=(8, group))
        top.set_xlim(-0.8, 18.2)  # as wide as the picture with the most gaps, so that all squares are of one size
        draw_weights(bottom, as_kernels(conv_mask), block=(3, 3))
        top.set_title(f"{title}\n{subtitle}", fontsize=FONT_SIZE + 1, color=INK)
    label(axes[0, 0], "linear layer\n8 neurons × 16 inputs")
    label(axes[1, 0], "convolution\n4 filters × 4 channels\nof 3×3 kernels")
    draw_legend(figure, KEPT_AND_PRUNED, bbox_to_anchor=(0.5, -0.07))
    return figure


def keep_rows(weight: Tensor) -> Tensor:
    """Keep the half of the rows (neurons, filters) with the largest L1 norm."""
    rows = keep_largest({"rows": weight.flatten(1).sum(dim=1)}, 0.5)["rows"]
    return rows.view(-1, *[1] * (weight.ndim - 1)).expand_as(weight)


def as_kernels(weight: Tensor) -> Tensor:
    """(out, in, kh, kw) as a picture of out × in kernels."""
    out, channels, height, width = weight.shape
    return weight.permute(0, 2, 1, 3).reshape(out * height, channels * width)


def label(ax, text: str) -> None:
    ax.text(-0.06, 0.5, text, transform=ax.transAxes, ha="right", va="center", fontsize=FONT_SIZE, color=INK)
