"""The four meanings of smaller: zeros, bytes, multiply–accumulates, seconds. Which of them did pruning change?

`measure` takes all four of one model. Masked weights change the first only; CSR and 2:4 the bytes; removing structure
all but the zeros; what becomes of the seconds has to be measured.
"""

from contextlib import ExitStack
from functools import partial
from typing import NamedTuple

import torch
from torch import nn

from pruning_lib.acceleration.csr import CSRLinear, as_csr, csr
from pruning_lib.acceleration.latency import Latency, time_in_turns
from pruning_lib.acceleration.macs import Count, Macs, macs
from pruning_lib.acceleration.storage import FORMS, Stored, stored
from pruning_lib.inputs import Inputs, as_arguments
from pruning_lib.modes import evaluating

__all__ = [
    "FORMS",
    "CSRLinear",
    "Cost",
    "Count",
    "Latency",
    "Macs",
    "Stored",
    "as_csr",
    "compare",
    "csr",
    "macs",
    "measure",
    "stored",
    "time_in_turns",
]


class Cost(NamedTuple):
    """What a model costs."""

    zeros: int  # parameters that are exactly zero
    parameters: int  # all of them; a shared one counts once
    bytes: dict[str, Stored]  # in each of FORMS: dense, csr, two_four
    macs: Macs  # of one forward pass on the example inputs
    latency: Latency  # of the same forward pass


def measure(
    model: nn.Module, example_inputs: Inputs, repeats: int = 20, warmup: int = 3, threads: int | None = None
) -> Cost:
    """Zeros, parameters, bytes, multiply–accumulates and latency of a model.

    Of a model that `two_four.convert_` has put on a GPU only the seconds can be taken, with `time_in_turns`; the rest
    is told by the same model before that.

    Parameters
    ----------
    model : nn.Module
        Run in evaluation mode without gradients; unchanged after it.
    example_inputs : tensor, tuple of positional or dict of keyword arguments
        MACs and latency are those of one forward pass on them, whole batch.
    repeats, warmup, threads : as for `time_in_turns`.

    Raises
    ------
    ValueError
        As `macs`, `time_in_turns`.
    """
    return compare({"model": model}, example_inputs, repeats, warmup, threads)["model"]


def compare(
    models: dict[str, nn.Module],
    example_inputs: Inputs,
    repeats: int = 20,
    warmup: int = 3,
    threads: int | None = None,
) -> dict[str, Cost]:
    """`measure` several models on the same inputs; their latencies are taken in turns, so that they compare."""
    counted = {name: macs(model, example_inputs) for name, model in models.items()}
    seconds = latencies(models, example_inputs, repeats, warmup, threads)
    costs = {}
    for name, model in models.items():
        parameters = list(model.parameters())
        zeros = sum(p.numel() - int(p.count_nonzero()) for p in parameters)
        total = sum(p.numel() for p in parameters)
        costs[name] = Cost(zeros, total, stored(model), counted[name], seconds[name])
    return costs


def latencies(
    models: dict[str, nn.Module], inputs: Inputs, repeats: int, warmup: int, threads: int | None
) -> dict[str, Latency]:
    """Seconds of one forward pass of each model, on the device its first parameter is on."""
    devices = {next(iter(model.parameters()), torch.empty(0)).device for model in models.values()}
    if len(devices) != 1:
        raise ValueError(f"models are on {', '.join(sorted(map(str, devices))) or 'no device'}, must be on one device")
    runs = {}
    for name, model in models.items():
        args, kwargs = as_arguments(model, inputs)
        runs[name] = partial(model, *args, **kwargs)
    with ExitStack() as modes:
        for model in models.values():
            modes.enter_context(evaluating(model))
        return time_in_turns(runs, repeats, warmup, threads, devices.pop())
