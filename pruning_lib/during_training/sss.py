"""Sparse structure selection: train gates together with the weights, see which close, take those out for real.

Huang & Wang 2018, "Data-Driven Sparse Structure Selection for Deep Neural Networks". The loss gets γ‖λ‖₁ over the
gates' factors λ (SSS-3); ProximalSGD drives some of them to exactly zero while the network is training.

>>> gated = add_gates(model, "block")
>>> history = train_gates(gated, batches, gamma=0.1, lr=0.1, epochs=15, seed=0)
>>> small = remove_closed(gated, example_inputs)
"""

import math
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer
from tqdm.auto import tqdm

from pruning_lib.checks import check_at_least, check_loss
from pruning_lib.during_training.gates import CONVOLUTIONS, Gate, add_gates, fold_gates, gates
from pruning_lib.during_training.proximal import ProximalSGD
from pruning_lib.inputs import Inputs, call, with_targets
from pruning_lib.modes import undone_on_error
from pruning_lib.structure.removal import remove

__all__ = ["Gate", "History", "add_gates", "closed", "fold_gates", "gates", "remove_closed", "train_gates"]

Batches = Iterable[tuple[Inputs, Any]]


@dataclass(frozen=True)
class History:
    """What `train_gates` saw: the `losses` of each epoch, and in `scales[e]` the true λ after e epochs, by unit."""

    losses: list[float]
    scales: list[dict[str, Tensor]]

    def closed_at(self) -> dict[str, Tensor]:
        """For each λ the epoch after which it was zero for good; −1 for those that are open at the end."""
        found = {}
        for name in self.scales[-1]:
            is_open = torch.stack([scales[name] for scales in self.scales]) != 0
            epoch = (is_open.flip(0).cumsum(0) > 0).sum(0)  # how many epochs there are up to the last open one
            found[name] = torch.where(epoch == len(self.scales), -1, epoch)
        return found

    def summary(self) -> str:
        """One line: how many gates closed and when, and how far from zero the nearest open one is."""
        epochs = torch.cat(list(self.closed_at().values()))
        factors = torch.cat(list(self.scales[-1].values())).abs()
        text = f"{int((epochs >= 0).sum())} of {len(epochs)} gates closed"
        if (epochs >= 0).any():
            text += f" (after epochs {int(epochs[epochs >= 0].min())} to {int(epochs.max())})"
        if (factors > 0).any():
            text += f"; the open ones have λ from {factors[factors > 0].min():.3g} to {factors.max():.3g} in size"
        return text


def closed(model: nn.Module) -> dict[str, Tensor]:
    """Indices of the gates that are exactly zero, by unit; units with none are left out.

    It reads the parameters, so they must hold the true λ: after `train_gates` they do, in a training loop of your own
    only inside `optimizer.settled()` or after `optimizer.settle_()`.
    """
    zeros = {name: (scale == 0).nonzero().flatten() for name, scale in _gates_of(model).items()}
    return {name: indices for name, indices in zeros.items() if len(indices)}


def remove_closed(model: nn.Module, example_inputs: Inputs) -> nn.Module:
    """Return an ordinary smaller model without gates whose outputs, in evaluation mode, are those of the gated `model`.

    Closed blocks shrink to their shortcut (and what follows the addition), closed groups and channels leave their
    layers and the layers that read them, open gates go into normalizations or convolutions. `model` is not changed.

    A layer whose channels are all closed feeds zeros to what follows, which then adds a constant. As no layer can be
    without channels, it keeps one, which is zero: the outputs stay exact. A warning names it.

    Raises
    ------
    ValueError : if `model` has no gates; as `remove`, if a closed unit cannot go.
    """
    plain, units = fold_gates(model), {}
    for name, indices in closed(model).items():
        layer, size = plain.get_submodule(name), len(gates(model)[name])
        if isinstance(layer, CONVOLUTIONS):
            if len(indices) == size:
                warnings.warn(
                    f"all gates of {name!r} are closed; one stays as zeros: is gamma too large?", stacklevel=2
                )
                indices = indices[1:]
            indices = torch.arange(len(layer.weight)).view(size, -1)[indices.cpu()].flatten()  # channels of each group
        units[name] = indices
    # a folded λ of zero leaves a branch of zeros, so every closed block can go, whatever its shortcut computes
    return remove(plain, example_inputs, units)


