"""Proximal methods: the soft threshold, ISTA, APG, and APG with momentum as a torch optimizer.

Soft-thresholding comes out of an L1 penalty: it moves everything toward zero by a fixed amount, so that what is small
becomes exactly zero. That makes it the tool for pruning while training (Huang & Wang 2018, "Data-Driven Sparse
Structure Selection for Deep Neural Networks").
"""

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from numbers import Real
from typing import Any, NamedTuple

import torch
from torch import Tensor

from pruning_lib.precision import without_autocast


def soft_threshold(z: Tensor, alpha: float) -> Tensor:
    """SSS-1: S_α(z) = sign(z)·(abs(z) − α)₊, the prox of α‖·‖₁: zero up to α, shifted by α beyond."""
    _check_not_negative("alpha", alpha)
    # sign(z)(abs(z) − α)₊ = z − clip(z, −α, α); this way a zero is never −0
    return z - z.clamp(-alpha, alpha)


def hard_threshold(z: Tensor, alpha: float) -> Tensor:
    """z where abs(z) > α, else 0: the prox of α²/2·‖·‖₀. Zeros, but a jump, and what survives is not shrunk."""
    _check_not_negative("alpha", alpha)
    return torch.where(z.abs() > alpha, z, torch.zeros_like(z))


def ridge_shrink(z: Tensor, alpha: float) -> Tensor:
    """z/(1 + α): the prox of α/2·‖·‖². Everything gets smaller, nothing becomes zero."""
    _check_not_negative("alpha", alpha)
    return z / (1 + alpha)


def prox_l1(z: Tensor, step: float, gamma: float) -> Tensor:
    """SSS-6: argmin_x γ‖x‖₁ + 1/(2η)·‖x − z‖² = S_{ηγ}(z). The threshold is step·gamma, not gamma."""
    _check_not_negative("step", step)
    _check_not_negative("gamma", gamma)
    return soft_threshold(z, step * gamma)


class State(NamedTuple):
    """One iteration of `ista` or `apg`; the letters of SSS-5."""

    t: int
    point: Tensor  # λ_t
    look_ahead: Tensor  # d_t, where the gradient was taken
    z: Tensor  # d_t − η∇f(d_t)
    momentum: float  # what d_t was built with
    objective: float  # F(λ_t) = f(λ_t) + γ‖λ_t‖₁


def apg_momentum(t: int) -> float:
    """(t−2)/(t+1) of SSS-5, and 0 for t = 1, where λ_{t−2} does not exist yet: 0, 0, 1/4, 2/5, 1/2, …"""
    if t < 1:
        raise ValueError(f"t is {t}, must be at least 1: the first iteration")
    return max(t - 2, 0) / (t + 1)


def ista(f: Callable[[Tensor], Tensor], x0: Tensor, step: float, gamma: float, steps: int) -> Iterator[State]:
    """Minimize f(x) + γ‖x‖₁ by proximal gradient steps, x_t = S_{ηγ}(x_{t−1} − η∇f(x_{t−1})); O(1/t) for convex f.

    Arguments, states and errors are those of `apg`, of which this is the case without momentum.
    """
    return apg(f, x0, step, gamma, steps, momentum=lambda t: 0.0)


@without_autocast
def apg(
    f: Callable[[Tensor], Tensor],
    x0: Tensor,
    step: float,
    gamma: float,
    steps: int,
    momentum: Callable[[int], float] = apg_momentum,
) -> Iterator[State]:
    """Minimize f(x) + γ‖x‖₁ by the accelerated proximal gradient method (SSS-5); O(1/t²) for convex f (SSS-7).

    The bound holds for a convex f whose gradient is L-Lipschitz and step ≤ 1/L. A network's loss is not convex: there
    the method is a heuristic that works.

    Parameters
    ----------
    f : from a tensor shaped like `x0` to a scalar tensor that autograd can differentiate.
    x0 : λ_0; it is not changed.
    step : η > 0, at most 1/L.
    gamma : weight of the L1 term, γ ≥ 0.
    steps : number of iterations.
    momentum : the factor before (λ_{t−1} − λ_{t−2}) at iteration t = 1, 2, …

    Yields
    ------
    State : for t = 1, …, `steps`.

    Raises
    ------
    ValueError : for a bad argument at the call; while iterating if f or its gradient is not finite (step > 2/L?).
    """
    if not _is_finite(step) or not step > 0:
        raise ValueError(f"step is {step!r}, must be a finite number > 0")
    _check_not_negative("gamma", gamma)
    if steps < 0:
        raise ValueError(f"steps is {steps}, must be at least 0")
    return _iterate(f, x0.detach().clone(), step, gamma, steps, momentum)


def _iterate(f, point: Tensor, step: float, gamma: float, steps: int, momentum) -> Iterator[State]:
    previous = point
    for t in range(1, steps + 1):
        mu = momentum(t)
        # SSS-5: d_t = λ_{t−1} + (t−2)/(t+1)·(λ_{t−1} − λ_{t−2})
        look_ahead = point + mu * (point - previous)
        # SSS-5: z_t = d_t − η∇G(d_t)
        z = look_ahead - step * _gradient_at(f, look_ahead, t)
        # SSS-5: λ_t = prox_{ηR}(z_t)
        previous, point = point, prox_l1(z, step, gamma)
        with torch.no_grad():
            objective = float(f(point) + gamma * point.abs().sum())
        yield State(t, point, look_ahead, z, mu, objective)


def _gradient_at(f: Callable[[Tensor], Tensor], x: Tensor, t: int) -> Tensor:
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        value = f(x)
        (slope,) = torch.autograd.grad(value, x)
    if not (torch.isfinite(value) and torch.isfinite(slope).all()):
        raise ValueError(f"f or its gradient is not finite at iteration {t}: f is {value.item()}; is step too large?")
    return slope


