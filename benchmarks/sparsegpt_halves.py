"""Perplexity of the trained GPT at 50 %: masks by one method, weights on them by another, several draws of calibration.

    python benchmarks/sparsegpt_halves.py [--out figures/measured/05_halves.json] [--threads 1] [--seeds 0 1 2]

Perplexity is per byte, on the beginning of the held-out text. Each finished run is added to the file at once; started
again with the same settings, it makes only the missing ones.
"""

import argparse
import copy
import time
from functools import partial
from pathlib import Path

import torch
from sparsegpt_hub import as_they_are, composed, least_squares, magnitude, update
from sparsegpt_language import material
from torch import Tensor

from pruning_lib.after_training import sparsegpt, wanda
from pruning_lib.after_training.calibration import prune_in_order
from pruning_lib.after_training.reconstruction import Hessian
from pruning_lib.files import CHECKOUT
from pruning_lib.reproduction import records
from pruning_lib.structure import keep_largest
from pruning_lib.workbench import language, text

SPARSITY = 0.5
CALIBRATION = {"segments": 16, "length": 256, "batch": 16}
BYTES = 16384  # of held-out text


def random(weight: Tensor, hessian: Tensor, sparsity: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    keep = keep_largest({"weight": torch.rand(weight.shape, generator=generator)}, sparsity, scope="layer")["weight"]
    return weight.masked_fill(~keep, 0), keep


MASKS = {
    "magnitude": magnitude,
    "SparseGPT": sparsegpt.prune_weight,
    "SparseGPT, block 8": partial(sparsegpt.prune_weight, block=8),
    "Wanda": wanda.prune_weight,
    "random": random,
}
WEIGHTS = {"none": as_they_are, "update": update, "least squares": least_squares}


def cases(seeds: list[int]) -> list[tuple[int, str, str]]:
    """Draw, mask and weights; of magnitude's mask as it is, one draw: it needs no calibration."""
    every = [(seed, mask, weights) for seed in seeds for mask in MASKS for weights in WEIGHTS]
    return [case for case in every if case[1:] != ("magnitude", "none") or case[0] == seeds[0]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=CHECKOUT / "figures" / "measured" / "05_halves.json")
    parser.add_argument("--threads", type=int, default=1, help="one gives the same numbers on every run")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="draws of calibration text")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    with records.locked(given.out):
        make(given)


def make(given: argparse.Namespace) -> None:
    """Make the cases that the file does not hold yet, and print them."""
    dense, source, digests = material()
    settings = digests | {"sparsity": SPARSITY, "calibration": CALIBRATION, "held out": BYTES}
    runs = records.runs_in(given.out, settings)
    if not runs:
        start = time.perf_counter()
        perplexity = language.perplexity(dense, source.held_out[:BYTES])
        runs.append({"mask": "dense", "weights": "dense", "seed": 0, "perplexity": perplexity})
        runs[0]["seconds"] = time.perf_counter() - start
    made = {(run["mask"], run["weights"], run["seed"]) for run in runs}
    for seed, mask, weights in cases(given.seeds):
        if (mask, weights, seed) in made:
            continue
        choose = MASKS[mask]
        if mask == "random":
            # Not from 0, the seed of the GPT's own first weights: such a mask would know of them.
            choose = partial(choose, generator=torch.Generator().manual_seed(1000 + seed))
        windows = text.windows(source.train, CALIBRATION["length"], CALIBRATION["segments"], seed)
        start, model = time.perf_counter(), copy.deepcopy(dense)
        prune_layer = partial(composed, choose, WEIGHTS[weights], sparsity=SPARSITY)
        prune_in_order(model, list(windows.split(CALIBRATION["batch"])), prune_layer, Hessian, None, 1, False)
        perplexity = language.perplexity(model, source.held_out[:BYTES])
        run = {"mask": mask, "weights": weights, "seed": seed, "perplexity": perplexity}
        runs.append(run | {"seconds": time.perf_counter() - start})
        records.write_runs(given.out, __doc__.split("\n")[0], settings, runs)
        print(f"{mask:>18}, {weights:>13}, draw {seed}: {perplexity:.3f}", flush=True)


if __name__ == "__main__":
    main()
