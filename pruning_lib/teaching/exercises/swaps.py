"""Exercises of notebook 05c."""

import torch
from torch import Tensor

from pruning_lib.after_training import exact, reconstruction, sparsegpt, swaps
from pruning_lib.structure import keep_largest
from pruning_lib.teaching.exercises.exercise import Exercise, Experiment, draw
from pruning_lib.teaching.exercises.given import query_layer
from pruning_lib.teaching.exercises.obs import fit_on, random_inverse
from pruning_lib.teaching.exercises.sparsegpt import Pair, layer_error

EXERCISES: dict[str, Exercise | Experiment] = {}


def _two_by_two(generator: torch.Generator) -> tuple[Tensor]:
    """Losses over dense; the second mask is worse than the first where nothing moves."""
    return (
        torch.tensor([[3.0, 1.2], [3.4, 0.6]], dtype=torch.float64) * (1 + 0.1 * draw(generator, 2, 2).clamp(-2, 2)),
    )


def _credit(lost: Tensor) -> Tensor:
    undone = 1 - lost / lost[0, 0]
    moved, mask, both = undone[0, 1], undone[1, 0], undone[1, 1]
    return torch.stack([torch.stack([moved, both - moved]), torch.stack([both - mask, mask])])


EXERCISES["credit"] = Exercise(
    _two_by_two,
    _credit,
    lambda lost: (1 - lost / lost[0, 0])[[0, 1], [1, 0]].expand(2, 2),
    "You give each half what it does alone. Do your rows add up to what both do together?",
    lambda lost: _credit(lost.T),
    "You have mixed rows and columns of `lost`: rows are masks.",
    lambda lost: _credit(lost).flip(0),
    "The two orders are exchanged: in the first row the weights move first, on magnitude's mask.",
    lambda lost: _credit(lost).flip(1),
    "The halves are exchanged: in a row reconstruction comes first, then the mask.",
    lambda lost: _credit(lost) * lost[0, 0],
    "Those are bits. Asked for are shares of `lost[0, 0]`.",
    lambda lost: _credit(lost) / (1 - lost[1, 1] / lost[0, 0]),
    "Those are shares of the gain. Asked for are shares of what magnitude loses.",
    lambda lost: 1 - _credit(lost),
    "Those are shares that are left. Asked for is what was undone.",
)


