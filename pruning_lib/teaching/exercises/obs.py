"""Exercises of notebook 04."""

from itertools import combinations

import torch
from torch import Tensor

from pruning_lib.teaching.exercises.exercise import Exercise, Experiment, RuleBroken, draw, whole

EXERCISES: dict[str, Exercise | Experiment] = {}


def random_inverse(generator: torch.Generator, n: int) -> Tensor:
    A = draw(generator, n + 3, n)
    return torch.linalg.inv(A.T @ A / (n + 3) + 0.1 * torch.eye(n, dtype=torch.float64))


def _surgeon(w: Tensor, H_inv: Tensor, count: int, *, downdate=True, hold=True, follow=True, curved=True) -> Tensor:
    w, B, gone = w.clone(), H_inv.clone(), []
    for _ in range(count):
        saliency = w**2 / B.diagonal() if curved else w**2
        saliency[gone] = torch.inf
        q = int(saliency.argmin())
        column = B[:, q].clone()
        if follow:
            w -= w[q] / column[q] * column
        gone.append(q)
        w[gone if hold else q] = 0
        if downdate:
            B -= torch.outer(column, column) / column[q]
            B[gone], B[:, gone] = 0, 0
    return w


def _at_once(w: Tensor, H_inv: Tensor, count: int) -> Tensor:
    gone = (w**2 / H_inv.diagonal()).argsort()[:count]
    after = w - H_inv[:, gone] @ torch.linalg.solve(H_inv[gone][:, gone], w[gone])
    return after.index_fill(0, gone, 0)


EXERCISES["surgeon"] = Exercise(
    lambda generator: (draw(generator, 7), random_inverse(generator, 7), whole(generator, 3, 5)),
    _surgeon,
    lambda w, H_inv, count: _surgeon(w, H_inv, count, downdate=False, hold=False),
    "The first deletion is right. Later ones move weights that are gone already: what does your inverse know of them?",
    lambda w, H_inv, count: _surgeon(w, H_inv, count, downdate=False),
    "You put the zeros back, but each step was planned as if the deleted weights could still help.",
    lambda w, H_inv, count: _surgeon(w, H_inv, count, follow=False),
    "The right number of zeros, and no other weight has moved: half of OBS is missing.",
    _at_once,
    "All of them are chosen by the first saliencies. Every deletion changes what the next one costs.",
    lambda w, H_inv, count: _surgeon(w, H_inv, count, curved=False),
    "The smallest weights go. What does it cost to delete one of them?",
    lambda w, H_inv, count: _surgeon(w, H_inv, count - 1),
    "One deletion is missing.",
)


def _rows(generator: torch.Generator) -> tuple[Tensor, float, int]:
    samples = whole(generator, 4, 20)
    return draw(generator, 2 * samples, 4), 10.0 ** -whole(generator, 1, 4), samples


def _recursion(rows: Tensor, alpha: float, weight: float = 1.0, start: float = 1.0, sign: int = -1) -> Tensor:
    """Add rows / √weight one after the other to alpha·I, in the inverse."""
    B = torch.eye(rows.shape[1], dtype=rows.dtype) / alpha * start
    for x in rows:
        column = B @ x
        B = B + sign * torch.outer(column, column) / (weight + x @ column)
    return B


EXERCISES["inverse_hessian"] = Exercise(
    _rows,
    lambda rows, alpha, samples: _recursion(rows, alpha, samples),
    lambda rows, alpha, samples: _recursion(rows, alpha),
    "That is your colleague's matrix. Of which error is it the Hessian: the sum over the samples, or their mean?",
    lambda rows, alpha, samples: _recursion(rows, alpha) * samples,
    "Right where the data speak. But now the weight decay is divided by the number of samples as well.",
    lambda rows, alpha, samples: _recursion(rows, alpha, len(rows)),
    "There is a row for each sample *and output*. The mean is over samples only.",
    lambda rows, alpha, samples: _recursion(rows, alpha, samples, start=alpha**2),
    "You start from alpha·I. What is the inverse of the matrix that the recursion starts from?",
    lambda rows, alpha, samples: (
        torch.linalg.inv(rows.T @ rows / samples + alpha * torch.eye(rows.shape[1], dtype=rows.dtype)).diagonal().diag()
    ),
    "Only the diagonal is right. How the others follow stands beside it.",
)


def _quadratic() -> list[tuple[Tensor, Tensor, int]]:
    """Sixteen weights of which eight go; seed 4 of six tried, where one deletion after the other goes astray."""
    generator = torch.Generator().manual_seed(4)
    mixing = torch.eye(16, dtype=torch.float64) + 0.5 * draw(generator, 16, 16)
    X = mixing @ draw(generator, 16, 48)
    return [(draw(generator, 16), X @ X.T / 48, 8)]


def _cost(after: Tensor, w: Tensor, H: Tensor, count: int) -> float:
    if after.shape != w.shape:
        raise RuleBroken(f"You return shape {tuple(after.shape)}, asked for are all {len(w)} weights, zeros included.")
    if (after == 0).sum() < count:
        raise RuleBroken(f"{(after == 0).sum()} weights are exactly zero, {count} must be. Write the zeros at the end.")
    return ((after - w) @ H @ (after - w) / 2).item()


def fit_on(w: Tensor, H: Tensor, kept: Tensor) -> Tensor:
    """The best weights that are zero but at `kept`."""
    return torch.zeros_like(w).index_copy(0, kept, torch.linalg.solve(H[kept][:, kept], (H @ w)[kept]))


def _best_subset(w: Tensor, H: Tensor, count: int) -> Tensor:
    kept = torch.tensor(list(combinations(range(len(w)), len(w) - count)))
    fitted = torch.linalg.solve(H[kept[:, :, None], kept[:, None, :]], (H @ w)[kept])
    changes = torch.zeros(len(kept), len(w), dtype=w.dtype).scatter(1, kept, fitted) - w
    return w + changes[((changes @ H) * changes).sum(1).argmin()]


EXERCISES["beat_the_surgeon"] = Experiment(
    _quadratic,
    _cost,
    0.4,
    "cost",
    "{:.3f}",
    _best_subset,
    lambda w, H, count: w.index_fill(0, w.abs().argsort()[:count], 0),
    "The smallest are gone and nothing else moved. How much can the others make up for?",
    lambda w, H, count: fit_on(w, H, w.abs().argsort()[count:]),
    "The best weights on magnitude's choice. The other half of the problem is the choice.",
    lambda w, H, count: _at_once(w, torch.linalg.inv(H), count),
    "All chosen by the first saliencies. Do they still hold after the first deletion?",
    lambda w, H, count: _surgeon(w, torch.linalg.inv(H), count),
    "That is OBS, one weight at a time, and each deletion was the best one when it was made. What could it not see?",
)
