"""Network Slimming: an L1 penalty on the scales of batch norm while training; then the channels of small scales go.

Liu et al. 2017, "Learning Efficient Convolutional Networks through Network Slimming". The penalty is that of SSS-3,
γ‖g‖₁ on the scales g in place of gates. What differs is the step: autograd gives a subgradient of it, so a scale moves
by −η(∂L/∂g + γ·sign(g)). At less than ηγ from zero it jumps across, and back in the next step: it stays near zero and
is never exactly there, where ProximalSGD stops at it. So what goes is chosen by size, and removing it changes the
outputs, which then takes retraining.

>>> scales = slimming.scales(model)
>>> loss = F.cross_entropy(model(x), y) + slimming.penalty(scales, gamma)  # in every step
>>> small = remove(model, example_inputs, choose_units(slimming.scores(scales), 0.5, "global"))
"""

import math
from collections.abc import Mapping
from numbers import Real

import torch
from torch import Tensor, nn

from pruning_lib.checks import check_model
from pruning_lib.during_training.gates import NORMS, Sites

__all__ = ["penalty", "scales", "scores"]


def scales(model: nn.Module) -> dict[str, nn.Parameter]:
    """The scales of the normalization behind each convolution whose channels can go, by the convolution's name.

    Channels that can go are those that `sss.add_gates(model, "channel")` gates.

    Raises
    ------
    ValueError
        If there are none, or torch.fx cannot trace `model`.
    """
    model = check_model(model)
    found = {
        unit: model.get_submodule(name).weight
        for name, unit, _ in Sites(model).convolutions(grouped=False)
        if isinstance(model.get_submodule(name), NORMS)
    }
    if not found:
        raise ValueError(
            f"model {type(model).__name__} has no normalization behind a convolution whose channels can go"
        )
    return found


def penalty(scales: Mapping[str, Tensor], gamma: float) -> Tensor:
    """γ‖g‖₁, to be added to the loss: SSS-3 with the scales g for λ.

    Raises
    ------
    ValueError
        If `gamma` is not a finite number ≥ 0, or `scales` is empty.
    """
    if not isinstance(gamma, Real) or not math.isfinite(gamma) or gamma < 0:
        raise ValueError(f"gamma is {gamma!r}, must be a finite number >= 0")
    if not scales:
        raise ValueError("scales is empty, must hold at least one tensor")
    return gamma * torch.cat([scale.flatten() for scale in scales.values()]).abs().sum()


def scores(scales: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """abs(g) of every channel, for `choose_units`: in the scope "global", as in the paper, layers may differ."""
    return {name: scale.detach().abs() for name, scale in scales.items()}
