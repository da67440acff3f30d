"""Picture of TAX-7: every method of the registry, placed by structure and by time."""

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, Rectangle

from pruning_lib.structure import keep_largest, keep_n_of_m
from pruning_lib.taxonomy import STRUCTURES, TIMES, Method, methods_of
from pruning_lib.teaching.figures import style
from pruning_lib.teaching.figures.structures import keep_rows

_COLUMN, _LINE = 3.6, 0.78  # width of a column and height of a method's box, in units of the drawing
_LEFT, _TOP = -1.35, 1.75
_INCH = style.WIDTH / (_COLUMN * len(STRUCTURES) - _LEFT)  # inches per unit


@style.in_style
def scheme() -> Figure:
    """Columns: what is removed. Rows: when. A box names the method, its notebook, and the data it needs to choose."""
    rows = {time: max(1, *(len(methods_of(structure, time)) for structure in STRUCTURES)) for time in TIMES}
    height = _TOP + sum(rows.values()) * _LINE + len(TIMES) * 0.35
    figure = style.new_figure(style.WIDTH, height * _INCH + 0.4)
    ax = figure.subplots()
    ax.set(xlim=(_LEFT, _COLUMN * len(STRUCTURES)), ylim=(height, 0))
    ax.axis("off")
    for column, (structure, keep) in enumerate(_examples().items()):
        center = (column + 0.5) * _COLUMN
        ax.text(center, 0.3, structure, ha="center", va="center", fontsize=style.TITLE + 1, fontweight="bold")
        place = (center - 1.1 - _LEFT) * _INCH / style.WIDTH, 1 - 1.6 / height, 2.2 * _INCH / style.WIDTH, 1.0 / height
        style.draw_weights(ax.inset_axes(place), keep)
    ax.text(_LEFT, 1.05, "02: notebook\nthat shows it", va="center", fontsize=style.SMALL)
    top = _TOP
    for time in TIMES:
        size = rows[time] * _LINE + 0.25
        ax.text(_LEFT + 0.25, top + size / 2, f"{time}\ntraining", va="center", fontsize=style.TITLE, fontweight="bold")
        ax.add_patch(Rectangle((_LEFT, top), 0.1, size, color=style.TIME_COLORS[time]))
        for column, structure in enumerate(STRUCTURES):
            ax.add_patch(Rectangle((column * _COLUMN + 0.05, top), _COLUMN - 0.1, size, facecolor=style.PANEL))
            _draw_methods(ax, methods_of(structure, time), column * _COLUMN + _COLUMN / 2, top, style.TIME_COLORS[time])
        top += size + 0.1
    style.draw_legend(figure, "kept", "pruned")
    return figure


def _examples() -> dict[str, torch.Tensor]:
    """One small matrix for each structure, half of it pruned."""
    weight = torch.randn(4, 8, generator=torch.Generator().manual_seed(3)).abs()
    kept = keep_largest({"w": weight}, 0.5)["w"], keep_n_of_m({"w": weight}, 2, 4)["w"], keep_rows(weight)
    return dict(zip(STRUCTURES, kept, strict=True))


def _draw_methods(ax: Axes, methods: list[Method], center: float, top: float, color: str) -> None:
    if not methods:
        ax.text(center, top + 0.5, "none in the digest", ha="center", va="center", fontsize=style.SMALL)
    for index, method in enumerate(methods):
        y = top + 0.125 + (index + 0.5) * _LINE
        place = (center - _COLUMN / 2 + 0.15, y - _LINE / 2 + 0.06), _COLUMN - 0.3, _LINE - 0.12
        shape = {"boxstyle": "round,pad=0,rounding_size=0.08", "linewidth": 1.8}
        ax.add_patch(FancyBboxPatch(*place, facecolor=style.PAPER, edgecolor=color, **shape))
        left, right = center - _COLUMN / 2 + 0.23, center + _COLUMN / 2 - 0.23
        ax.text(left, y - 0.13, method.name, va="center", fontweight="bold")
        ax.text(right, y - 0.13, method.notebook.split("_")[0], va="center", ha="right", fontsize=style.SMALL)
        ax.text(left, y + 0.16, f"data: {method.data}", va="center", fontsize=style.SMALL)
