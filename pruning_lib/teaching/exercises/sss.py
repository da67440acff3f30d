"""Exercises of notebook 03."""

from collections.abc import Callable

import torch
from torch import Tensor

from pruning_lib.teaching.exercises.exercise import Exercise, draw, whole

EXERCISES: dict[str, Exercise] = {}
Function = Callable[[Tensor], Tensor]


def _soft(z: Tensor, alpha: float) -> Tensor:
    return z.sign() * (z.abs() - alpha).clamp_min(0)


EXERCISES["soft_threshold"] = Exercise(
    lambda generator: (2 * draw(generator, 8), 0.7),
    _soft,
    lambda z, alpha: torch.where(z.abs() > alpha, z, torch.zeros_like(z)),
    "That is the hard threshold: what survives must move toward zero by alpha too.",
    lambda z, alpha: (z - alpha).clamp_min(0),
    "Negative z all become zero in your function. Put the sign aside, shrink the size, put the sign back.",
    lambda z, alpha: (z.abs() - alpha).clamp_min(0),
    "The sign of z is lost: multiply by sign(z) at the end.",
    lambda z, alpha: z.sign() * (z.abs() - alpha),
    "Small z come out with the sign turned. The (…)₊ of SSS-1 makes negative sizes zero.",
    lambda z, alpha: z / (1 + alpha),
    "That is the prox of the squared norm (ridge): it makes nothing zero.",
)


def _proximal(x: Tensor, gradient: Tensor, step: float, gamma: float) -> Tensor:
    return _soft(x - step * gradient, step * gamma)


EXERCISES["proximal_step"] = Exercise(
    lambda generator: (draw(generator, 8), draw(generator, 8), 0.3, 1.1),
    _proximal,
    lambda x, gradient, step, gamma: _soft(x - step * gradient, gamma),
    "Your threshold is gamma. The prox of step·R has the step in it: the threshold is step · gamma.",
    lambda x, gradient, step, gamma: _soft(x, step * gamma) - step * gradient,
    "You threshold first. The gradient step comes first, else the result is never exactly zero.",
    lambda x, gradient, step, gamma: x - step * (gradient + gamma * x.sign()),
    "That is the subgradient step: it jumps across zero instead of stopping there. Use the soft threshold.",
    lambda x, gradient, step, gamma: _soft(x + step * gradient, step * gamma),
    "You walk up the gradient. To descend, subtract it.",
)


def _apg_inputs(generator: torch.Generator) -> tuple[Tensor, Tensor, Function, float, float, int]:
    matrix, target, t = draw(generator, 5, 5), draw(generator, 5), whole(generator, 3, 9)
    return draw(generator, 5), draw(generator, 5), (lambda x: matrix.T @ (matrix @ x - target)), 0.1, 0.5, t


def _ahead(point: Tensor, previous: Tensor, t: int) -> Tensor:
    return point + (t - 2) / (t + 1) * (point - previous)


def apg_step(point: Tensor, previous: Tensor, gradient: Function, step: float, gamma: float, t: int) -> Tensor:
    d = _ahead(point, previous, t)
    return _proximal(d, gradient(d), step, gamma)


EXERCISES["apg_step"] = Exercise(
    _apg_inputs,
    apg_step,
    lambda point, previous, gradient, *rest: apg_step(point, previous, lambda d: gradient(point), *rest),
    "Your gradient is taken at the last point. SSS-5 takes it at the look-ahead point d_t.",
    lambda point, previous, gradient, step, gamma, t: _proximal(
        point, gradient(_ahead(point, previous, t)), step, gamma
    ),
    "You start the gradient step from the last point. SSS-5 starts it from d_t, where the gradient was taken.",
    lambda point, previous, gradient, step, gamma, t: _proximal(point, gradient(point), step, gamma),
    "That is ISTA: the momentum is missing.",
    lambda point, previous, gradient, step, gamma, t: apg_step(previous, point, gradient, step, gamma, t),
    "The momentum points backwards: it goes on from λ_{t−2} to λ_{t−1}, the newer one is λ_{t−1}.",
    lambda point, previous, gradient, step, gamma, t: apg_step(point, previous, gradient, step, gamma, t + 1),
    "Your momentum is one iteration ahead: (t−1)/(t+2). In SSS-5 iteration t has (t−2)/(t+1).",
    lambda point, previous, gradient, step, gamma, t: apg_step(point, previous, gradient, step, gamma / step, t),
    "Your threshold is gamma. The prox of step·R has the step in it: the threshold is step · gamma.",
)


def _gated_layers(generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    gates = draw(generator, 6)
    gates[torch.randperm(6, generator=generator)[:2]] = 0
    return draw(generator, 6, 6), draw(generator, 6), gates, draw(generator, 4, 6)


EXERCISES["take_out"] = Exercise(
    _gated_layers,
    lambda w1, b1, gates, w2: (w1[gates != 0], b1[gates != 0], (w2 * gates)[:, gates != 0]),
    lambda w1, b1, gates, w2: ((gates[:, None] * w1)[gates != 0], (gates * b1)[gates != 0], w2[:, gates != 0]),
    "You fold the gates in before the ReLU, which is wrong for negative ones. They act on what w2 reads.",
    lambda w1, b1, gates, w2: (w1[gates != 0], b1[gates != 0], w2[:, gates != 0]),
    "The open gates are lost: they are not 1. Multiply them into the columns of w2.",
    lambda w1, b1, gates, w2: (w1[gates > 0], b1[gates > 0], (w2 * gates)[:, gates > 0]),
    "A negative gate is open, too. Only those that are exactly zero go.",
    lambda w1, b1, gates, w2: (w1, b1, w2 * gates),
    "Right outputs, but nothing is smaller: the closed neurons are still computed.",
    lambda w1, b1, gates, w2: (w1[gates != 0], b1, (w2 * gates)[:, gates != 0]),
    "The biases of the closed neurons are still there: cut b1 like the rows of w1.",
    lambda w1, b1, gates, w2: (w1[:, gates != 0], b1[gates != 0], (w2 * gates)[:, gates != 0]),
    "You cut columns of w1, which are its inputs. A neuron is a row of w1 and a column of w2.",
    lambda w1, b1, gates, w2: (w1[gates != 0], b1[gates != 0], w2 * gates),
    "w2 still reads the closed neurons: cut its columns too.",
)
