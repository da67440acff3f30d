"""SNIP: one look at one batch says which connections a network can do without, before it is trained.

Source: Lee, Ajanthan and Torr 2019, "SNIP: Single-shot network pruning based on connection sensitivity".
"""

import math
import operator
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from pruning_lib.checks import check_loss, check_sparsity
from pruning_lib.inputs import (
    Batch,
    Inputs,
    as_arguments,
    described,
    inputs_and_targets,
    original,
    samples,
    with_targets,
)
from pruning_lib.precision import without_autocast
from pruning_lib.structure import Masks, keep_largest, prunable

Loss = Callable[[Any, Any], Tensor]  # (outputs, targets) -> mean loss, a scalar


@without_autocast
def sensitivity(model: nn.Module, batches: Iterable[Batch], loss: Loss = F.cross_entropy) -> dict[str, Tensor]:
    """Connection sensitivity of every prunable weight, summing to 1 over the model.

    s_j = |g_j| / Σ_k |g_k| (SNIP-4) with g_j = w_j · ∂L/∂w_j (SNIP-3), where L is the mean loss over *all* batches: the
    gradients are averaged first, weighted by the number of targets in a batch (class numbers of −100 left out, and of a
    model that predicts each label from those before it the first labels), then the absolute value is taken. So any
    split of the same samples gives the same scores (batch norm in training mode aside). The reference scores a single
    batch.

    Parameters
    ----------
    model : used in the mode it is in; nothing of it changes, batch-norm statistics included
    batches : (inputs, targets) pairs, or dicts with labels
    loss : mean over the batch; called with the model's outputs and the targets. Left out, cross-entropy with class
        numbers (−100 is ignored) or probabilities; of outputs with `logits` on these; and of a dict whose labels the
        model takes itself, the `loss` in its outputs

    Returns
    -------
    dict of tensors shaped as the weights, by parameter name

    Raises
    ------
    ValueError
        If there is no batch or no prunable weight, targets do not fit the outputs, the loss is no scalar, a gradient is
        not finite, or all gradients are zero (SNIP-4 is 0/0).
    """
    weights = {name: weight.detach().requires_grad_() for name, weight in prunable(model).items()}
    # Half precision would lose what many small gradients add up to.
    gradients = {
        name: torch.zeros_like(weight, dtype=torch.promote_types(weight.dtype, torch.float32))
        for name, weight in weights.items()
    }
    count = 0
    for inputs, targets in with_targets(batches):
        if _count(targets) == 0:
            what = "targets (all are -100)" if samples(targets) else "samples"
            raise ValueError(f"a batch has no {what}, must have at least one")
        with torch.enable_grad():
            value, size = _loss_with(model, weights, inputs, targets, loss)
            if not value.requires_grad:
                raise ValueError("loss has no gradient, must be computed from the outputs by what autograd can follow")
            found = torch.autograd.grad(value, list(weights.values()), allow_unused=True)
        for gradient, new in zip(gradients.values(), found, strict=True):
            if new is not None:
                gradient.add_(new, alpha=size)
        count += size
    # SNIP-3: g = w · ∂L/∂w
    effects = {name: (weight.detach() * gradients[name] / count).abs_() for name, weight in weights.items()}
    for name, effect in effects.items():
        if not torch.isfinite(effect).all():
            raise ValueError(f"gradient of {name!r} is not finite: are the inputs, the weights and the loss?")
    total = sum(effect.sum() for effect in effects.values())
    if total == 0:
        raise ValueError("sum of |w · dL/dw| over all weights is 0, must be positive: no weight influences the loss")
    # SNIP-4: s = |g| / Σ|g|
    return {name: effect.div_(total) for name, effect in effects.items()}


