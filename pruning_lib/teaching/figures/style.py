"""What all figures share: one palette, one symbol for kept, pruned and updated, a background that any page bears."""

import functools
from collections.abc import Callable
from typing import Any

import matplotlib.pyplot as plt
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from torch import Tensor

from pruning_lib.teaching.palette import ACCENT, GOOD, KEPT, MUTED, PRUNED, SERIES, UPDATED

INK = "#22282E"
PAPER = "white"  # figures carry their own background, so they read the same on light and dark pages
PANEL = "#F1F3F5"
WIDTH = 8.2  # inches: on a page 800 pixels wide, text of SMALL points is still text of 8 points
SMALL, FONT_SIZE, TITLE = 9, 10, 11  # points
GAP = 0.45  # between blocks of squares
SYMBOLS = {
    "kept": {"facecolor": KEPT, "edgecolor": "none"},
    "pruned": {"facecolor": PAPER, "edgecolor": PRUNED, "linewidth": 0.9},
    "updated": {"facecolor": UPDATED, "edgecolor": "none"},  # and has a dot
    "pruned later": {"facecolor": "#CFE3F1", "edgecolor": ACCENT, "linewidth": 1.2, "linestyle": ":"},
    "pruned now": {"facecolor": PAPER, "edgecolor": ACCENT, "linewidth": 1.8},
}
TIME_COLORS = {"before": SERIES[3], "during": GOOD, "after": SERIES[5]}  # none of them is a weight's color
_SETTINGS = (
    dict.fromkeys(["font.size", "axes.labelsize", "axes.titlesize", "figure.titlesize", "legend.fontsize"], FONT_SIZE)
    | dict.fromkeys(["text.color", "axes.labelcolor", "legend.labelcolor"], INK)
    | {"legend.frameon": False}
)


def in_style(draw: Callable[..., Figure]) -> Callable[..., Figure]:
    """Decorates a function that draws: text is of one size and color where nothing else is said."""

    @functools.wraps(draw)
    def drawn(*args: Any, **kwargs: Any) -> Figure:
        # The first figure loads the backend, and a notebook's then turns interactive mode on. Inside the context that
        # would be undone, and the notebook would show no later figure.
        plt.close(plt.figure())
        with rc_context(_SETTINGS):
            return draw(*args, **kwargs)

    return drawn


def draw_weights(ax: Axes, keep: Tensor, block: tuple[int, int] | None = None) -> None:
    """Fill `ax` with a boolean matrix as squares: kept filled, pruned empty; gaps after each `block`."""
    right, bottom = place_weights(ax, keep, block=block)
    as_drawing(ax, (-0.1, right + 0.1), (bottom + 0.1, -0.1))


def as_drawing(ax: Axes, x: tuple[float, float], y: tuple[float, float]) -> None:
    """No axes are shown, and a unit is as wide as high; limits of `x`, and of `y` from bottom to top."""
    ax.set(xlim=x, ylim=y, aspect="equal")
    ax.axis("off")


def place_weights(
    ax: Axes,
    keep: Tensor,
    at: tuple[float, float] = (0, 0),
    block: tuple[int, int] | None = None,
    updated: Tensor | None = None,
    planned: Tensor | None = None,
    now: Tensor | None = None,
) -> tuple[float, float]:
    """Draw a boolean matrix with its top left corner `at`, one unit per square; return its bottom right corner.

    updated : squares with a dot
    planned : chosen to go, but still there: with a dotted outline
    now : goes in this step: empty with a strong outline
    """
    rows, columns = keep.shape
    height, width = block or (rows, columns)
    masks = {"pruned now": now, "pruned later": planned, "updated": updated, "kept": keep}  # the first that holds
    for row in range(rows):
        for column in range(columns):
            x, y = at[0] + column + GAP * (column // width), at[1] + row + GAP * (row // height)
            symbol = next((s for s, mask in masks.items() if mask is not None and mask[row, column]), "pruned")
            ax.add_patch(Rectangle((x + 0.07, y + 0.07), 0.86, 0.86, **SYMBOLS[symbol]))
            if updated is not None and updated[row, column]:
                ax.plot(x + 0.5, y + 0.5, "o", color=INK, markersize=2.6, markeredgewidth=0)
    return x + 1, y + 1


def place_shades(ax: Axes, matrix: Tensor, at: tuple[float, float], largest: float) -> None:
    """Matrix in gray: the darkness is the root of abs(entry)/largest; entries that are nan are left out."""
    for row, values in enumerate(matrix.tolist()):
        for column, value in enumerate(values):
            if value == value:
                corner = at[0] + column + 0.06, at[1] + row + 0.06
                share = min(1.0, abs(value) / largest) ** 0.5
                ax.add_patch(Rectangle(corner, 0.88, 0.88, facecolor=MUTED, alpha=0.08 + 0.92 * share, linewidth=0))


def draw_legend(figure: Figure, *names: str) -> None:
    """One line under the whole figure that explains the symbols of those `names`."""
    squares = [Rectangle((0, 0), 1, 1, **SYMBOLS[name]) for name in names]
    dot = Line2D([], [], marker="o", color=INK, markersize=3.5, linestyle="", markeredgewidth=0)
    handles = [(square, dot) if name == "updated" else square for name, square in zip(names, squares, strict=True)]
    figure.legend(handles, names, loc="outside lower center", ncols=len(names), handlelength=1, handleheight=1)


def arrow(ax: Axes, start: tuple[float, float], end: tuple[float, float], color: str = INK, **options) -> None:
    """An arrow in data coordinates; options are those of the arrow's patch."""
    ax.annotate("", end, start, arrowprops={"arrowstyle": "-|>", "color": color, "linewidth": 1.3} | options)


def plain_axes(ax: Axes, x: str, y: str, title: str = "") -> None:
    """Axes for curves: named, no frame above and to the right."""
    ax.set(xlabel=x, ylabel=y, title=title)
    ax.tick_params(labelsize=SMALL, colors=INK)
    ax.spines[["top", "right"]].set_visible(False)


def new_figure(width: float, height: float) -> Figure:
    """An empty figure in the suite's style; size in inches."""
    figure = plt.figure(figsize=(width, height), facecolor=PAPER, layout="constrained")
    # Out of pyplot's registry: the caller shows or saves it, and a notebook does not print it twice.
    plt.close(figure)
    return figure
