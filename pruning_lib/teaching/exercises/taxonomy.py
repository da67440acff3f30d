"""Exercises of notebook 01."""

import torch
from torch import Tensor

from pruning_lib.teaching.exercises.exercise import Exercise, draw, whole
from pruning_lib.teaching.exercises.two_four import MASK

EXERCISES: dict[str, Exercise] = {}


def top_k(scores: Tensor, k: int) -> Tensor:
    keep = torch.zeros_like(scores, dtype=torch.bool)
    keep[scores.argsort(descending=True, stable=True)[:k]] = True
    return keep


EXERCISES["top_k"] = Exercise(
    lambda generator: (torch.randint(0, 4, (12,), generator=generator).double(), 5),
    top_k,
    lambda scores, k: scores >= scores.sort(descending=True).values[k - 1],
    "Too many stay when scores tie: a threshold with >= keeps all that equal the k-th. Select by index.",
    lambda scores, k: scores > scores.sort(descending=True).values[k - 1],
    "Too few stay when scores tie: a threshold with > drops all that equal the k-th. Select by index.",
    lambda scores, k: ~top_k(scores, k),
    "Your mask is the wrong way round: True means that a weight stays.",
    lambda scores, k: top_k(-scores, k),
    "You keep the smallest scores. Sort in descending order and keep the first k.",
    lambda scores, k: top_k(scores, k).double(),
    "Right places, wrong kind: a mask is boolean (dtype torch.bool), True where a weight stays.",
    lambda scores, k: top_k(scores.flip(0), k).flip(0),
    "Of equal scores the first must stay, you keep the last: is your sort stable?",
)


EXERCISES["two_of_four"] = MASK


def _without(tensor: Tensor, index: int, dim: int) -> Tensor:
    return tensor.index_select(dim, torch.tensor([i for i in range(tensor.shape[dim]) if i != index]))


def _zeroed(tensor: Tensor, index: int, dim: int) -> Tensor:
    return tensor.index_fill(dim, torch.tensor([index]), 0)


EXERCISES["remove_neuron"] = Exercise(
    lambda generator: (draw(generator, 5, 5), draw(generator, 5), draw(generator, 5, 5), whole(generator, 0, 5)),
    lambda w1, b1, w2, index: (_without(w1, index, 0), _without(b1, index, 0), _without(w2, index, 1)),
    lambda w1, b1, w2, index: (_without(w1, index, 0), b1, _without(w2, index, 1)),
    "The bias still has an entry for the neuron that is gone.",
    lambda w1, b1, w2, index: (_without(w1, index, 1), _without(b1, index, 0), _without(w2, index, 0)),
    "You took a column of w1 and a row of w2. Weights are (out, in): take a row of w1 and a column of w2.",
    lambda w1, b1, w2, index: (_without(w1, index, 0), _without(b1, index, 0), _without(w2, index, 0)),
    "From w2 you took a row, which is one of its own neurons. What read the removed neuron is a column of w2.",
    lambda w1, b1, w2, index: (_without(w1, index, 0), _without(b1, index, 0), w2),
    "w2 still reads the removed neuron: its column must go too, else the shapes do not fit.",
    lambda w1, b1, w2, index: (_zeroed(w1, index, 0), _zeroed(b1, index, 0), _zeroed(w2, index, 1)),
    "You write zeros. Removing means smaller tensors: leave the row, the bias entry and the column out.",
)


def _momentum_step(generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    weight, velocity, gradient = draw(generator, 3, 6)
    keep = torch.rand(6, generator=generator) < 0.6
    keep[0], keep[1] = True, False
    return weight, velocity, gradient, keep


EXERCISES["masked_step"] = Exercise(
    _momentum_step,
    lambda weight, velocity, gradient, keep: (weight - 0.1 * (0.9 * velocity + gradient)) * keep,
    lambda weight, velocity, gradient, keep: weight - 0.1 * (0.9 * velocity + gradient),
    "The mask is lost in the step: masked weights are no longer zero.",
    lambda weight, velocity, gradient, keep: weight - 0.1 * (0.9 * velocity + gradient * keep),
    "Masking the gradient is not enough: the velocity gathered before the mask still moves the weight.",
    lambda weight, velocity, gradient, keep: weight - 0.1 * (0.9 * velocity * keep + gradient),
    "Masking the velocity is not enough: the new gradient still moves the weight.",
    lambda weight, velocity, gradient, keep: weight - 0.1 * (0.9 * velocity + gradient) * keep,
    "You mask the step, but not the weight: what was not zero before the mask came stays as it was.",
    lambda weight, velocity, gradient, keep: (weight + 0.1 * (0.9 * velocity + gradient)) * keep,
    "You walk uphill: the step is minus lr times the new velocity.",
)
