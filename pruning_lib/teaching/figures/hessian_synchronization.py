"""Picture of GPT-3 and GPT-6: an inverse for every row, or one for all rows that shrinks column by column."""

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from pruning_lib.after_training import sparsegpt
from pruning_lib.after_training.stepping import Step
from pruning_lib.teaching.figures import style
from pruning_lib.teaching.palette import ACCENT, PRUNED

ROWS, COLUMNS, _SPARSITY = 4, 6, 0.5
_TOP, _BOTTOM, _ACROSS = 14.2, 18.2, 6 * 7.2  # heights of the two parts and their width, in squares
_OUTSIDE = 0.1  # how far the frame of the column that is due stands off


@style.in_style
def hessian_synchronization(seed: int = 4) -> Figure:
    """Above, what exact reconstruction inverts for each row; below, the states of `sparsegpt.steps` on the same layer.

    The masks are those that SparseGPT chooses. Inverses are shaded by the absolute value of their entries.
    """
    weight, hessian = small_layer(seed, ROWS, COLUMNS)
    states = list(sparsegpt.steps(weight, hessian, _SPARSITY, block=COLUMNS, damping=0.0, form="synchronized"))
    figure = style.new_figure(style.WIDTH, 6.2)
    top, bottom = figure.subplots(2, 1, height_ratios=[_TOP, _BOTTOM])
    _draw_own(top, states[0].keep, hessian)
    _draw_shared(bottom, states, shared_inverses(hessian))
    style.draw_legend(figure, "kept", "pruned", "updated", "pruned now", "pruned later")
    return figure


def small_layer(seed: int, rows: int, columns: int) -> tuple[Tensor, Tensor]:
    """Random weights, and the Hessian XXᵀ (GPT-4, its mean doubled) of inputs of which neighbors are alike; float64."""
    generator = torch.Generator().manual_seed(seed)
    X = torch.randn(columns, 4 * columns, generator=generator, dtype=torch.float64)
    X[1:] += 0.9 * X[:-1].clone()
    weight = torch.randn(rows, columns, generator=generator, dtype=torch.float64)
    return weight, 2 * X @ X.T / X.shape[1]


def _own_inverse(hessian: Tensor, keep: Tensor) -> Tensor:
    """(H_M)⁻¹ of the weights that one row keeps, in their places; nan elsewhere (GPT-2)."""
    places = keep.nonzero().flatten()
    inverse = torch.full_like(hessian, torch.nan)
    inverse[places[:, None], places] = torch.linalg.inv(hessian[places[:, None], places])
    return inverse


def shared_inverses(hessian: Tensor) -> list[Tensor]:
    """(H_{S_j})⁻¹ for j = 1, 2, …, in its place in the whole matrix; nan where it has shrunk (GPT-6)."""
    after = [torch.arange(len(hessian)) >= j for j in range(len(hessian))]
    return [_own_inverse(hessian, U) for U in after]


def _draw_own(ax: Axes, keep: Tensor, hessian: Tensor) -> None:
    inverses = [_own_inverse(hessian, row) for row in keep]
    largest = torch.stack(inverses).nan_to_num().abs().max().item()
    _heading(ax, "Every row its own mask: every row its own inverse", "rows · columns³ operations")
    for row, inverse in enumerate(inverses):
        left = row * (COLUMNS + 2.2)
        ax.text(left + COLUMNS / 2, 3.9, f"row {row + 1}", ha="center", va="bottom", fontsize=style.SMALL)
        style.place_weights(ax, keep[row : row + 1], (left, 4.1))
        _place_inverse(ax, inverse, (left, 5.7), largest, "$(H_M)^{-1}$")
    apart = "None is a part\nof another or of\nthe inverse of all:\n\n$(H_M)^{-1} \\neq (H^{-1})_M$"
    ax.text(4 * (COLUMNS + 2.2), 8.7, apart, va="center", fontsize=style.FONT_SIZE + 2)
    style.as_drawing(ax, (-0.2, _ACROSS), (_TOP, 0))


def _draw_shared(ax: Axes, states: list[Step], inverses: list[Tensor]) -> None:
    largest = torch.stack(inverses).nan_to_num().abs().max().item()
    text = "One order of the columns for all rows: one inverse, shared, that shrinks"
    _heading(ax, text, "columns³ + rows · columns² operations")
    for j, (state, inverse) in enumerate(zip(states, inverses, strict=True)):
        left = j * (COLUMNS + 1.2)
        ax.text(left + COLUMNS / 2, 3.7, f"column {j + 1}", ha="center", va="bottom", fontsize=style.SMALL)
        gone, column = ~state.keep, torch.arange(COLUMNS)
        masks = {"updated": state.compensated, "planned": gone & (column > j), "now": gone & (column == j)}
        _, bottom = style.place_weights(ax, state.keep, (left, 4.1), **masks)
        column_now = (left + j - _OUTSIDE, 4.1 - _OUTSIDE), 1 + 2 * _OUTSIDE, ROWS + 2 * _OUTSIDE
        ax.add_patch(Rectangle(*column_now, fill=False, edgecolor=style.INK, linewidth=1.2, zorder=4))
        rest = f"{j + 1}, …, {COLUMNS}" if j < COLUMNS - 1 else f"{COLUMNS}"
        _place_inverse(ax, inverse, (left, bottom + 0.8), largest, "$(H_S)^{-1}$")
        ax.text(left + COLUMNS / 2, bottom + COLUMNS + 2.8, f"S = {{{rest}}}", ha="center", va="top")
        used = (left + j, bottom + 0.8 + j), COLUMNS - j, 1
        ax.add_patch(Rectangle(*used, fill=False, edgecolor=ACCENT, linewidth=1.8, zorder=3))
    style.as_drawing(ax, (-0.2, _ACROSS), (_BOTTOM, 0))


def _place_inverse(ax: Axes, inverse: Tensor, at: tuple[float, float], largest: float, name: str) -> None:
    """A square of shades in a frame, with its name below."""
    left, top = at
    ax.add_patch(Rectangle(at, COLUMNS, COLUMNS, fill=False, edgecolor=PRUNED, linewidth=0.8))
    style.place_shades(ax, inverse, at, largest)
    ax.text(left + COLUMNS / 2, top + COLUMNS + 0.3, name, ha="center", va="top", fontsize=style.FONT_SIZE + 2)


def _heading(ax: Axes, text: str, cost: str) -> None:
    ax.text(0, 1.1, text, fontsize=style.TITLE, fontweight="bold", va="bottom")
    ax.text(0, 1.3, cost, fontsize=style.SMALL, va="top")
