"""Evaluation mode is set aside and put back in one way: every module gets its own mode again."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

Modes = dict[nn.Module, bool]


def modes_of(model: nn.Module) -> Modes:
    """Whether each module of `model` is in training mode; for `put_back`."""
    return {module: module.training for module in model.modules()}


def put_back(modes: Modes) -> None:
    """Give each module the mode it had when `modes_of` was called."""
    for module, training in modes.items():
        module.training = training


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """`model` in evaluation mode and without gradients; each module's mode is put back after, also after an error."""
    modes = modes_of(model)
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        put_back(modes)