class ProximalSGD(torch.optim.Optimizer):
    """Momentum SGD on a loss plus γ‖λ‖₁ (SSS-9): APG with one gradient a step, taken at the look-ahead point.

    z_t = λ'_{t−1} − η∇G(λ'_{t−1});  λ_t = S_{ηγ}(z_t);  v_t = λ_t − λ_{t−1};  λ'_t = λ_t + μ_t·v_t

    **While training, the parameters hold the look-ahead λ'**, because there the gradient is taken. Zeros are exact in
    the true λ only: read it with `true`, evaluate inside `settled`, and call `settle_` when training is over.

    v_t is SSS-9's S_{ηγ}(z_t) − λ'_{t−1} + μ_{t−1}v_{t−1}, since λ'_{t−1} = λ_{t−1} + μ_{t−1}v_{t−1}; keeping λ rather
    than v needs no earlier momentum and adds up no rounding errors. `momentum` (of the group, when `step` is called) is
    μ_t, the one of the *next* look-ahead: SSS-5's factor for iteration t + 1. `lr` may change too; v keeps its length.

    With gamma = 0 and a fixed lr, λ' is what torch.optim.SGD(nesterov=True, dampening=0) keeps in its parameters, and
    v = −lr·(its momentum buffer). When lr changes, that buffer is rescaled and v is not.

    Parameters
    ----------
    params : parameters, named parameters or groups; a group may have its own lr, momentum and gamma.
    lr : η > 0. A scheduler may lower it to 0 later.
    momentum : μ in [0, 1).
    gamma : weight of the L1 term, γ ≥ 0; the threshold is lr·gamma.

    Raises
    ------
    ValueError : for a bad argument; from `step`, with nothing changed, if the loss or a gradient is not finite.
    """

    def __init__(self, params: Iterable[Any], lr: float, momentum: float = 0.9, gamma: float = 0.0):
        super().__init__(params, {"lr": lr, "momentum": momentum, "gamma": gamma})

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        where = f"parameter group {len(self.param_groups)}"
        settings = {**self.defaults, **param_group}
        if not _is_finite(settings["lr"]) or not settings["lr"] > 0:
            raise ValueError(f"lr of {where} is {settings['lr']}, must be a finite number > 0")
        _check_settings(settings, where)
        super().add_param_group(param_group)

    @torch.no_grad()
    def step(self, closure: Callable[[], Tensor] | None = None) -> Tensor | None:
        """Make one step from the gradients there are; `closure`, if given, first computes the loss and them."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
            if not math.isfinite(float(loss)):
                raise ValueError(f"loss is {float(loss)}, must be finite")
        for index, group in enumerate(self.param_groups):
            _check_settings(group, f"parameter group {index}")
            _check_gradients(group, index)
        for group in self.param_groups:
            for look_ahead in group["params"]:
                if look_ahead.grad is None:
                    continue
                # SSS-9: z_t = λ'_{t−1} − η∇G(λ'_{t−1}),  λ_t = S_{ηγ}(z_t)
                point = prox_l1(look_ahead - group["lr"] * look_ahead.grad, group["lr"], group["gamma"])
                # SSS-9: v_t = λ_t − λ_{t−1},  λ'_t = λ_t + μ_t v_t
                velocity = point - self.state[look_ahead].get("true", look_ahead)
                look_ahead.copy_(point + group["momentum"] * velocity)
                self.state[look_ahead]["true"] = point
        return loss

    def true(self, parameter: Tensor) -> Tensor:
        """A copy of the true λ of `parameter`; before the first step, `parameter` itself is λ."""
        if all(parameter is not known for group in self.param_groups for known in group["params"]):
            raise ValueError(f"parameter of shape {tuple(parameter.shape)} is not one of this optimizer's")
        return self.state.get(parameter, {}).get("true", parameter).detach().clone()

    @torch.no_grad()
    def settle_(self) -> None:
        """Put the true λ into the parameters, for good: a later `step` starts from there, its gradient taken there."""
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter.copy_(self.true(parameter))

    @contextmanager
    def settled(self) -> Iterator[None]:
        """Put the true λ into the parameters inside the `with` block, to evaluate or save; λ' is back after it."""
        parameters = [parameter for group in self.param_groups for parameter in group["params"]]
        look_ahead = [parameter.detach().clone() for parameter in parameters]
        self.settle_()
        try:
            yield
        finally:
            with torch.no_grad():
                for parameter, value in zip(parameters, look_ahead, strict=True):
                    parameter.copy_(value)


def _check_settings(group: dict[str, Any], where: str) -> None:
    _check_not_negative(f"lr of {where}", group["lr"])
    _check_not_negative(f"gamma of {where}", group["gamma"])
    if not _is_finite(group["momentum"]) or not 0 <= group["momentum"] < 1:
        raise ValueError(f"momentum of {where} is {group['momentum']!r}, must be a number in [0, 1)")


def _check_gradients(group: dict[str, Any], index: int) -> None:
    names = group.get("param_names", range(len(group["params"])))
    for name, parameter in zip(names, group["params"], strict=True):
        if parameter.grad is not None and not torch.isfinite(parameter.grad).all():
            bad = parameter.grad[~torch.isfinite(parameter.grad)].flatten()[0].item()
            raise ValueError(f"gradient of parameter {name} in group {index} contains {bad}, must be finite")


def _check_not_negative(name: str, value: float) -> None:
    if not _is_finite(value) or value < 0:
        raise ValueError(f"{name} is {value!r}, must be a finite number >= 0")


def _is_finite(value: float) -> bool:
    # a tensor of one element too: that is what torch.optim allows for lr
    return isinstance(value, Real | Tensor) and math.isfinite(value)
