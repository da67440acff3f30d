"""Seconds a call takes: warmed up, the median of several, in turns where things are compared."""

import statistics
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, NamedTuple

import torch


class Latency(NamedTuple):
    """Seconds of one call, and how they were measured."""

    seconds: float  # median
    fastest: float
    slowest: float
    repeats: int
    threads: int
    device: str


def time_in_turns(
    runs: dict[str, Callable[[], Any]],
    repeats: int = 20,
    warmup: int = 3,
    threads: int | None = None,
    device: torch.device | str = "cpu",
) -> dict[str, Latency]:
    """Time each of `runs`, one after the other in every round, so that a busy machine slows them all alike.

    Parameters
    ----------
    runs : name → function without arguments.
    repeats : rounds that count; the median is over them.
    warmup : rounds before, which do not.
    threads : of the CPU's operators while measuring; left out, as many as torch uses now. The number is in the result.
    device : where the functions compute: CPU time is the wall clock's, CUDA time that between two events.

    Raises
    ------
    ValueError
        If `runs` is empty, repeats or threads are under 1, warmup is negative, or the device is neither CPU nor CUDA.
    """
    device = torch.device(device)
    if not runs:
        raise ValueError("runs is empty, must hold at least one function")
    for name, value, least in (("repeats", repeats, 1), ("warmup", warmup, 0), ("threads", threads, 1)):
        if value is not None and value < least:
            raise ValueError(f"{name} is {value}, must be at least {least}")
    if device.type not in ("cpu", "cuda"):
        raise ValueError(f"device is {device}, must be a CPU or CUDA device")
    clock = _on_cpu if device.type == "cpu" else _on_cuda
    times: dict[str, list[float]] = {name: [] for name in runs}
    with ExitStack() as stack:
        stack.callback(torch.set_num_threads, torch.get_num_threads())
        torch.set_num_threads(threads or torch.get_num_threads())
        used = torch.get_num_threads()
        if device.type == "cuda":  # events are recorded on the current device, which need not be the one that computes
            stack.enter_context(torch.cuda.device(device))
        for turn in range(warmup + repeats):
            for name, run in runs.items():
                seconds = clock(run)
                if turn >= warmup:
                    times[name].append(seconds)
    label = "cpu" if device.type == "cpu" else torch.cuda.get_device_name(device)
    return {
        name: Latency(statistics.median(taken), min(taken), max(taken), repeats, used, label)
        for name, taken in times.items()
    }


def _on_cpu(run: Callable[[], Any]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def _on_cuda(run: Callable[[], Any]) -> float:
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    run()
    end.record()
    end.synchronize()
    return start.elapsed_time(end) / 1000
