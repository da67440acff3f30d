"""Picture of TAX-1, TAX-4 and TAX-5: what each structure takes from one linear and one convolutional layer."""

import torch
from matplotlib.figure import Figure, SubFigure
from torch import Tensor

from pruning_lib.structure import keep_largest, keep_n_of_m, keep_patterns, keep_stripes
from pruning_lib.teaching.figures import style

_TITLES = ("Unstructured", "Semi-structured", "Semi-structured", "Structured")


@style.in_style
def structures(seed: int = 0) -> Figure:
    """Two layers with random weights, pruned to a half by each rule of `pruning_lib.structure`, as computed by it."""
    generator = torch.Generator().manual_seed(seed)
    linear = {"w": torch.randn(8, 16, generator=generator).abs()}
    conv = {"w": torch.randn(4, 4, 3, 3, generator=generator).abs()}
    of_linear = {
        "any weight": keep_largest(linear, 0.5)["w"],
        "2 of every 4": keep_n_of_m(linear, 2, 4)["w"],
        "4 of every 8": keep_n_of_m(linear, 4, 8)["w"],
        "whole neurons": keep_rows(linear["w"]),
    }
    of_conv = {
        "any weight": keep_largest(conv, 0.5)["w"],
        "stripes of a filter": keep_stripes(conv, 0.5)["w"],
        "kernel patterns": keep_patterns(conv, entries=4, patterns=3)["w"],
        "whole filters": keep_rows(conv["w"]),
    }
    figure = style.new_figure(style.WIDTH, 4.85)
    heads, top, bottom = figure.subfigures(3, 1, height_ratios=[0.3, 1.35, 2.2])
    for ax, title in zip(heads.subplots(1, 4), _TITLES, strict=True):
        ax.axis("off")
        ax.text(0.5, 0.2, title, ha="center", fontsize=style.TITLE + 1, fontweight="bold")
    _draw_row(top, "linear layer: 8 neurons × 16 inputs", of_linear)
    _draw_row(bottom, "convolution: 4 filters × 4 channels of 3×3 kernels", of_conv)
    style.draw_legend(figure, "kept", "pruned")
    return figure


def _draw_row(part: SubFigure, heading: str, masks: dict[str, Tensor]) -> None:
    part.suptitle(heading, fontstyle="italic")
    for ax, (rule, keep) in zip(part.subplots(1, len(masks)), masks.items(), strict=True):
        if keep.ndim == 4:
            style.draw_weights(ax, _as_kernels(keep), block=(3, 3))
        else:
            style.draw_weights(ax, keep, block=(8, {"2 of every 4": 4, "4 of every 8": 8}.get(rule, 16)))
            ax.set_xlim(-0.8, 18.2)  # as wide as the picture with the most gaps, so that all squares are of one size
        ax.set_title(rule)


def keep_rows(weight: Tensor) -> Tensor:
    """Keep the half of the rows (neurons, filters) with the largest L1 norm."""
    rows = keep_largest({"rows": weight.flatten(1).sum(dim=1)}, 0.5)["rows"]
    return rows.view(-1, *[1] * (weight.ndim - 1)).expand_as(weight)


def _as_kernels(weight: Tensor) -> Tensor:
    """(out, in, kh, kw) as a picture of out × in kernels."""
    out, channels, height, width = weight.shape
    return weight.permute(0, 2, 1, 3).reshape(out * height, channels * width)
