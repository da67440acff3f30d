"""Exercises of notebook 02."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from pruning_lib.teaching.exercises.exercise import Exercise, Experiment, RuleBroken, draw

EXERCISES: dict[str, Exercise | Experiment] = {}
Tensors = list[Tensor]


def _shares(scores: Tensors) -> Tensors:
    total = sum(score.sum() for score in scores)
    return [score / total for score in scores]


def _products(weights: Tensors, gradients: Tensors) -> Tensors:
    return [w * g for w, g in zip(weights, gradients, strict=True)]


def _scores(weights: Tensors, gradients: Tensors) -> Tensors:
    return _shares([product.abs() for product in _products(weights, gradients)])


EXERCISES["snip_scores"] = Exercise(
    lambda generator: tuple([draw(generator, 3, 2), draw(generator, 2, 3)] for _ in range(2)),
    _scores,
    lambda weights, gradients: _shares([g.abs() for g in gradients]),
    "That is how fast the loss changes with the *weight*. The dial here is c, and it turns c·w.",
    lambda weights, gradients: [product.abs() for product in _products(weights, gradients)],
    "Right up to a factor: these are no shares yet.",
    lambda weights, gradients: [_shares([product.abs()])[0] for product in _products(weights, gradients)],
    "Within each layer your shares add up to 1. Here all connections of the model share one 1.",
    lambda weights, gradients: _shares(_products(weights, gradients)),
    "You let opposite signs cancel. Does a connection matter less if the loss falls when its dial is turned down?",
    lambda weights, gradients: _shares([w.abs() for w in weights]),
    "Your scores never look at the loss.",
    lambda weights, gradients: _shares([product**2 for product in _products(weights, gradients)]),
    "The ranking is right, the shares are not: large ones get too much.",
)


def _mean_of(tensors: Tensors, sizes: list[int]) -> Tensor:
    return sum(tensor * size for tensor, size in zip(tensors, sizes, strict=True)) / sum(sizes)


EXERCISES["several_batches"] = Exercise(
    lambda generator: (draw(generator, 6), [draw(generator, 6) for _ in range(3)], [10, 10, 4]),
    lambda weight, gradients, sizes: (weight * _mean_of(gradients, sizes)).abs(),
    lambda weight, gradients, sizes: _mean_of([(weight * g).abs() for g in gradients], sizes),
    "That is your colleague's score. Take two batches whose gradients are +1 and −1: what is the gradient of both "
    "together, and what does the code add up?",
    lambda weight, gradients, sizes: (weight * sum(gradients) / len(gradients)).abs(),
    "The same images in other batches still give another score: the last batch is a small one.",
    lambda weight, gradients, sizes: (weight * gradients[-1]).abs(),
    "Only the last batch counts.",
    lambda weight, gradients, sizes: (weight * _mean_of(gradients, sizes) * sum(sizes)).abs(),
    "That is the gradient of the summed loss, not of its mean.",
    lambda weight, gradients, sizes: _mean_of(gradients, sizes).abs(),
    "The batches are right now, but the weight got lost.",
)


CALLS = 1000


class _Loss:
    """The loss of a tiny network over its 24 indicators (4×3 and 3×4 weights), which counts how often it is asked."""

    def __init__(self):
        generator = torch.Generator().manual_seed(7)
        self.w1, self.w2, self.x = draw(generator, 4, 3), draw(generator, 3, 4), draw(generator, 30, 3)
        self.y = torch.randint(0, 3, (30,), generator=generator)
        self.left = CALLS

    def __call__(self, c: Tensor) -> Tensor:
        self.left -= 1
        if self.left < 0:
            raise RuntimeError(f"the loss was asked more than {CALLS} times")
        hidden = torch.tanh(self.x @ (c[:12].view(4, 3) * self.w1).T)
        return F.cross_entropy(hidden @ (c[12:].view(3, 4) * self.w2).T, self.y)


def _loss_at(c: Tensor, loss: Callable, k: int) -> float:
    if c.shape != (24,) or not ((c == 0) | (c == 1)).all():
        raise RuleBroken("Asked for are 24 indicators, each 0 or 1.")
    if c.sum() != k:
        raise RuleBroken(f"{int(c.sum())} connections stay, it must be {k}.")
    return loss(c.double()).item()


def _ones(k: int, scores: Tensor) -> Tensor:
    return torch.zeros(24, dtype=torch.float64).index_fill(0, scores.argsort(descending=True)[:k], 1)


def _without(c: Tensor, *flipped: int) -> Tensor:
    return c.index_put((torch.tensor(flipped),), 1 - c[list(flipped)])


def _gradient(loss: Callable) -> Tensor:
    c = torch.ones(24, dtype=torch.float64, requires_grad=True)
    return torch.autograd.grad(loss(c), c)[0]


def _by_turns(loss: Callable, k: int) -> Tensor:
    c = torch.ones(24, dtype=torch.float64)
    while c.sum() > k:
        c = min((_without(c, j) for j in c.nonzero().flatten().tolist()), key=loss)
    return c


def _exchanged(loss: Callable, k: int) -> Tensor:
    c, found = _by_turns(loss, k), True
    lowest = loss(c)
    while found:
        found = False
        for j in c.nonzero().flatten().tolist():
            for i in (1 - c).nonzero().flatten().tolist():
                if loss.left and (value := loss(_without(c, i, j))) < lowest:
                    c, lowest, found = _without(c, i, j), value, True
                    break
    return c


EXERCISES["ten_of_24"] = Experiment(
    lambda: [(_Loss(), 10)],
    _loss_at,
    0.95,
    "loss",
    "{:.3f}",
    _exchanged,
    lambda loss, k: _ones(k, _gradient(loss).abs()),
    "That is SNIP, from a single gradient, and you have hundreds of calls left.",
    lambda loss, k: _ones(k, torch.stack([loss(_without(torch.ones(24, dtype=torch.float64), j)) for j in range(24)])),
    "Each connection is judged while all others are still there. What changes when the first one is gone?",
    _by_turns,
    "Judged again after every removal: good, for 245 calls. But what is gone never comes back.",
    lambda loss, k: _ones(k, torch.cat([loss.w1.flatten(), loss.w2.flatten()]).abs()),
    "The largest weights stay, and the loss was never asked.",
)
