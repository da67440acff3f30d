"""Exercises of notebook 05."""

import torch
from torch import Tensor

from pruning_lib.teaching.exercises.exercise import Exercise, Mistake
from pruning_lib.teaching.exercises.obs import draw, inverse


def inverse_only(generator: torch.Generator) -> tuple[Tensor]:
    return (inverse(generator, 5),)


def eliminate(B: Tensor) -> Tensor:
    return (B - torch.outer(B[:, 0], B[0]) / B[0, 0])[1:, 1:]


ELIMINATE = Exercise(
    inverse_only,
    eliminate,
    (
        Mistake(
            lambda B: B[1:, 1:],
            "You only cut. That is (H⁻¹)_U, which is not (H_U)⁻¹ (GPT-3): subtract before you cut.",
        ),
        Mistake(
            lambda B: eliminate(B[1:, 1:]),
            "You cut first and subtract then: that takes the second column out, and the first is only cut away.",
        ),
        Mistake(
            lambda B: B[1:, 1:] - torch.outer(B[1:, 1], B[1, 1:]) / B[1, 1],
            "After the cut your B_{:,1} is the second column. Subtract with the first row and column, then cut.",
        ),
        Mistake(
            lambda B: (B - torch.outer(B[:, 0], B[0]))[1:, 1:],
            "Divide by B₁₁: without it the first row and column do not become zero.",
        ),
        Mistake(
            lambda B: (B + torch.outer(B[:, 0], B[0]) / B[0, 0])[1:, 1:],
            "Subtract, do not add: the first row and column must become zero, yours double.",
        ),
        Mistake(
            lambda B: B - torch.outer(B[:, 0], B[0]) / B[0, 0],
            "Right up to the last step: the first row and column are zero now. Cut them off.",
        ),
        Mistake(
            lambda B: (B - torch.outer(B[:, -1], B[-1]) / B[-1, -1])[:-1, :-1],
            "You take the last column out. The order runs from the first.",
        ),
    ),
)


def weight_and_factor(generator: torch.Generator) -> tuple[Tensor, Tensor]:
    return draw(generator, 5, 5), torch.linalg.cholesky(inverse(generator, 5), upper=True)


SCORES = Exercise(
    weight_and_factor,
    lambda W, U: W**2 / U.diagonal() ** 2,
    (
        Mistake(
            lambda W, U: W**2 / U.diagonal(),
            "Square the diagonal: U_jj is the root of [(H_{U_j})⁻¹]_11, and OBS divides by that entry itself.",
        ),
        Mistake(
            lambda W, U: W**2 / (U.T @ U).diagonal(),
            "That is [H⁻¹]_jj, as if all weights could still move. At column j only those from j on can: U_jj².",
        ),
        Mistake(
            lambda W, U: W**2 / U.diagonal()[:, None] ** 2,
            "The wrong axis: every row of W is divided by a number of its own. Entry j of the diagonal is column j's.",
        ),
        Mistake(
            lambda W, U: W**2 * U.diagonal() ** 2,
            "You multiply. A large [(H_U)⁻¹]_11 means that others can make up for the weight: divide.",
        ),
        Mistake(
            lambda W, U: W.abs() / U.diagonal() ** 2,
            "W and the diagonal must be squared alike, or the score changes its meaning with the scale of H.",
        ),
        Mistake(
            lambda W, U: W.abs() / U.diagonal(),
            "The order is right, for that is the root of the score. The cost itself grows with the square of both.",
        ),
        Mistake(
            lambda W, U: W**2 / U.diagonal() ** 2 / 2,
            "The order is right, the value half as large: here the score is meant without OBS's factor ½.",
        ),
    ),
)


def scores_and_sparsity(generator: torch.Generator) -> tuple[Tensor, float]:
    # Whole numbers, so that there are ties; counts that are no multiple of the rows, and a little off whole numbers.
    scores = torch.randint(1, 13, (4, 6), generator=generator).double()
    count = 2 * int(torch.randint(2, 10, (1,), generator=generator)) + 1
    off = 0.8 * float(torch.rand(1, generator=generator)) - 0.4
    return scores, (count + off) / scores.numel()


def choose(scores: Tensor, sparsity: float) -> Tensor:
    kept = round(scores.numel() * (1 - sparsity))
    keep = torch.zeros(scores.numel(), dtype=torch.bool)
    keep[scores.flatten().argsort(descending=True, stable=True)[:kept]] = True
    return keep.view(scores.shape)


def one_more(scores: Tensor, sparsity: float) -> Tensor:
    return choose(scores, sparsity + 1 / scores.numel())


def cut_off(scores: Tensor, sparsity: float) -> Tensor:
    return choose(scores, int(scores.numel() * sparsity) / scores.numel())


def by_threshold(scores: Tensor, sparsity: float) -> Tensor:
    count = round(scores.numel() * sparsity)
    return scores > scores.flatten().sort().values[count - 1]


def as_in_the_code(scores: Tensor, sparsity: float) -> Tensor:
    return scores > scores.flatten().sort().values[int(scores.numel() * sparsity)]