def _row(generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    keep = torch.randperm(5, generator=generator) < 2
    return draw(generator, 5), torch.linalg.inv(random_inverse(generator, 5)), keep


def _fit(w: Tensor, H: Tensor, keep: Tensor) -> Tensor:
    """The best weights on `keep`."""
    return fit_on(w, H, keep.nonzero().flatten())


def _least(w: Tensor, H: Tensor, keep: Tensor, fitted: Tensor | None = None) -> Tensor:
    change = w - (_fit(w, H, keep) if fitted is None else fitted)
    return change @ H @ change


def _flipped(keep: Tensor, *places: Tensor) -> Tensor:
    return keep.index_put((torch.stack(places),), ~keep[torch.stack(places)])


def _gains(w: Tensor, H: Tensor, keep: Tensor, gain=None) -> Tensor:
    """`gain` of every exchange, kept × pruned; left out, what it gains after a refit."""
    if gain is None:
        gain = lambda q, p: _least(w, H, keep) - _least(w, H, _flipped(keep, q, p))  # noqa: E731
    P = (~keep).nonzero().flatten()
    return torch.stack([torch.stack([gain(q, p) for p in P]) for q in keep.nonzero().flatten()])


def _moved(w: Tensor, H: Tensor, keep: Tensor, q: Tensor, p: Tensor) -> Tensor:
    """The fitted weights with q gone and p back at its old value, nothing fitted again."""
    return _fit(w, H, keep).index_fill(0, q, 0).index_copy(0, p[None], w[p][None])


EXERCISES["exchange_gains"] = Exercise(
    _row,
    _gains,
    lambda w, H, keep: _gains(
        w,
        H,
        keep,
        lambda q, p: 2 * _least(w, H, keep) - _least(w, H, _flipped(keep, q)) - _least(w, H, _flipped(keep, p)),
    ),
    "You add what each of the two does alone. Once p is there, is q still as hard to replace?",
    lambda w, H, keep: _gains(
        w, H, keep, lambda q, p: _least(w, H, keep) - _least(w, H, keep, _moved(w, H, keep, q, p))
    ),
    "After your exchange the other weights stand still. Let them find their best places on the new mask.",
    lambda w, H, keep: -_gains(w, H, keep),
    "The sign is turned: a good exchange gains.",
    lambda w, H, keep: _gains(w, H, keep).T,
    "Right, but transposed: rows are kept weights, columns pruned ones.",
    lambda w, H, keep: _gains(w, H, keep) / 2,
    "Half of it: here the error is (w − v)ᵀH(w − v), without OBS's ½.",
    lambda w, H, keep: _gains(w, H, keep, lambda q, p: _least(w, H, _flipped(keep, q, p))),
    "Those are the errors after each exchange. What was it before?",
    lambda w, H, keep: _gains(
        w, H, keep, lambda q, p: _least(w, H, keep, w * keep) - _least(w, H, _flipped(keep, q, p))
    ),
    "The row before the exchange is not refitted yet, so that each exchange gets credit for the refit.",
)


def _masked_row(generator: torch.Generator) -> tuple[Tensor]:
    return ((torch.rand(3, 4, generator=generator).argsort(1) < 2).flatten(),)


def _allowed(keep: Tensor, group: int = 4) -> Tensor:
    M, P = keep.nonzero().flatten(), (~keep).nonzero().flatten()
    return M[:, None] // group == P // group


EXERCISES["allowed_swaps"] = Exercise(
    _masked_row,
    _allowed,
    lambda keep: torch.ones_like(_allowed(keep)),
    "That is your colleague's rule. It keeps the row's count; what does it do to the groups?",
    lambda keep: _allowed(keep, 2),
    "You allow too little: among how many consecutive weights does 2:4 choose?",
    lambda keep: _allowed(keep, 8),
    "Your groups have eight weights: that is 4:8.",
    lambda keep: (keep.nonzero() - (~keep).nonzero().flatten()).abs() < 4,
    "Near is not enough: weights 3 and 4 are neighbors and in two groups.",
    lambda keep: keep.nonzero() // 4 == torch.arange((~keep).sum()) // 4,
    "Right for the kept weights. Which column does the second pruned weight stand in?",
)


def _ends(w: Tensor, H: Tensor, keep: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The cheapest kept weight and its cost, the most useful pruned one and its gain (SW-2)."""
    M, P = keep.nonzero().flatten(), (~keep).nonzero().flatten()
    B = torch.linalg.inv(H[M][:, M])
    C = B @ H[M][:, P]
    S = H[P][:, P] - H[P][:, M] @ C
    costs, gains = (w[M] + C @ w[P]) ** 2 / B.diagonal(), (S @ w[P]) ** 2 / S.diagonal()
    return costs.min(), M[costs.argmin()], gains.max(), P[gains.argmax()]


def _swapped(W: Tensor, H: Tensor) -> list[Pair]:
    """What swaps make of SparseGPT's mask and of magnitude's."""
    starts = sparsegpt.prune_weight(W, H, 0.5)[1], keep_largest({"W": W.abs()}, 0.5)["W"]
    return [swaps.improve(W, H, keep) for keep in starts]


def _share_of_swaps(result: Pair, W: Tensor, H: Tensor) -> float:
    """In percent of the better of both: a share, since the text behind H differs from Python to Python."""
    return 100 * layer_error(result, W, H) / min(layer_error(pair, W, H) for pair in _swapped(W, H))


def _across_rows(W: Tensor, H: Tensor) -> Pair:
    """Swaps, then single places moved from rows where they matter little to rows where they matter most."""
    keep = min(_swapped(W, H), key=lambda pair: layer_error(pair, W, H))[1].clone()
    ends = [_ends(w, H, k) for w, k in zip(W, keep, strict=True)]
    while True:
        cheap = min(range(len(W)), key=lambda i: ends[i][0])
        useful = max(range(len(W)), key=lambda i: ends[i][2])
        if cheap == useful or ends[useful][2] <= ends[cheap][0]:
            return reconstruction.refit(W, H, keep), keep
        keep[cheap, ends[cheap][1]], keep[useful, ends[useful][3]] = False, True
        for i in (cheap, useful):
            ends[i] = _ends(W[i], H, keep[i])


EXERCISES["beyond_swaps"] = Experiment(
    lambda: [query_layer()],
    _share_of_swaps,
    99.5,
    "layer error, of that after swaps,",
    "{:.1f} %",
    _across_rows,
    lambda W, H: sparsegpt.prune_weight(W, H, 0.5, refit=True),
    "The best weights on SparseGPT's mask, and the mask is as it was.",
    lambda W, H: _swapped(W, H)[0],
    "Swaps from SparseGPT's mask: no single exchange within a row helps any more. What do swaps never change?",
    lambda W, H: _swapped(W, H)[1],
    "Swaps from magnitude's mask end in another valley. What do swaps never change?",
    lambda W, H: exact.prune_weight(W, H, 0.5),
    "OBS in every row, one deletion after the other, and what is gone never comes back.",
)
