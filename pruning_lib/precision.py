"""Numerics in the precision of their tensors, whatever `torch.autocast` is around them."""

import functools
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch

_DEVICES = ("cpu", "cuda", "mps", "xpu")


@contextmanager
def autocast_off() -> Iterator[None]:
    """Autocast switched off on every device."""
    with ExitStack() as stack:
        for device in filter(torch.is_autocast_enabled, _DEVICES):
            stack.enter_context(torch.autocast(device, enabled=False))
        yield


def without_autocast(function: Callable) -> Callable:
    """Decorate `function` to run in `autocast_off`; if it returns a generator, so does each of that one's steps.

    Products in half precision are good enough for a forward pass in training, not for an inverse or for a difference
    of losses: there they give another answer, or none. What is computed in float64 is safe without, and so is whatever
    works in place: autocast leaves both alone.
    """

    @functools.wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        with autocast_off():
            result = function(*args, **kwargs)
        return _each_step(result) if isinstance(result, Generator) else result

    return wrapped


def _each_step(generator: Generator) -> Iterator[Any]:
    while True:
        with autocast_off():
            try:
                value = next(generator)
            except StopIteration:
                return
        yield value
