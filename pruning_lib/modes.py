"""A model comes back as it was: evaluation mode and training runs are set aside and put back in one way."""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import nn


def _modes_of(model: nn.Module) -> Callable[[], None]:
    """What gives each module of `model` the mode again that it has now."""
    modes = {module: module.training for module in model.modules()}

    def put_back() -> None:
        for module, training in modes.items():
            module.training = training

    return put_back


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """`model` in evaluation mode and without gradients; each module's mode is put back after, also after an error."""
    put_back = _modes_of(model)
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        put_back()


@contextmanager
def undone_on_error(model: nn.Module) -> Iterator[Callable[[], None]]:
    """Whatever happens to `model` here, after an error or interruption it has the weights and buffers that it had.

    In any case its modes and the global random state are put back, and gradients are gone. Yields a function that does
    this with modes and gradients on the way.
    """
    before, put_back = copy.deepcopy(model.state_dict()), _modes_of(model)
    buffers = [(module._buffers, dict(module._buffers)) for module in model.modules()]  # also those in no state_dict
    values = [(buffer, buffer.detach().clone()) for buffer in model.buffers()]
    devices = {weight.device for weight in model.parameters() if weight.device.type == "cuda"}

    def settle() -> None:
        put_back()
        model.zero_grad(set_to_none=True)

    try:
        with torch.random.fork_rng(devices):
            yield settle
    except BaseException:
        for own, tensors in buffers:
            own.clear()
            own.update(tensors)
        for buffer, value in values:
            buffer.detach().copy_(value)
        model.load_state_dict(before)
        raise
    finally:
        settle()
