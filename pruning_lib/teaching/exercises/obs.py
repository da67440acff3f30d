"""Exercises of notebooks 04 and 04b."""

from itertools import combinations

import torch
from torch import Tensor

from pruning_lib.teaching.exercises.exercise import Exercise, Experiment, RuleBroken, draw, whole

EXERCISES: dict[str, Exercise | Experiment] = {}
_PAIRS = list(combinations(range(6), 2))


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


def _blocks(generator: torch.Generator) -> tuple[list[Tensor], float, int]:
    samples = whole(generator, 10, 20)
    return [draw(generator, 3, 5) for _ in range(whole(generator, 3, 6))], 10.0 ** -whole(generator, 1, 4), samples


def _in_blocks(
    blocks: list[Tensor], alpha: float, samples: int, *, between=True, start: float = 1.0, sign: int = -1
) -> Tensor:
    """Add blocks of rows / √samples one after the other to alpha·I, in the inverse."""
    B = torch.eye(blocks[0].shape[1], dtype=blocks[0].dtype) / alpha * start
    for X in blocks:
        columns = B @ X.T
        middle = samples * torch.eye(len(X), dtype=X.dtype) + X @ columns
        middle = middle if between else middle.diagonal().diag()
        B = B + sign * columns @ torch.linalg.inv(middle) @ columns.T
    return B


EXERCISES["inverse_in_blocks"] = Exercise(
    _blocks,
    _in_blocks,
    lambda blocks, alpha, samples: _in_blocks(blocks, alpha, samples, between=False),
    "That is your colleague's matrix. Rows of one block overlap: what stands in the middle of OBS-11 if B has columns?",
    lambda blocks, alpha, samples: _in_blocks(blocks, alpha, 1),
    "That is the inverse for the sum over the samples. The error is their mean: what is C then?",
    lambda blocks, alpha, samples: _in_blocks(blocks, alpha, len(blocks[0])),
    "The mean is over all samples, not over the rows of a block.",
    lambda blocks, alpha, samples: _in_blocks(blocks, alpha, samples, sign=1),
    "More rows mean more curvature. Must the inverse grow with it, or shrink?",
    lambda blocks, alpha, samples: _in_blocks(blocks, alpha, samples, start=alpha**2),
    "You start from alpha·I. What is the inverse of the matrix that the recursion starts from?",
)


def _costs(w: Tensor, H_inv: Tensor, pairs: list[tuple[int, ...]]) -> Tensor:
    """Of deleting both while all others follow: OBS-5 with a 2×2 matrix in place of a number."""
    Q = torch.tensor(pairs)
    return (w[Q] * torch.linalg.solve(H_inv[Q[:, :, None], Q[:, None, :]], w[Q])).sum(1) / 2


def _best_pair(w: Tensor, H_inv: Tensor) -> tuple[int, int, float]:
    costs = _costs(w, H_inv, _PAIRS)
    return *_PAIRS[costs.argmin()], costs.min().item()


def _one_after_the_other(w: Tensor, H_inv: Tensor) -> tuple[int, int, float]:
    pair = sorted((_surgeon(w, H_inv, 2) == 0).nonzero().flatten().tolist())
    return *pair, _costs(w, H_inv, [pair]).item()


def _two_cheapest(w: Tensor, H_inv: Tensor) -> tuple[int, int, float]:
    pair = sorted((w**2 / H_inv.diagonal()).argsort()[:2].tolist())
    return *pair, _costs(w, H_inv, [pair]).item()


def _saliencies_added(w: Tensor, H_inv: Tensor) -> tuple[int, int, float]:
    saliency = w**2 / H_inv.diagonal() / 2
    pair = sorted(saliency.argsort()[:2].tolist())
    return *pair, saliency[pair].sum().item()


def _pair_while_others_stay(w: Tensor, H_inv: Tensor) -> tuple[int, int, float]:
    H = torch.linalg.inv(H_inv)
    costs = {pair: (w[list(pair)] @ H[list(pair)][:, list(pair)] @ w[list(pair)] / 2).item() for pair in _PAIRS}
    pair = min(costs, key=costs.get)
    return *pair, costs[pair]


