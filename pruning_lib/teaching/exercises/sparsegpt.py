"""Exercises of notebook 05."""

import torch
from torch import Tensor

from pruning_lib.teaching.exercises.exercise import Exercise, draw, uniform, whole
from pruning_lib.teaching.exercises.obs import random_inverse
from pruning_lib.teaching.exercises.taxonomy import top_k

EXERCISES: dict[str, Exercise] = {}


def eliminate(B: Tensor) -> Tensor:
    return (B - torch.outer(B[:, 0], B[0]) / B[0, 0])[1:, 1:]


EXERCISES["eliminate"] = Exercise(
    lambda generator: (random_inverse(generator, 5),),
    eliminate,
    lambda B: B[1:, 1:],
    "You only cut. That is (H⁻¹)_S, which is not (H_S)⁻¹ (GPT-3): subtract before you cut.",
    lambda B: eliminate(B[1:, 1:]),
    "You cut first and subtract then: that takes the second column out, and the first is only cut away.",
    lambda B: B[1:, 1:] - torch.outer(B[1:, 1], B[1, 1:]) / B[1, 1],
    "After the cut your B_{:,1} is the second column. Subtract with the first row and column, then cut.",
    lambda B: (B - torch.outer(B[:, 0], B[0]))[1:, 1:],
    "Divide by B₁₁: without it the first row and column do not become zero.",
    lambda B: (B + torch.outer(B[:, 0], B[0]) / B[0, 0])[1:, 1:],
    "Subtract, do not add: the first row and column must become zero, yours double.",
    lambda B: B - torch.outer(B[:, 0], B[0]) / B[0, 0],
    "Right up to the last step: the first row and column are zero now. Cut them off.",
    lambda B: (B - torch.outer(B[:, -1], B[-1]) / B[-1, -1])[:-1, :-1],
    "You take the last column out. The order runs from the first.",
)


def _weight_and_factor(generator: torch.Generator) -> tuple[Tensor, Tensor]:
    return draw(generator, 5, 5), torch.linalg.cholesky(random_inverse(generator, 5), upper=True)


EXERCISES["sparsegpt_scores"] = Exercise(
    _weight_and_factor,
    lambda W, U: W**2 / U.diagonal() ** 2,
    lambda W, U: W**2 / U.diagonal(),
    "Square the diagonal: U_jj is the root of [(H_{S_j})⁻¹]_11, and OBS divides by that entry itself.",
    lambda W, U: W**2 / (U.T @ U).diagonal(),
    "That is [H⁻¹]_jj, as if all weights could still move. At column j only those from j on can: U_jj².",
    lambda W, U: W**2 / U.diagonal()[:, None] ** 2,
    "The wrong axis: every row of W is divided by a number of its own. Entry j of the diagonal is column j's.",
    lambda W, U: W**2 * U.diagonal() ** 2,
    "You multiply. A large [(H_S)⁻¹]_11 means that others can make up for the weight: divide.",
    lambda W, U: W.abs() / U.diagonal() ** 2,
    "W and the diagonal must be squared alike, or the score changes its meaning with the scale of H.",
    lambda W, U: W.abs() / U.diagonal(),
    "The order is right, for that is the root of the score. The cost itself grows with the square of both.",
    lambda W, U: W**2 / U.diagonal() ** 2 / 2,
    "The order is right, the value half as large: here the score is meant without OBS's factor ½.",
)


def _scores_and_sparsity(generator: torch.Generator) -> tuple[Tensor, float]:
    # Whole numbers, so that there are ties; counts that are no multiple of the rows, and a little off whole numbers.
    scores = torch.randint(1, 13, (4, 6), generator=generator).double()
    count = 2 * whole(generator, 2, 10) + 1
    return scores, (count + uniform(generator, -0.4, 0.4)) / scores.numel()


def choose(scores: Tensor, sparsity: float) -> Tensor:
    return top_k(scores.flatten(), round(scores.numel() * (1 - sparsity))).view(scores.shape)


