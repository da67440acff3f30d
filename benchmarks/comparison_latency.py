"""Latency of the shapes and masks that the comparison left: removed structure, CSR and masks against the dense network.

    python benchmarks/comparison_latency.py [--runs figures/measured/07_comparison.json] [--threads 1] [--repeats 200]
                                            [--out figures/measured/07_latency.json]

Seconds depend on shapes and on where zeros are, not on what the weights are: networks of the shapes of the first seed
that did not fail, with random weights and as many zeros in each layer, stand for the trained ones. All take turns;
median and fastest round are recorded. What counts is the ratio of the fastest to dense: whatever else the machine does
only adds, and to long calls more often than to short ones. Takes about a minute. Notebook 07 shows both networks:
the ResNet-8 with --runs figures/measured/07_comparison_resnet8.json --out figures/measured/07_latency_resnet8.json.
"""

import argparse
import copy
import json
import time
from pathlib import Path

import torch
from torch import nn

from pruning_lib.acceleration import cost
from pruning_lib.files import CHECKOUT
from pruning_lib.reproduction import records
from pruning_lib.structure import Masks, prunable, remove
from pruning_lib.structure.selection import count_kept
from pruning_lib.workbench import models

MEASURED = CHECKOUT / "figures" / "measured"
MASKED = "magnitude"  # its recorded zeros per layer stand for all unstructured variants
REMOVED = ("filters", "small", "sss")
Shape = tuple[int, int, int]
# Timing needs no images, so it needs no data set on disk either.
SHAPES = {"digits": (1, 8, 8), "mnist": (1, 28, 28), "fashion_mnist": (1, 28, 28), "cifar10": (3, 32, 32)}


def of_shapes(shapes: dict[str, list[int]], dense: nn.Module, shape: Shape) -> nn.Module:
    """The network with as many units left in each layer as the recorded one."""
    model, example, units = copy.deepcopy(dense), torch.zeros(2, *shape), {}
    for name, weight in prunable(model).items():
        if shapes[name][0] < len(weight):
            units[name.removesuffix(".weight")] = torch.arange(shapes[name][0], len(weight))
    return remove(model, example, units) if units else model


def of_zeros(per_layer: dict[str, float], dense: nn.Module, generator: torch.Generator) -> nn.Module:
    """The network with the recorded share of zeros in each layer, at random places."""
    model, masks = copy.deepcopy(dense), {}
    for name, weight in prunable(model).items():
        order = torch.randperm(weight.numel(), generator=generator).view_as(weight)
        masks[name] = order < count_kept(weight.numel(), per_layer[name])
    Masks(masks).zero_(model)
    return model


def first(runs: list[dict]) -> list[dict]:
    """Of each variant at each setting the first run that did not fail."""
    found = {}
    for run in runs:
        if "failed" not in run:
            found.setdefault((run["variant"], str(run["setting"])), run)
    return list(found.values())


def networks(runs: list[dict], dense: nn.Module, shape: Shape) -> dict[str, nn.Module]:
    """By name "FORM SETTING": dense; masked and csr at each sparsity; filters and sss with what is left removed."""
    found, generator = {"dense": dense}, torch.Generator().manual_seed(0)
    for run in first(runs):
        if run["variant"] == MASKED:
            masked = of_zeros(run["per_layer"], dense, generator)
            found |= {f"masked {run['setting']}": masked, f"csr {run['setting']}": cost.as_csr(masked)}
        elif run["variant"] in REMOVED:
            found[f"{run['variant']} {run['setting']}"] = of_shapes(run["shapes"], dense, shape)
    return found


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--runs", type=Path, default=MEASURED / "07_comparison.json")
    parser.add_argument("--out", type=Path, default=MEASURED / "07_latency.json")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=200)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 64])
    given = parser.parse_args()
    records.commit_at_start()  # now, before the first run
    record = json.loads(given.runs.read_text(encoding="utf-8"))
    name = record["settings"]["data"]
    shape = SHAPES[name]
    measured = networks(record["runs"], models.build(record["settings"]["model"], shape, 10), shape)
    for model in measured.values():
        model.eval()
    runs = []
    for batch in given.batches:
        start, x = time.perf_counter(), torch.randn(batch, *shape, generator=torch.Generator().manual_seed(batch))
        calls = {name: lambda model=model, x=x: model(x) for name, model in measured.items()}
        taken = cost.time_in_turns(calls, given.repeats, warmup=10, threads=given.threads)
        seconds = {name: [latency.seconds, latency.fastest] for name, latency in taken.items()}
        # The record's "seconds" are of the whole run; of each network the median and the fastest are given.
        runs.append({"batch": batch, "seconds": time.perf_counter() - start, "latency": seconds})
        for form, (_, fastest) in seconds.items():
            print(f"batch {batch:3}  {form:16} {1000 * fastest:8.3f} ms  {seconds['dense'][1] / fastest:6.2f} ×")
    settings = {"data": name, "threads": given.threads, "repeats": given.repeats}
    records.write_runs(given.out, __doc__.split("\n")[0], settings, runs)


if __name__ == "__main__":
    main()