def _where_greed_fails(generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Six weights whose best pair is neither the two cheapest nor what one deletion after the other finds."""
    while True:
        w, H_inv = draw(generator, 6), random_inverse(generator, 6)
        best, cheapest = _best_pair(w, H_inv)[:2], _two_cheapest(w, H_inv)[:2]
        if best != cheapest and _one_after_the_other(w, H_inv)[:2] not in (best, cheapest):
            return w, H_inv


EXERCISES["two_at_once"] = Exercise(
    _where_greed_fails,
    _best_pair,
    _one_after_the_other,
    "That is OBS, one weight at a time. The first that it takes need not be one of the best two.",
    _two_cheapest,
    "Those are the two with the lowest saliencies. Can each still make up for the other when both go?",
    _saliencies_added,
    "You add two saliencies. Each was computed as if the other weight could still follow.",
    _pair_while_others_stay,
    "That is the cost while the others stay. Let them follow.",
    lambda w, H_inv: (*_best_pair(w, H_inv)[:2], 2 * _best_pair(w, H_inv)[2]),
    "The right pair, at twice its cost.",
)


def _on_a_slope(w: Tensor, slope: Tensor, H_inv: Tensor, q: int) -> tuple[Tensor, float]:
    """Minimize slope·δw + ½ δwᵀHδw where δw_q = −w_q: down to the bottom of the bowl, and from there OBS-5."""
    step = H_inv @ slope
    bottom = w - step
    after = bottom - bottom[q] / H_inv[q, q] * H_inv[:, q]
    return after, (bottom[q] ** 2 / H_inv[q, q] / 2 - slope @ step / 2).item()


def _level(w: Tensor, slope: Tensor, H_inv: Tensor, q: int) -> tuple[Tensor, float]:
    return w - w[q] / H_inv[q, q] * H_inv[:, q], (w[q] ** 2 / H_inv[q, q] / 2).item()


def _level_charged(w: Tensor, slope: Tensor, H_inv: Tensor, q: int) -> tuple[Tensor, float]:
    after, cost = _level(w, slope, H_inv, q)
    return after, cost + (slope @ (after - w)).item()


def _both_steps_from_w(w: Tensor, slope: Tensor, H_inv: Tensor, q: int) -> tuple[Tensor, float]:
    after, cost = _level(w, slope, H_inv, q)
    step = H_inv @ slope
    return after - step, cost - (slope @ step / 2).item()


def _without_the_gain(w: Tensor, slope: Tensor, H_inv: Tensor, q: int) -> tuple[Tensor, float]:
    after, change = _on_a_slope(w, slope, H_inv, q)
    return after, change + (slope @ H_inv @ slope / 2).item()


EXERCISES["surgeon_on_a_slope"] = Exercise(
    lambda generator: (
        draw(generator, 7),
        0.5 * draw(generator, 7),
        random_inverse(generator, 7),
        whole(generator, 0, 7),
    ),
    _on_a_slope,
    _level,
    "That is OBS-5: it takes the slope for zero. Write the Lagrangian again, with slope·δw in it.",
    _level_charged,
    "You charge the slope for OBS-5's move. With a slope another move is the best one.",
    _both_steps_from_w,
    "Weight q does not end at zero: the step down the slope has moved it, too.",
    _without_the_gain,
    "The weights are right. The change lacks what the step to the bottom of the bowl gains.",
)


def _credit(errors: Tensor) -> tuple[float, float]:
    """What choice and following save: each the mean of its two effects, with and without the other."""
    (magnitude, follow), (obs, both) = errors.mean(dim=2).tolist()
    return (magnitude - obs + follow - both) / 2, (magnitude - follow + obs - both) / 2


def _credits_by(choice: tuple[int, ...], following: tuple[int, ...]):
    """Differences between two of the four mean errors (magnitude, it followed, OBS's choice alone, both)."""

    def shares(errors: Tensor) -> tuple[float, float]:
        four = errors.mean(dim=2).flatten().tolist()
        return tuple(four[before] - four[after] for before, after in (choice, following))

    return shares


EXERCISES["shared_credit"] = Exercise(
    lambda generator: (draw(generator, 2, 2, 5).abs(),),
    _credit,
    _credits_by((0, 2), (2, 3)),
    "That is your colleague's answer: choice first, then following. What do the shares become on the other path?",
    _credits_by((1, 3), (0, 1)),
    "You take the other path, following first. Neither is the right one. What do you make of two answers?",
    _credits_by((0, 2), (0, 1)),
    "Each share is measured without the other. Do they add up to what both save together?",
    _credits_by((1, 3), (2, 3)),
    "Each share is measured on top of the other. Do they add up to what both save together?",
    lambda errors: tuple(-share for share in _credit(errors)),
    "The sign: an error that falls is something saved.",
    lambda errors: ((errors[0, 0] - errors[1, 1]).mean().item() / 2,) * 2,
    "Half of it each: you have used two of the four corners only.",
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
