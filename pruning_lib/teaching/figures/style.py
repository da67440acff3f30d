"""What all figures share: one palette, one symbol for kept, pruned and updated, a background that any page bears."""

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, Rectangle
from torch import Tensor

from pruning_lib.teaching.palette import KEPT, PRUNED

INK = "#22282E"
PAPER = "white"  # figures carry their own background, so they read the same on light and dark pages
FONT_SIZE = 10


def draw_weights(ax: Axes, keep: Tensor, block: tuple[int, int] | None = None) -> None:
    """Draw a boolean matrix as squares: kept filled, pruned empty with a thin outline; gaps after each `block`."""
    rows, columns = keep.shape
    height, width = block or (rows, columns)
    gap = 0.45

    def place(row: int, column: int) -> tuple[float, float]:
        return column + gap * (column // width), row + gap * (row // height)

    for row in range(rows):
        for column in range(columns):
            x, y = place(row, column)
            style = {"facecolor": KEPT, "edgecolor": KEPT} if keep[row, column] else empty_square()
            ax.add_patch(Rectangle((x + 0.06, y + 0.06), 0.88, 0.88, linewidth=0.7, **style))
    right, bottom = place(rows - 1, columns - 1)[0] + 1, place(rows - 1, columns - 1)[1] + 1
    ax.set(xlim=(-0.1, right + 0.1), ylim=(bottom + 0.1, -0.1), aspect="equal")
    ax.axis("off")


def empty_square() -> dict[str, str]:
    return {"facecolor": PAPER, "edgecolor": PRUNED}


def draw_box(ax: Axes, center: tuple[float, float], size: tuple[float, float], text: str, color: str, **font) -> None:
    """A rounded box with centered text, in data coordinates."""
    (x, y), (width, height) = center, size
    shape = "round,pad=0,rounding_size=0.08"
    ax.add_patch(
        FancyBboxPatch(
            (x - width / 2, y - height / 2), width, height, shape, facecolor=PAPER, edgecolor=color, linewidth=1.6
        )
    )
    ax.text(x, y, text, ha="center", va="center", color=INK, **({"fontsize": FONT_SIZE} | font))


def draw_legend(figure: Figure, entries: list[tuple[str, dict]], **options) -> None:
    """One legend of squares for the whole figure."""
    handles = [Rectangle((0, 0), 1, 1, label=label, **style) for label, style in entries]
    figure.legend(handles=handles, loc="lower center", ncols=len(handles), frameon=False, fontsize=FONT_SIZE, **options)


KEPT_AND_PRUNED = [("kept", {"facecolor": KEPT, "edgecolor": KEPT}), ("pruned", empty_square())]


def new_figure(width: float, height: float) -> Figure:
    """An empty figure in the suite's style; size in inches."""
    figure = plt.figure(figsize=(width, height), facecolor=PAPER, layout="constrained")
    # Out of pyplot's registry: the caller shows or saves it, and a notebook does not print it twice.
    plt.close(figure)
    return figure