def train_gates(
    model: nn.Module,
    batches: Batches | Callable[[int], Batches],
    *,
    gamma: float,
    lr: float | Callable[[int], float],
    epochs: int,
    seed: int,
    momentum: float = 0.9,
    weight_decay: float = 1e-4,
    loss: Callable[[Tensor, Any], Tensor] = F.cross_entropy,
    progress: bool = True,
) -> History:
    """Train the gated `model` in place on loss + weight_decay/2·‖W‖² + γ‖λ‖₁ (SSS-3), weights and λ in the same steps.

    The weights take momentum SGD (Nesterov), the gates ProximalSGD without weight decay, both with the same `lr` and
    `momentum`. At the end the parameters hold the true λ. Zero comes nearer by lr·γ a step, less what the loss wants:
    if nothing closes, raise `gamma`, train longer, or keep a high `lr` for longer: its decay slows the closing, too.

    Parameters
    ----------
    model : from `add_gates`. It stays on its device, where the batches must be too.
    batches : (inputs, targets) pairs that can be read once an epoch (a list, a DataLoader), or a function from the
        epoch, 0, 1, …, to such pairs.
    gamma : weight of the L1 term, γ ≥ 0.
    lr : learning rate, or a function from the epoch, 0, 1, …, to it.
    seed : of dropout, and of the DataLoader if it has no generator of its own; the global random state stays.
    loss : from outputs and targets to a scalar.

    Raises
    ------
    ValueError : for a bad argument, a model without gates, no batches, or a loss or gradient that is not finite.
        `model` is then as it was before, as after any other error or interruption; gradients it had are gone.
    """
    scales = _gates_of(model)
    check_at_least(1, epochs=epochs)
    if isinstance(batches, Iterator):
        raise ValueError("batches is an iterator, which ends after one epoch; give a list, a DataLoader or a function")
    per_epoch = batches if callable(batches) else lambda epoch: batches
    rate = lr if callable(lr) else lambda epoch: lr
    names = set(map(id, scales.values()))
    weights = [parameter for parameter in model.parameters() if id(parameter) not in names]
    gate_optimizer = ProximalSGD(scales.items(), rate(0), momentum, gamma)
    weight_optimizer = torch.optim.SGD(weights, rate(0), momentum, weight_decay=weight_decay, nesterov=momentum > 0)

    losses, seen = [], [_true_scales(gate_optimizer, scales)]
    with undone_on_error(model), tqdm(range(epochs), "gates", leave=False, disable=not progress) as bar:
        torch.manual_seed(seed)
        model.train()
        for epoch in bar:
            for group in gate_optimizer.param_groups + weight_optimizer.param_groups:
                group["lr"] = rate(epoch)
            steps = _train_epoch(model, per_epoch(epoch), loss, epoch, gate_optimizer, weight_optimizer)
            losses.append(sum(steps) / len(steps))
            seen.append(_true_scales(gate_optimizer, scales))
            bar.set_postfix(loss=f"{losses[-1]:.4f}", closed=sum(int((s == 0).sum()) for s in seen[-1].values()))
        gate_optimizer.settle_()
    history = History(losses, seen)
    if not closed(model):
        warnings.warn(
            f"{history.summary()}: is gamma = {gamma} too small for {epochs} epochs at this lr?", stacklevel=2
        )
    return history


def _train_epoch(model: nn.Module, batches: Batches, loss, epoch: int, *optimizers: Optimizer) -> list[float]:
    losses = []
    for inputs, targets in with_targets(batches):
        value = check_loss(loss(call(model, inputs), targets))
        losses.append(value.item())
        if not math.isfinite(losses[-1]):
            where = f"epoch {epoch}, batch {len(losses) - 1}"
            raise ValueError(f"loss is {losses[-1]} in {where}, must be finite: is lr too large?")
        for optimizer in optimizers:
            optimizer.zero_grad()
        value.backward()
        for optimizer in optimizers:
            optimizer.step()
    for name, parameter in model.named_parameters():
        if not torch.isfinite(parameter).all():
            raise ValueError(f"{name} is no longer finite after epoch {epoch}: is lr too large?")
    return losses


def _true_scales(optimizer: ProximalSGD, scales: dict[str, nn.Parameter]) -> dict[str, Tensor]:
    return {name: optimizer.true(scale).cpu() for name, scale in scales.items()}


def _gates_of(model: nn.Module) -> dict[str, nn.Parameter]:
    if found := gates(model):
        return found
    raise ValueError(f"model {type(model).__name__} has no gates, must come from add_gates")
