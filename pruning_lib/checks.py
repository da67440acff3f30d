"""Checks of input shared by all methods: each names the value and what is allowed."""

from collections.abc import Iterable, Iterator, Mapping
from numbers import Integral, Real
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd
from torch.nn.parameter import is_lazy

from pruning_lib.inputs import described, original

_NO_LAYERS = {"torch.jit": "TorchScript", "torch.export": "an exported graph", "torch.ao.nn.quantized": "quantized"}


def check_seen(model: nn.Module) -> nn.Module:
    """Return `model`, of a compiled one the original; ValueError if it hides its layers."""
    if not isinstance(model, nn.Module):
        raise ValueError(f"model is {type(model).__name__}, must be an nn.Module")
    model = original(model)
    for what, module in _named(model):
        for base in type(module).__mro__:
            kind = next((kind for prefix, kind in _NO_LAYERS.items() if base.__module__.startswith(prefix)), None)
            if kind and base.__name__ != "FloatFunctional":
                raise ValueError(f"{what} is {kind}, so its layers cannot be seen: give the nn.Module it was made from")
    return model


def check_model(model: nn.Module) -> nn.Module:
    """As `check_seen`, and ValueError if layers have no weights yet, or none that are real."""
    model = check_seen(model)
    for what, module in _named(model):
        tensors = {**module._parameters, **module._buffers}
        if any(is_lazy(t) for t in tensors.values()):
            raise ValueError(f"{what} is a {type(module).__name__} without weights: run the model on a batch first")
        weight = tensors.get("weight")
        if isinstance(module, nn.Linear | _ConvNd) and weight is not None and weight.is_complex():
            raise ValueError(f"the weight of {what} is {weight.dtype}, must be real")
    return model


def _named(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    for name, module in model.named_modules():
        yield f"layer {name!r}" if name else "the model", module


def check_sparsity(sparsity: float) -> float:
    """Return `sparsity` if it is a number in [0, 1], else raise ValueError."""
    if not isinstance(sparsity, Real) or not 0.0 <= sparsity <= 1.0:  # False for nan too
        raise ValueError(f"sparsity is {sparsity!r}, must be a number in [0, 1]: the share of zeros")
    return sparsity


def check_at_least(smallest: float, **values: float) -> None:
    """Raise ValueError naming the first of `values` that is less than `smallest`, or nan."""
    for name, value in values.items():
        if not value >= smallest:
            raise ValueError(f"{name} is {value}, must be at least {smallest}")


def check_whole(**values: int) -> None:
    """Raise ValueError naming the first of `values` that is no whole number."""
    for name, value in values.items():
        if not isinstance(value, Integral):
            raise ValueError(f"{name} is {value!r}, must be a whole number")


def check_choice(name: str, value: str, allowed: Iterable[str]) -> str:
    """Return `value` if it is one of `allowed`, else raise ValueError with the list."""
    allowed = list(allowed)
    if value not in allowed:
        raise ValueError(f"{name} is {value!r}, must be one of {', '.join(map(repr, allowed))}")
    return value


def check_scores(scores: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return `scores` if there are any and all are finite, else raise ValueError naming the first bad entry."""
    if not isinstance(scores, Mapping):
        raise ValueError(f"scores is {described(scores)}, must be a dict: name of the weight or module → tensor")
    if not scores:
        raise ValueError("scores is empty: there is no prunable weight to choose from")
    for name, score in scores.items():
        if not isinstance(score, Tensor) or score.is_complex():
            kind = score.dtype if isinstance(score, Tensor) else described(score)
            raise ValueError(f"scores[{name!r}] is {kind}, must be a tensor of real numbers")
        # The extremes tell for all, nan included, in one pass without a temporary.
        if score.numel() and not all(torch.isfinite(extreme) for extreme in score.aminmax()):
            bad = score[~torch.isfinite(score)][0].item()
            raise ValueError(f"scores[{name!r}] contains {bad}, must be finite")
        if not score.numel():
            raise ValueError(f"scores[{name!r}] has shape {tuple(score.shape)}, must not be empty")
    return scores


def check_loss(loss: Any) -> Tensor:
    """Return `loss` as a scalar if it is a tensor of one number, else raise ValueError."""
    if not isinstance(loss, Tensor) or loss.numel() != 1:
        raise ValueError(f"loss is {described(loss)}, must be a scalar tensor: the mean over the batch")
    return loss.squeeze()
