"""Pictures of TAX-7: every method of the registry, placed by structure and by time, in short and in full."""

from collections.abc import Callable

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, Rectangle

from pruning_lib.structure import keep_largest, keep_n_of_m
from pruning_lib.taxonomy import METHODS, STRUCTURES, TIMES, Method, methods_of
from pruning_lib.teaching.figures import style
from pruning_lib.teaching.figures.structures import keep_rows

_COLUMN, _WIDE, _LINE = 3.6, 5.2, 0.3  # width of a column and height of a line of text, in units of the drawing
_LEFT, _TOP = -1.35, 1.75
_INCH = style.WIDTH / (_COLUMN * len(STRUCTURES) - _LEFT)  # inches per unit


@style.in_style
def scheme() -> Figure:
    """Columns: what is removed. Rows: when. A box names the method, its notebook, and the data it needs to choose."""
    return _draw_all(_COLUMN, lambda method: [f"data: {method.data}"])


@style.in_style
def poster() -> Figure:
    """The same for a wall: also by which rule weights stay, how the rest is repaired, at what cost, and by whom."""
    return _draw_all(
        _WIDE,
        lambda method: [
            f"rule: {method.rule}",
            f"data: {method.data}",
            f"repair: {method.compensation}",
            f"cost: {method.cost}",
            method.source,
        ],
    )


def _draw_all(wide: float, lines_of: Callable[[Method], list[str]]) -> Figure:
    width = (wide * len(STRUCTURES) - _LEFT) * _INCH
    box = (len(lines_of(METHODS[0])) + 1) * _LINE + 0.18
    rows = {time: max(1, *(len(methods_of(structure, time)) for structure in STRUCTURES)) for time in TIMES}
    height = _TOP + sum(rows.values()) * box + len(TIMES) * 0.35
    figure = style.new_figure(width, height * _INCH + 0.4)
    ax = figure.subplots()
    ax.set(xlim=(_LEFT, wide * len(STRUCTURES)), ylim=(height, 0))
    ax.axis("off")
    for column, (structure, keep) in enumerate(_examples().items()):
        center = (column + 0.5) * wide
        ax.text(center, 0.3, structure, ha="center", va="center", fontsize=style.TITLE + 1, fontweight="bold")
        place = (center - 1.1 - _LEFT) * _INCH / width, 1 - 1.6 / height, 2.2 * _INCH / width, 1.0 / height
        style.draw_weights(ax.inset_axes(place), keep)
    ax.text(_LEFT, 1.05, "02: notebook\nthat shows it", va="center", fontsize=style.SMALL)
    top = _TOP
    for time in TIMES:
        size, color = rows[time] * box + 0.25, style.TIME_COLORS[time]
        ax.text(_LEFT + 0.25, top + size / 2, f"{time}\ntraining", va="center", fontsize=style.TITLE, fontweight="bold")
        ax.add_patch(Rectangle((_LEFT, top), 0.1, size, color=color))
        for column, structure in enumerate(STRUCTURES):
            ax.add_patch(Rectangle((column * wide + 0.05, top), wide - 0.1, size, facecolor=style.PANEL))
            found = methods_of(structure, time)
            if not found:
                here = column * wide + wide / 2, top + 0.5
                ax.text(*here, "none in this course", ha="center", va="center", fontsize=style.SMALL)
            for index, method in enumerate(found):
                corner = column * wide, top + 0.125 + index * box
                _draw_method(ax, method, lines_of(method), corner, (wide, box), color)
        top += size + 0.1
    style.draw_legend(figure, "kept", "pruned")
    return figure


def _examples() -> dict[str, torch.Tensor]:
    """One small matrix for each structure, half of it pruned."""
    weight = torch.randn(4, 8, generator=torch.Generator().manual_seed(3)).abs()
    kept = keep_largest({"w": weight}, 0.5)["w"], keep_n_of_m({"w": weight}, 2, 4)["w"], keep_rows(weight)
    return dict(zip(STRUCTURES, kept, strict=True))


def _draw_method(
    ax: Axes, method: Method, lines: list[str], corner: tuple[float, float], size: tuple[float, float], color: str
) -> None:
    (left, top), (wide, height) = corner, size
    place = (left + 0.15, top + 0.06), wide - 0.3, height - 0.12
    shape = {"boxstyle": "round,pad=0,rounding_size=0.08", "linewidth": 1.8}
    ax.add_patch(FancyBboxPatch(*place, facecolor=style.PAPER, edgecolor=color, **shape))
    left, right, y = left + 0.23, left + wide - 0.23, top + 0.09 + _LINE / 2
    ax.text(left, y + 0.02, method.name, va="center", fontweight="bold")
    ax.text(right, y + 0.02, method.notebook.split("_")[0], va="center", ha="right", fontsize=style.SMALL)
    for index, line in enumerate(lines, start=1):
        ax.text(left, y + index * _LINE, line, va="center", fontsize=style.SMALL)
