"""Picture of GPT-8: SparseGPT as a whole, one block of columns after the other."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from pruning_lib.after_training import sparsegpt
from pruning_lib.after_training.stepping import Step
from pruning_lib.teaching.figures import style
from pruning_lib.teaching.figures.hessian_synchronization import small_layer
from pruning_lib.teaching.palette import ACCENT, MUTED

_ROWS, _COLUMNS, BLOCK, _SPARSITY = 6, 12, 4, 0.5


class Moment(NamedTuple):
    """The layer at one point of the algorithm: masks (rows, columns), and what of the factor U it looks at."""

    title: str
    keep: Tensor
    block: int
    used: Sequence[tuple[int, int, int, int]] = ()  # row and column in U, height, width
    updated: Tensor | None = None
    planned: Tensor | None = None
    now: Tensor | None = None


@style.in_style
def sparsegpt_algorithm(seed: int = 3) -> Figure:
    """Six moments of one small layer, from the states of `sparsegpt.steps`; below each, the rows of U in use.

    U = Cholesky(H⁻¹)ᵀ. Within a block a column that goes moves the rest of its block at once. The columns to the right
    of the block move once, at its end, by the sum of what was lost in it: the weights are the same either way.
    """
    weight, hessian = small_layer(seed, _ROWS, _COLUMNS)
    states = list(sparsegpt.steps(weight, hessian, _SPARSITY, block=BLOCK, damping=0.0))
    U = torch.linalg.cholesky(torch.linalg.inv(hessian), upper=True)
    moments = [
        chosen_in_block("1  choose the mask of block 1:\nw² over U's diagonal squared", states, 0),
        within("2  column by column: prune,\nupdate the rest of the block", states, 1),
        lazy("3  block done: update all\ncolumns to its right, once", states, 0),
        chosen_in_block("4  choose the mask of block 2\nby the updated weights", states, 1),
        within("5  column by column again,\nwith the next rows of U", states, 5),
        Moment(f"6  all blocks done: error\n{states[-1].error:.1%} of ‖WX‖²", states[-1].keep, _COLUMNS // BLOCK - 1),
    ]
    figure = style.new_figure(style.WIDTH, 5.9)
    for ax, moment in zip(figure.subplots(2, 3).flat, moments, strict=True):
        _draw_moment(ax, moment, U)
    style.draw_legend(figure, "kept", "pruned", "updated", "pruned now", "pruned later")
    return figure


def _places(first: int, last: int) -> Tensor:
    """(columns,), True from column `first` to before `last`."""
    column = torch.arange(_COLUMNS)
    return (column >= first) & (column < last)


def chosen_in_block(title: str, states: list[Step], block: int) -> Moment:
    """The mask of a block is chosen, nothing of it pruned yet."""
    start = block * BLOCK
    gone = ~states[start].keep
    diagonal = [(j, j, 1, 1) for j in range(start, start + BLOCK)]
    return Moment(title, ~gone, block, diagonal, planned=gone & _places(start, start + BLOCK))


def within(title: str, states: list[Step], j: int) -> Moment:
    """Column j goes; the rest of its block makes up for it."""
    end = (j // BLOCK + 1) * BLOCK
    gone, later = ~states[j].keep, _places(j + 1, end)
    changes = {"updated": states[j].compensated & later, "planned": gone & later, "now": gone & _places(j, j + 1)}
    return Moment(title, ~gone, j // BLOCK, [(j, j, 1, end - j)], **changes)


def lazy(title: str, states: list[Step], block: int) -> Moment:
    """All columns right of a block make up for what went in it, in the rows where something did."""
    start, end = block * BLOCK, (block + 1) * BLOCK
    moved = torch.stack([state.compensated for state in states[start:end]]).any(dim=0) & _places(end, _COLUMNS)
    return Moment(title, states[end - 1].keep, block, [(start, end, BLOCK, _COLUMNS - end)], updated=moved)


def _draw_moment(ax: Axes, moment: Moment, U: Tensor) -> None:
    """The weights, the block in a frame; below, the rows of U that belong to the block, what is used outlined."""
    start = moment.block * BLOCK
    style.place_weights(ax, moment.keep, (0, 0), (_ROWS, BLOCK), moment.updated, moment.planned, moment.now)
    left = start + style.GAP * moment.block
    if moment.used:
        frame = (left - 0.15, -0.15), BLOCK + 0.3, _ROWS + 0.3
        ax.add_patch(Rectangle(*frame, fill=False, edgecolor=MUTED, linewidth=1.6))
        below = _ROWS + 1.7
        rows = torch.where(torch.triu(torch.ones_like(U)) > 0, U, torch.nan)[start : start + BLOCK]
        for part in range(_COLUMNS // BLOCK):
            columns = slice(part * BLOCK, (part + 1) * BLOCK)
            style.place_shades(ax, rows[:, columns], (part * (BLOCK + style.GAP), below), float(U.abs().max()))
        for row, column, height, width in moment.used:
            x = column + style.GAP * (column // BLOCK)
            wide = width + style.GAP * ((column + width - 1) // BLOCK - column // BLOCK)
            corner = x, below + row - start
            ax.add_patch(Rectangle(corner, wide, height, fill=False, edgecolor=ACCENT, linewidth=1.8, zorder=3))
        name = f"rows {start + 1} to {start + BLOCK} of U"
        ax.text(0, below - 0.2, name, va="bottom", fontsize=style.SMALL)
    style.as_drawing(ax, (-0.4, _COLUMNS + 1.4), (_ROWS + BLOCK + 2.1, -0.4))
    ax.set_title(moment.title, loc="left")
