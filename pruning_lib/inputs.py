"""What a model's forward takes: a tensor, a tuple of positional arguments, or a dict of keyword arguments."""

from typing import Any

from torch import Tensor

Inputs = Tensor | tuple | dict[str, Any]


def as_arguments(inputs: Inputs) -> tuple[tuple, dict[str, Any]]:
    """Split `inputs` into positional and keyword arguments, so that `model(*args, **kwargs)` runs on it."""
    if isinstance(inputs, dict):
        return (), inputs
    return (inputs if isinstance(inputs, tuple) else (inputs,)), {}
