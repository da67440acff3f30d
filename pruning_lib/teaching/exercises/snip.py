"""Exercises of notebook 02."""

from collections.abc import Callable

import torch
from torch import Tensor

from pruning_lib.teaching.exercises.exercise import Exercise, draw, whole

EXERCISES: dict[str, Exercise] = {}
Tensors = list[Tensor]


def _shares(scores: Tensors) -> Tensors:
    total = sum(score.sum() for score in scores)
    return [score / total for score in scores]


def sensitivity(weights: Tensors, gradients: Tensors) -> Tensors:
    return _shares([(w * g).abs() for w, g in zip(weights, gradients, strict=True)])


EXERCISES["sensitivity"] = Exercise(
    lambda generator: tuple([draw(generator, 3, 2), draw(generator, 2, 3)] for _ in range(2)),
    sensitivity,
    lambda weights, gradients: _shares([g.abs() for g in gradients]),
    "That is |dL/dw|, the derivative by the weight. SNIP-3 is the derivative by the indicator: w · dL/dw.",
    lambda weights, gradients: [(w * g).abs() for w, g in zip(weights, gradients, strict=True)],
    "Not normalized: over the whole model the scores must sum to 1.",
    lambda weights, gradients: [_shares([(w * g).abs()])[0] for w, g in zip(weights, gradients, strict=True)],
    "You normalize each layer by itself. The sum in SNIP-4 runs over all weights of the model.",
    lambda weights, gradients: _shares([w * g for w, g in zip(weights, gradients, strict=True)]),
    "Signs are still there. A connection matters whether the loss would rise or fall: take absolute values.",
    lambda weights, gradients: _shares([w.abs() for w in weights]),
    "That is the magnitude: it never looks at the loss.",
)


def _loss_and_weights(generator: torch.Generator) -> tuple[Callable, Tensor, int]:
    target, weights = 3 * draw(generator, 5), draw(generator, 5)
    return (lambda w: ((w - target) ** 2).sum()), weights, whole(generator, 0, 5)


def _edited(weights: Tensor, index: int, value: float) -> Tensor:
    return weights.index_fill(0, torch.tensor(index), value)


EXERCISES["exact_effect"] = Exercise(
    _loss_and_weights,
    lambda loss, weights, j: loss(weights) - loss(_edited(weights, j, 0)),
    lambda loss, weights, j: loss(_edited(weights, j, 0)) - loss(weights),
    "The sign is turned: SNIP-2 is the loss with the connection minus the loss without it.",
    lambda loss, weights, j: (loss(weights) - loss(_edited(weights, j, 0))).abs(),
    "SNIP-2 has a sign, and it tells something: positive means that the loss falls without the connection.",
    lambda loss, weights, j: loss(_edited(weights, j, 0)),
    "That is the loss without the connection. Its effect is the difference from the loss with it.",
    lambda loss, weights, j: loss(weights) - loss(_edited(weights, j, 1)),
    "You set the weight to 1. It is the indicator c_j that goes from 1 to 0, and c_j · w_j with it.",
)


def _mean_of(tensors: Tensors, sizes: list[int]) -> Tensor:
    return sum(tensor * size for tensor, size in zip(tensors, sizes, strict=True)) / sum(sizes)


EXERCISES["several_batches"] = Exercise(
    lambda generator: (draw(generator, 6), [draw(generator, 6) for _ in range(3)], [10, 10, 4]),
    lambda weight, gradients, sizes: (weight * _mean_of(gradients, sizes)).abs(),
    lambda weight, gradients, sizes: _mean_of([(weight * g).abs() for g in gradients], sizes),
    "You take |·| in each batch, then average. SNIP-3 derives the mean loss: average first, |·| last.",
    lambda weight, gradients, sizes: (weight * sum(gradients) / len(gradients)).abs(),
    "The batches have different sizes: weigh each gradient by its number of samples.",
    lambda weight, gradients, sizes: (weight * gradients[-1]).abs(),
    "Only the last batch counts in your result: was the gradient overwritten instead of accumulated?",
    lambda weight, gradients, sizes: (weight * _mean_of(gradients, sizes) * sum(sizes)).abs(),
    "The mean over all samples is missing its denominator: divide by the number of samples.",
    lambda weight, gradients, sizes: _mean_of(gradients, sizes).abs(),
    "That is |dL/dw|. The derivative by the indicator has the factor w.",
)
