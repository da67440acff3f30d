"""Picture of TAX-7: every method of the registry, placed by structure and by time."""

import textwrap

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from pruning_lib.taxonomy import STRUCTURES, TIMES, Method, find
from pruning_lib.teaching.figures.style import FONT_SIZE, INK, PAPER, draw_box, new_figure
from pruning_lib.teaching.palette import ACCENT, GOOD, KEPT, MUTED

COLORS = dict(zip(TIMES, (ACCENT, GOOD, KEPT), strict=True))
COLUMN, LINE = 3.6, 0.72  # width of a column and height of a method's box, in units of the drawing


def scheme() -> Figure:
    """Columns: what is removed. Rows: when. A box names the method, its notebook, and the data it needs to choose."""
    rows = {time: max(1, *(len(find(structure, time)) for structure in STRUCTURES)) for time in TIMES}
    height = sum(rows.values()) * LINE + len(TIMES) * 0.35 + 0.8
    figure = new_figure(11.5, height * 0.92)
    ax = figure.subplots()
    ax.set(xlim=(-1.35, COLUMN * len(STRUCTURES) + 0.05), ylim=(height, 0))
    ax.axis("off")
    for column, structure in enumerate(STRUCTURES):
        ax.text(
            (column + 0.5) * COLUMN, 0.42, structure, ha="center", fontsize=FONT_SIZE + 3, fontweight="bold", color=INK
        )
    top = 0.8
    for time in TIMES:
        size = rows[time] * LINE + 0.25
        ax.text(
            -1.3, top + size / 2, f"{time}\ntraining", va="center", fontsize=FONT_SIZE + 2, fontweight="bold", color=INK
        )
        for column, structure in enumerate(STRUCTURES):
            frame = (column * COLUMN + 0.05, top), COLUMN - 0.1, size
            ax.add_patch(Rectangle(*frame, facecolor="#F4F6F8", edgecolor="none"))
            draw_methods(ax, find(structure, time), column * COLUMN + COLUMN / 2, top, COLORS[time])
        top += size + 0.1
    return figure


def draw_methods(ax: Axes, methods: list[Method], center: float, top: float, color: str) -> None:
    if not methods:
        ax.text(center, top + 0.48, "none in the source", ha="center", va="center", fontsize=FONT_SIZE - 1, color=MUTED)
    for index, method in enumerate(methods):
        y = top + 0.125 + (index + 0.5) * LINE
        draw_box(ax, (center, y), (COLUMN - 0.4, LINE - 0.12), "", color)
        ax.text(center, y - 0.12, method.name, ha="center", va="center", fontsize=FONT_SIZE + 1, color=INK)
        needs = textwrap.shorten(method.data.split(";")[0], 40, placeholder=" …")
        detail = f"data: {needs} · notebook {method.notebook[:2]}"
        ax.text(
            center, y + 0.15, detail, ha="center", va="center", fontsize=FONT_SIZE - 2, color=INK, backgroundcolor=PAPER
        )
