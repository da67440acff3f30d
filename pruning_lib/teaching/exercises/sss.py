"""Exercises of notebooks 03 and 03b."""

import copy
import functools
import warnings
from collections.abc import Callable

import torch
from torch import Tensor, nn

from pruning_lib.acceleration import cost
from pruning_lib.during_training import sss
from pruning_lib.teaching.exercises import given
from pruning_lib.teaching.exercises.exercise import Exercise, Experiment, RuleBroken, draw
from pruning_lib.workbench import data, models, training

EXERCISES: dict[str, Exercise | Experiment] = {}
Gradient = Callable[[Tensor], Tensor]


def _soft(z: Tensor, alpha: float) -> Tensor:
    return z.sign() * (z.abs() - alpha).clamp_min(0)


def _proximal(x: Tensor, gradient: Tensor, step: float, gamma: float) -> Tensor:
    return _soft(x - step * gradient, step * gamma)


EXERCISES["prox_step"] = Exercise(
    lambda generator: (draw(generator, 8), draw(generator, 8), 0.3, 1.1),
    _proximal,
    lambda x, gradient, step, gamma: _soft(x - step * gradient, gamma),
    "Zeros in the right way, but too many of them. How expensive is a long way if the step is short?",
    lambda x, gradient, step, gamma: x - step * (gradient + gamma * x.sign()),
    "That is the subgradient step. It jumps across zero and back, and never stops there.",
    lambda x, gradient, step, gamma: _soft(x, step * gamma) - step * gradient,
    "No entry of yours is exactly zero: which of the two moves must come last?",
    lambda x, gradient, step, gamma: _soft(x + step * gradient, step * gamma),
    "You walk up the gradient.",
    lambda x, gradient, step, gamma: (x - step * gradient) / (1 + step * gamma),
    "That minimizes with x² in place of |x|: everything shrinks, nothing becomes zero.",
    lambda x, gradient, step, gamma: (x - step * gradient - step * gamma).clamp_min(0),
    "All your negative entries end at zero. Look at the case x < 0 of the minimum.",
    lambda x, gradient, step, gamma: torch.where(
        (x - step * gradient).abs() > step * gamma, x - step * gradient, torch.zeros_like(x)
    ),
    "The right entries are zero. The others pay the penalty, too: did they move?",
)


def _look_ahead(generator: torch.Generator) -> tuple[Tensor, Tensor, float]:
    """λ' = λ + μv with zeros among λ, some of them at rest (v = 0)."""
    gates, velocity = draw(generator, 2, 8)
    gates[torch.randperm(8, generator=generator)[:4]] = 0
    velocity[torch.randperm(8, generator=generator)[:3]] = 0
    return gates + 0.9 * velocity, velocity, 0.9


EXERCISES["closed_gates"] = Exercise(
    _look_ahead,
    lambda parameter, velocity, momentum: (parameter - momentum * velocity).abs() < 1e-12,
    lambda parameter, velocity, momentum: parameter == 0,
    "That is your colleague's count. A gate has just arrived at zero with a velocity: what does its parameter hold?",
    lambda parameter, velocity, momentum: parameter.abs() < 0.1,
    "Near zero is not zero: some of yours are open and will be cut with their outputs.",
    lambda parameter, velocity, momentum: (parameter == 0) | (velocity == 0),
    "A gate that does not move need not be closed.",
    lambda parameter, velocity, momentum: (parameter - momentum * velocity).abs() >= 1e-12,
    "Those are the open ones.",
)