@without_autocast
def exact_effect(
    model: nn.Module, batch: Batch, name: str, index: int | tuple[int, ...], loss: Loss = F.cross_entropy
) -> float:
    """What the loss loses with connection j: ΔL_j = L(1⊙w) − L((1 − e_j)⊙w) (SNIP-2). Two forward passes.

    Parameters
    ----------
    model : used in the mode it is in; put dropout into evaluation mode, or its noise is measured too
    name, index : connection j: parameter name as in `prunable`, and place in the tensor (a tuple, or a flat index)

    Raises
    ------
    ValueError
        If `name` is not prunable, `index` does not name one entry of it, or the loss is not finite.
    """
    weights = {key: weight.detach() for key, weight in prunable(model).items()}
    if name not in weights:
        raise ValueError(f"name is {name!r}, must be one of {', '.join(weights)}")
    without = weights[name].clone()
    # A flat index addresses the entries row by row, whatever their layout in memory.
    target, place = (without, index) if isinstance(index, tuple) else (without.reshape(-1), (index,))
    try:
        place = tuple(map(operator.index, place))
    except TypeError:
        place = ()  # names no entry
    if len(place) != target.ndim or not all(0 <= i < size for i, size in zip(place, target.shape, strict=True)):
        raise ValueError(f"index is {index}, must name one entry of {name!r} of shape {tuple(without.shape)}")
    target[place] = 0
    without = target.view_as(without)
    with torch.no_grad():
        before, _ = _loss_with(model, weights, *inputs_and_targets(batch), loss)
        after, _ = _loss_with(model, weights | {name: without}, *inputs_and_targets(batch), loss)
    effect = (before - after).item()
    if not math.isfinite(effect):
        raise ValueError(f"loss is {before.item()} with and {after.item()} without the connection, must be finite")
    return effect


def prune(model: nn.Module, batches: Iterable[Batch], sparsity: float, loss: Loss = F.cross_entropy) -> Masks:
    """Masks that keep the most sensitive connections of the whole model (SNIP-5), exactly round(m · (1 − sparsity)).

    The model is unchanged; `masks.hold(model)` applies them. Raises ValueError as `sensitivity` and `keep_largest` do.
    """
    check_sparsity(sparsity)  # before the work, not after it
    return keep_largest(sensitivity(model, batches, loss), sparsity)


def _loss_with(
    model: nn.Module, weights: dict[str, Tensor], inputs: Inputs, targets: Any, loss: Loss
) -> tuple[Tensor, int]:
    """Loss on a batch, and of how many targets it is the mean, with `weights` in the place of the model's own.

    Those stay untouched, as do the model's buffers.
    """
    model = original(model)
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    args, kwargs = as_arguments(model, inputs)
    outputs = functional_call(model, (weights, buffers), args, kwargs)
    if loss is not F.cross_entropy:
        value = loss(outputs, targets)
    elif isinstance(inputs, Mapping) and getattr(outputs, "loss", None) is not None:
        value, targets = outputs.loss, _predicted(outputs, targets)
    else:
        outputs = getattr(outputs, "logits", outputs)
        value = loss(outputs, _checked_targets(outputs, targets))
    return check_loss(value), _count(targets)


def _predicted(outputs: Any, labels: Any) -> Any:
    """The labels that a model's own loss is of: without the first if it predicts each from those before it."""
    logits = getattr(outputs, "logits", None)
    texts = isinstance(labels, Tensor) and labels.ndim == 2 and not labels.is_floating_point()
    if texts and isinstance(logits, Tensor) and logits.shape[:-1] == labels.shape:
        later = labels[:, 1:]
        shifted = F.cross_entropy(logits.detach()[:, :-1].flatten(0, 1).float(), later.flatten())
        if math.isclose(shifted.item(), outputs.loss.item(), rel_tol=1e-3):
            return later
    return labels


def _count(targets: Any) -> int:
    """Over how many targets a loss is the mean: class numbers of −100 are ignored."""
    if isinstance(targets, Tensor) and not targets.is_floating_point():
        return int((targets != -100).sum())
    return samples(targets)


def _checked_targets(outputs: Any, targets: Any) -> Tensor:
    """As cross-entropy takes them for outputs (N, C, …): classes (N, …) or probabilities (N, C, …), else ValueError."""
    if not isinstance(outputs, Tensor) or not isinstance(targets, Tensor) or outputs.ndim < 2:
        given = f"{described(outputs)} and targets {described(targets)}"
        raise ValueError(f"outputs are {given}, must be tensors (N, C, …) and (N, …): or give a `loss` for them")
    shape, classes = outputs.shape, outputs.shape[1]
    if targets.is_floating_point() and targets.shape == shape:
        return targets
    if targets.is_floating_point() or targets.shape != shape[:1] + shape[2:]:
        raise ValueError(
            f"targets are {targets.dtype} {tuple(targets.shape)}, must be classes as integers "
            f"{tuple(shape[:1] + shape[2:])} or probabilities {tuple(shape)} for outputs {tuple(shape)}"
        )
    wrong = targets[(targets != -100) & ((targets < 0) | (targets >= classes))]
    if len(wrong):
        raise ValueError(
            f"targets hold {wrong[0].item()}, must be from 0 to {classes - 1}: the model has {classes} outputs"
        )
    return targets.long()
