"""What a model's forward takes: a tensor, a tuple of positional arguments, or a dict of keyword arguments."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

Inputs = Tensor | tuple | Mapping[str, Any]


def as_arguments(inputs: Inputs) -> tuple[tuple, dict[str, Any]]:
    """Split `inputs` into positional and keyword arguments, so that `model(*args, **kwargs)` runs on it."""
    if isinstance(inputs, Mapping):
        return (), dict(inputs)
    return (inputs if isinstance(inputs, tuple) else (inputs,)), {}


def call(model: nn.Module, inputs: Inputs) -> Any:
    """model(x), model(*tuple) or model(**dict), whichever `inputs` asks for."""
    args, kwargs = as_arguments(inputs)
    return model(*args, **kwargs)