def _gated_layers(generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    gates = draw(generator, 6)
    gates[torch.randperm(6, generator=generator)[:2]] = 0
    return draw(generator, 6, 6), draw(generator, 6), gates, draw(generator, 4, 6)


EXERCISES["take_out"] = Exercise(
    _gated_layers,
    lambda w1, b1, gates, w2: (w1[gates != 0], b1[gates != 0], (w2 * gates)[:, gates != 0]),
    lambda w1, b1, gates, w2: ((gates[:, None] * w1)[gates != 0], (gates * b1)[gates != 0], w2[:, gates != 0]),
    "Right for positive gates. What does the ReLU do with a negative one that sits before it?",
    lambda w1, b1, gates, w2: (w1[gates != 0], b1[gates != 0], w2[:, gates != 0]),
    "The open gates are lost, and they are not 1.",
    lambda w1, b1, gates, w2: (w1[gates > 0], b1[gates > 0], (w2 * gates)[:, gates > 0]),
    "You closed gates that are open: a negative one passes something on, too.",
    lambda w1, b1, gates, w2: (w1, b1, w2 * gates),
    "Right outputs, but nothing is smaller: the closed neurons are still computed.",
    lambda w1, b1, gates, w2: (w1[gates != 0], b1, (w2 * gates)[:, gates != 0]),
    "Something of the closed neurons is still there, and the shapes do not fit.",
    lambda w1, b1, gates, w2: (w1[:, gates != 0], b1[gates != 0], (w2 * gates)[:, gates != 0]),
    "From w1 you took inputs. Weights are (out, in).",
    lambda w1, b1, gates, w2: (w1[gates != 0], b1[gates != 0], w2 * gates),
    "The second layer still expects the closed neurons.",
)


def _accuracies(generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Of four seeds, without the chosen blocks and without eight random sets; a good seed lifts all of its nine."""
    level = 97 + draw(generator, 4)
    return level + 0.3 + 0.5 * draw(generator, 4), level[:, None] + 0.5 * draw(generator, 4, 8)


def _of_seeds(difference: Tensor) -> tuple[Tensor, Tensor]:
    return difference.mean(), difference.std() / len(difference) ** 0.5


EXERCISES["against_chance"] = Exercise(
    _accuracies,
    lambda own, drawn: _of_seeds(own - drawn.mean(dim=1)),
    lambda own, drawn: (own.mean() - drawn.mean(), drawn.std() / drawn.numel() ** 0.5),
    "That is your colleague's error. Eight draws from one dense network are not eight networks: what must you repeat "
    "to have more of them?",
    lambda own, drawn: _of_seeds(own - drawn.max(dim=1).values),
    "You compare with the luckiest draw of each seed. What does chance reach on average?",
    lambda own, drawn: (own.mean() - drawn.mean(), (own - drawn.mean(dim=1)).std()),
    "So far one seed's difference may be off. How far off is the mean of several?",
    lambda own, drawn: (
        own.mean() - drawn.mean(),
        (own - drawn.mean(dim=1)).std(correction=0) / len(own) ** 0.5,
    ),
    "Almost: their mean was taken from the same few differences. What is left to divide the squares by?",
    lambda own, drawn: (own.mean() - drawn.mean(), ((own.var() + drawn.mean(dim=1).var()) / len(own)) ** 0.5),
    "A good seed lifts both, the choice and its draws. Which difference leaves that out?",
    lambda own, drawn: (own.mean() - drawn.mean(), (own[:, None] - drawn).std() / drawn.numel() ** 0.5),
    "You count each seed once for every draw. How many networks were trained?",
    lambda own, drawn: _of_seeds(drawn.mean(dim=1) - own),
    "Chance minus choice: the sign is turned round.",
)


CALLS = 100


class _Lasso:
    """½‖Aλ − b‖² + γ‖λ‖₁ with L = 1 and a known minimum; its gradient counts how often it is asked.

    The gradient is affine, so one more call than there are variables would recover it: there are more than `CALLS`.
    """

    variables, gamma = 120, 0.01

    def __init__(self):
        generator, n = torch.Generator().manual_seed(3), self.variables
        U, V = (torch.linalg.qr(draw(generator, size, n))[0] for size in (n + n // 2, n))
        self.A = U @ torch.diag(torch.logspace(0, -1.7, n, dtype=torch.float64)) @ V.T
        minimum = torch.zeros(n, dtype=torch.float64)
        minimum[::15] = 3 * draw(generator, 8)
        slope = 1.8 * torch.rand(n, dtype=torch.float64, generator=generator) - 0.9
        slope[::15] = minimum[::15].sign()
        self.b = self.A @ minimum + self.gamma * self.A @ torch.linalg.solve(self.A.T @ self.A, slope)
        self.least, self.left = self.value(minimum), CALLS

    def value(self, x: Tensor) -> Tensor:
        return (self.A @ x - self.b).square().sum() / 2 + self.gamma * x.abs().sum()

    def __call__(self, x: Tensor) -> Tensor:
        self.left -= 1
        if self.left < 0:
            raise RuntimeError(f"the gradient was asked more than {CALLS} times")
        return self.A.T @ (self.A @ x - self.b)


def _above_least(x: Tensor, lasso: _Lasso, *_: object) -> float:
    if x.shape != (lasso.variables,) or not x.isfinite().all():
        raise RuleBroken(f"Asked for is a point with {lasso.variables} finite entries; was the step too long?")
    return max(0.0, (lasso.value(x) - lasso.least).item())


def _accelerated(
    gradient: Gradient,
    start: Tensor,
    step: float,
    gamma: float,
    momentum=lambda t: max(t - 2, 0) / (t + 1),
    restart=False,
) -> Tensor:
    x, previous, t = start, start, 1
    for _ in range(CALLS):
        d = x + momentum(t) * (x - previous)
        previous, x = x, _proximal(d, gradient(d), step, gamma)
        t = 1 if restart and (d - x) @ (x - previous) > 0 else t + 1
    return x


EXERCISES["fast_lasso"] = Experiment(
    lambda: [(_Lasso(), torch.zeros(_Lasso.variables, dtype=torch.float64), 1.0, _Lasso.gamma)],
    _above_least,
    1e-9,
    "F − F*:",
    "{:.1e}",
    lambda *lasso: _accelerated(*lasso, restart=True),
    lambda *lasso: _accelerated(*lasso, momentum=lambda t: 0.0),
    "That is ISTA: every step forgets where it came from.",
    _accelerated,
    "That is APG. Compare the last move with the step it leads to: when do they point apart, and what would help?",
    lambda *lasso: _accelerated(*lasso, momentum=lambda t: 0.9),
    "A constant momentum of 0.9: better than APG here. How would one know when it is too much, or too little?",
    lambda gradient, start, step, gamma: _accelerated(gradient, start, step / 2, gamma),
    "Half the step that 1/L allows.",
)


TRAININGS = 6
LEARNED, CHOSEN = 900, 200  # digits that train, and those that choose γ; those of `given.accuracy` do neither


def _two_convolutions() -> nn.Sequential:
    first = [nn.Conv2d(1, 12, 3, padding=1, bias=False), nn.BatchNorm2d(12), nn.ReLU()]
    second = [nn.Conv2d(12, 24, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(24), nn.ReLU()]
    return models.initialize_(nn.Sequential(*first, *second, nn.Flatten(), nn.Linear(24 * 16, 10)), seed=1)


@functools.cache
def _at_price(gamma: float) -> nn.Module:
    """What the gates leave of the network after ten epochs at this γ."""
    learned = tuple(part[:LEARNED] for part in given.digits().train)
    gated = sss.add_gates(_two_convolutions(), "channel")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that nothing closes, or all of a layer, is what the experiment is about
        sss.train_gates(
            gated,
            lambda epoch: list(data.batches(learned, 100, epoch)),
            gamma=gamma,
            lr=lambda epoch: 0.1 if epoch < 8 else 0.01,
            epochs=10,
            seed=1,
            progress=False,
        )
        return sss.remove_closed(gated, learned[0][:2])


class _AtPrice:
    """`train(gamma)`, a few times."""

    def __init__(self):
        self.left = TRAININGS

    def __call__(self, gamma: float) -> nn.Module:
        self.left -= 1
        if self.left < 0:
            raise RuntimeError(f"train was called more than {TRAININGS} times")
        return copy.deepcopy(_at_price(float(gamma)))


def _held_out_accuracy(network: nn.Module) -> float:
    """In percent, on the digits that choose γ."""
    chosen = tuple(part[LEARNED : LEARNED + CHOSEN] for part in given.digits().train)
    return 100 * training.evaluate(network, chosen)[0]


def _share_of_macs(network: nn.Module) -> float:
    """In percent of the dense network's."""
    image = given.digits().train[0][:1]
    return 100 * cost.macs(network, image).dense / cost.macs(_two_convolutions(), image).dense


def _share_if_accurate(network: nn.Module, *_: object) -> float:
    if not isinstance(network, nn.Module):
        raise RuleBroken("Asked for is a network, one that train has returned.")
    if (found := given.accuracy(network)) < 93:
        raise RuleBroken(f"Of digits that it has never met, your network reads {found:.1f} %, at least 93 % is asked.")
    return _share_of_macs(network)


_PRICES = (0.02, 0.03, 0.045, 0.07, 0.1, 0.15)


def _cheapest(train, accuracy, share) -> nn.Module:
    tried = [train(gamma) for gamma in _PRICES]
    return min((network for network in tried if accuracy(network) >= 96), key=share)


EXERCISES["right_price"] = Experiment(
    lambda: [(_AtPrice(), _held_out_accuracy, _share_of_macs)],
    _share_if_accurate,
    40.0,
    "MACs of the dense network:",
    "{:.1f} %",
    _cheapest,
    lambda train, accuracy, share: train(0.003),
    "At this price no channel is worth closing. How many trainings have you left?",
    lambda train, accuracy, share: max((train(gamma) for gamma in _PRICES), key=accuracy),
    "The most accurate network pays least and keeps most. How much accuracy is enough, and how small can it be?",
    lambda train, accuracy, share: next(net for net in map(train, _PRICES) if share(net) < 75),
    "Some channels have closed, and you stopped there. Do the held-out digits complain yet?",
)