def last_of_equals(scores: Tensor, sparsity: float) -> Tensor:
    return choose(scores.flip(0, 1), sparsity).flip(0, 1)


def per_row(scores: Tensor, sparsity: float) -> Tensor:
    return torch.stack([choose(row, sparsity) for row in scores])


CHOOSE_BLOCK = Exercise(
    scores_and_sparsity,
    choose,
    (
        Mistake(
            lambda scores, sparsity: ~choose(scores, sparsity),
            "Your True means 'pruned', as in the paper's code. Here, as for the paper's M, True = stays.",
        ),
        Mistake(
            one_more, "One weight too many goes, as in the paper's code: it prunes all ≤ the k-th of a list from 0."
        ),
        Mistake(
            by_threshold,
            "A threshold takes all ties with it, and more goes than was asked for. Choose by index instead.",
        ),
        Mistake(
            as_in_the_code,
            "The threshold of the paper's code: sorted[k] is entry k + 1, so with ≤ one weight too many goes, and all "
            "ties with it. Choose by index.",
        ),
        Mistake(cut_off, "Round, do not cut off: of 24 · 0.325 = 7.8 weights 8 go, int() makes it 7."),
        Mistake(
            lambda scores, sparsity: choose(scores, 1 - sparsity),
            "You take sparsity for the share that stays. It is the share that goes.",
        ),
        Mistake(
            last_of_equals,
            "Right but for ties: of equal scores those that come first must stay, yours keeps the last.",
        ),
        Mistake(per_row, "You choose in every row. The block is chosen as a whole: some rows may lose more."),
        Mistake(
            lambda scores, sparsity: choose(-scores, sparsity),
            "The smallest stay. A high score means dear to delete: the largest stay.",
        ),
    ),
)


def column_inputs(generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor, int]:
    W, U = weight_and_factor(generator)
    keep = torch.rand(5, 5, generator=generator) < 0.5
    j = int(torch.randint(3, (1,), generator=generator))
    keep[0, j], keep[1, j] = True, False
    return W, keep, U, j


def column_step(W: Tensor, keep: Tensor, U: Tensor, j: int, power: int = 1, side: str = "row") -> Tensor:
    W = W.clone()
    error = torch.where(keep[:, j], 0, W[:, j]) / U[j, j] ** power
    W -= torch.outer(error, U[j] if side == "row" else U[:, j])
    return W


def all_rows(W: Tensor, keep: Tensor, U: Tensor, j: int) -> Tensor:
    return W - torch.outer(W[:, j] / U[j, j], U[j])


def not_zeroed(W: Tensor, keep: Tensor, U: Tensor, j: int) -> Tensor:
    moved = column_step(W, keep, U, j)
    moved[:, j] = W[:, j]
    return moved


def only_zero(W: Tensor, keep: Tensor, U: Tensor, j: int) -> Tensor:
    W = W.clone()
    W[:, j] = torch.where(keep[:, j], W[:, j], 0)
    return W


def with_inverse(W: Tensor, keep: Tensor, U: Tensor, j: int) -> Tensor:
    B = U.T @ U
    return W - torch.outer(torch.where(keep[:, j], 0, W[:, j]) / B[j, j], B[j])


COLUMN_STEP = Exercise(
    column_inputs,
    column_step,
    (
        Mistake(only_zero, "Column j is right, but nothing makes up for it: the columns to the right must move."),
        Mistake(
            lambda W, keep, U, j: column_step(W, ~keep, U, j),
            "You prune what should stay: keep says True = stays.",
        ),
        Mistake(
            lambda W, keep, U, j: column_step(W, keep, U, j, power=0),
            "Divide the error by U_jj: without it column j does not become zero.",
        ),
        Mistake(
            lambda W, keep, U, j: column_step(W, keep, U, j, power=2),
            "Only the score has the square. U_j is row 1 of (H_{U_j})⁻¹ over U_jj: one more U_jj is all it needs.",
        ),
        Mistake(
            lambda W, keep, U, j: column_step(W, keep, U, j, side="column"),
            "The wrong axis: column j of U reaches to the left, where all is frozen. Take row j.",
        ),
        Mistake(
            all_rows,
            "You prune column j in all rows. Where keep says that the weight stays, the error is zero.",
        ),
        Mistake(
            not_zeroed,
            "The columns to the right are right, but column j still has the weights that should go: it moves as well.",
        ),
        Mistake(
            lambda W, keep, U, j: 2 * W - column_step(W, keep, U, j),
            "The sign is wrong: your pruned weights double. Subtract.",
        ),
        Mistake(
            with_inverse,
            "That is a row of H⁻¹ itself: it moves frozen columns too, and revives pruned weights. Take row j of U.",
        ),
    ),
)

EXERCISES = {
    "eliminate": ELIMINATE,
    "sparsegpt_scores": SCORES,
    "choose_block": CHOOSE_BLOCK,
    "column_step": COLUMN_STEP,
}
