"""Picture of 2:4: half the values, two bits for each, and the multiplexer that these bits steer."""

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, Polygon, Rectangle
from torch import Tensor

from pruning_lib.acceleration.packing import matmul, pack, select
from pruning_lib.acceleration.roofline import packed_share
from pruning_lib.structure import keep_n_of_m
from pruning_lib.teaching.figures import style
from pruning_lib.teaching.palette import ACCENT, GOOD, MUTED, PRUNED

_ROWS, _COLUMNS = 4, 8
_X, _MUX, _TIMES, _SUM = 8.0, 10.8, 13.1, 15.0  # heights of the four lines of the lower part


@style.in_style
def two_four(seed: int = 1, parts: tuple[str, ...] = ("packing", "product")) -> Figure:
    """Above, a matrix and what `packing.pack` makes of it; below, how its first row meets x (`packing.select`).

    A lesson may show one of the two `parts` alone.
    """
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randint(1, 10, (_ROWS, _COLUMNS), generator=generator).float()
    weight *= torch.randint(0, 2, weight.shape, generator=generator) * 2 - 1
    weight[0, :4] = torch.tensor([1.0, -9.0, 2.0, 0.5])  # the group that notebook 06 follows
    keep = keep_n_of_m({"w": weight.abs()}, 2, 4)["w"]
    values, indices = pack(weight * keep)
    x = torch.randint(1, 10, (_COLUMNS, 1), generator=generator).float()
    x[:4, 0] = torch.tensor([2.0, 1.0, -1.0, 3.0])  # what its widget multiplies that group with
    top, bottom = -0.6 if "packing" in parts else 6.2, _SUM + 0.8 if "product" in parts else 5.2
    figure = style.new_figure(style.WIDTH, 0.58 + 0.3 * (bottom - top))
    ax = figure.subplots()
    if "packing" in parts:
        _draw_packing(ax, weight, keep, values, indices)
    if "product" in parts:
        _draw_product(ax, values[:1], indices[:1], x)
    style.as_drawing(ax, (-0.9, 26.5), (bottom, top))
    style.draw_legend(figure, "kept", "pruned")
    return figure


def _draw_packing(ax: Axes, weight: Tensor, keep: Tensor, values: Tensor, indices: Tensor) -> None:
    lefts = {"W: 2 of every 4 stay": 0, "values": 12.1, "2-bit indices idx₀, idx₁": 18.1}
    for text, left in lefts.items():
        ax.text(left, 0.5, text, fontweight="bold", fontsize=style.TITLE)
    dense, packed, bits = lefts.values()
    style.place_weights(ax, keep, (dense, 1), block=(_ROWS, 4))
    style.place_weights(ax, torch.ones_like(values, dtype=torch.bool), (packed, 1), block=(_ROWS, 2))
    for row in range(_ROWS):
        for column in range(_COLUMNS):
            color = "white" if keep[row, column] else MUTED
            _number(ax, column + style.GAP * (column // 4), 1 + row, weight[row, column], color)
        for column in range(_COLUMNS // 2):
            at = column + style.GAP * (column // 2)
            _number(ax, packed + at, 1 + row, values[row, column], "white")
            _code(ax, bits + at, 1 + row, int(indices[row, column]))
    style.arrow(ax, (dense + 9, 3), (packed - 0.5, 3))
    ax.text(10.3, 2.6, "pack", ha="center")
    share = packed_share(torch.float16)
    ax.text(bits + 5, 3, f"in float16\n{share:.0%} of\nthe bytes", va="center")


def _draw_product(ax: Axes, values: Tensor, indices: Tensor, x: Tensor) -> None:
    text = "The first row times x: each index lets one of four entries of x through"
    ax.text(0, 6.9, text, fontweight="bold", fontsize=style.TITLE)
    ax.text(0.3, _X + 0.5, "x", ha="right", va="center")
    through = select(indices, x)[0, :, 0]
    for group in range(_COLUMNS // 4):
        left = 0.8 + 12.2 * group
        entries = [left + 1.1 + 2.4 * i for i in range(4)]
        for i, at in enumerate(entries):
            ax.add_patch(Rectangle((at - 0.45, _X + 0.05), 0.9, 0.9, facecolor="white", edgecolor=style.INK))
            _number(ax, at - 0.5, _X, x[4 * group + i, 0], style.INK)
        for j in (2 * group, 2 * group + 1):
            center = left + 2.3 + 4.8 * (j % 2)
            _multiplexer(ax, center, entries, int(indices[0, j]))
            style.arrow(ax, (center, _MUX + 1), (center, _TIMES - 0.45), ACCENT, linewidth=1.8)
            ax.text(center + 0.25, _MUX + 1.5, f"{through[j]:.0f}".replace("-", "−"), va="center")
            ax.add_patch(Circle((center, _TIMES), 0.45, facecolor="white", edgecolor=style.INK, linewidth=1.2))
            ax.text(center, _TIMES, "×", ha="center", va="center")
            style.place_weights(ax, torch.ones(1, 1, dtype=torch.bool), (center - 1.9, _TIMES - 0.5))
            _number(ax, center - 1.9, _TIMES - 0.5, values[0, j], "white")
            ax.plot([center - 0.95, center - 0.45], [_TIMES, _TIMES], color=style.INK, linewidth=1.3)
            ax.plot([center, center], [_TIMES + 0.45, _SUM], color=style.INK, linewidth=1.3)
    style.arrow(ax, (3.1, _SUM), (center + 1.6, _SUM))
    terms = " ".join(f"{value * entry:+.0f}" for value, entry in zip(values[0].tolist(), through.tolist(), strict=True))
    total = matmul(values, indices, x).item()
    ax.text(center + 1.8, _SUM, f"y₁ = {total:.0f}".replace("-", "−"), va="center", fontweight="bold")
    ax.text(center + 1.8, _TIMES, "sum of\n" + terms.replace("-", "−"), va="center", fontsize=style.SMALL)


def _multiplexer(ax: Axes, center: float, entries: list[float], index: int) -> None:
    """A trapezoid with four inputs from `entries` and one way open, which the index at its side chooses."""
    corners = [(center - 1.5, _MUX), (center + 1.5, _MUX), (center + 0.8, _MUX + 1), (center - 0.8, _MUX + 1)]
    ax.add_patch(Polygon(corners, facecolor="white", edgecolor=style.INK, linewidth=1.2))
    for i, at in enumerate(entries):
        chosen = i == index
        line = {"color": ACCENT, "linewidth": 2, "zorder": 3} if chosen else {"color": PRUNED, "linewidth": 1}
        end = center + 0.6 * (i - 1.5)
        ax.plot([at, end], [_X + 0.97, _MUX], **line)
        if chosen:
            ax.plot([end, center], [_MUX, _MUX + 1], **line)
    _code(ax, center - 2.4, _MUX, index)


def _code(ax: Axes, left: float, top: float, index: int) -> None:
    """A 2-bit index."""
    ax.add_patch(Rectangle((left + 0.07, top + 0.07), 0.86, 0.86, facecolor="white", edgecolor=GOOD, linewidth=1.3))
    ax.text(left + 0.5, top + 0.53, f"{index:02b}", ha="center", va="center", fontsize=style.SMALL)


def _number(ax: Axes, left: float, top: float, value: Tensor, color: str) -> None:
    text = f"{value:g}".replace("-", "−")
    ax.text(left + 0.5, top + 0.53, text, ha="center", va="center", fontsize=style.SMALL, color=color)