def _nth(scores: Tensor, n: int) -> Tensor:
    """The n-th score from below, counted from 0."""
    return scores.flatten().sort().values[n]


EXERCISES["choose_block"] = Exercise(
    _scores_and_sparsity,
    choose,
    lambda scores, sparsity: ~choose(scores, sparsity),
    "Your True means 'pruned', as in the paper's code. Here, as for the paper's M, True = stays.",
    lambda scores, sparsity: choose(scores, sparsity + 1 / scores.numel()),
    "One weight too many goes, as in the paper's code: it prunes all ≤ the k-th of a list from 0.",
    lambda scores, sparsity: scores > _nth(scores, round(scores.numel() * sparsity) - 1),
    "A threshold takes all ties with it, and more goes than was asked for. Choose by index instead.",
    lambda scores, sparsity: scores > _nth(scores, int(scores.numel() * sparsity)),
    "The threshold of the paper's code: sorted[k] is entry k + 1, so with ≤ one weight too many goes, and all "
    "ties with it. Choose by index.",
    lambda scores, sparsity: choose(scores, int(scores.numel() * sparsity) / scores.numel()),
    "Round, do not cut off: of 24 · 0.325 = 7.8 weights 8 go, int() makes it 7.",
    lambda scores, sparsity: choose(scores, 1 - sparsity),
    "You take sparsity for the share that stays. It is the share that goes.",
    lambda scores, sparsity: choose(scores.flip(0, 1), sparsity).flip(0, 1),
    "Right but for ties: of equal scores those that come first must stay, yours keeps the last.",
    lambda scores, sparsity: torch.stack([choose(row, sparsity) for row in scores]),
    "You choose in every row. The block is chosen as a whole: some rows may lose more.",
    lambda scores, sparsity: choose(-scores, sparsity),
    "The smallest stay. A high score means dear to delete: the largest stay.",
)


def _column_inputs(generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor, int]:
    W, U = _weight_and_factor(generator)
    keep, j = torch.rand(5, 5, generator=generator) < 0.5, whole(generator, 0, 3)
    keep[0, j], keep[1, j] = True, False
    return W, keep, U, j


def column_step(W: Tensor, keep: Tensor, U: Tensor, j: int, power: int = 1, side: str = "row") -> Tensor:
    error = torch.where(keep[:, j], 0, W[:, j]) / U[j, j] ** power
    return W - torch.outer(error, U[j] if side == "row" else U[:, j])


EXERCISES["column_step"] = Exercise(
    _column_inputs,
    column_step,
    lambda W, keep, U, j: W * (keep | (torch.arange(5) != j)),
    "Column j is right, but nothing makes up for it: the columns to the right must move.",
    lambda W, keep, U, j: column_step(W, ~keep, U, j),
    "You prune what should stay: keep says True = stays.",
    lambda W, keep, U, j: column_step(W, keep, U, j, power=0),
    "Divide the error by U_jj: without it column j does not become zero.",
    lambda W, keep, U, j: column_step(W, keep, U, j, power=2),
    "Only the score has the square. U_j is row 1 of (H_{S_j})⁻¹ over U_jj: one more U_jj is all it needs.",
    lambda W, keep, U, j: column_step(W, keep, U, j, side="column"),
    "The wrong axis: column j of U reaches to the left, where all is frozen. Take row j.",
    lambda W, keep, U, j: column_step(W, torch.zeros_like(keep), U, j),
    "You prune column j in all rows. Where keep says that the weight stays, the error is zero.",
    lambda W, keep, U, j: torch.where(torch.arange(5) == j, W, column_step(W, keep, U, j)),
    "The columns to the right are right, but column j still has the weights that should go: it moves as well.",
    lambda W, keep, U, j: 2 * W - column_step(W, keep, U, j),
    "The sign is wrong: your pruned weights double. Subtract.",
    lambda W, keep, U, j: column_step(W, keep, U.T @ U, j),
    "That is a row of H⁻¹ itself: it moves frozen columns too, and revives pruned weights. Take row j of U.",
)
