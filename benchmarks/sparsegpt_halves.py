"""Perplexity of the trained GPT at 50 %: masks by one method, weights on them by another, several draws of calibration.

    python benchmarks/sparsegpt_halves.py [--out figures/measured/05_halves.json] [--threads 1] [--seeds 0 1 2]

Perplexity is per byte, on all held-out text. Each finished run is added to the file at once; started again with the
same settings, it makes only the missing ones.
"""

import argparse
import copy
import hashlib
import time
from functools import partial
from pathlib import Path

import torch
from sparsegpt_hub import as_they_are, composed, least_squares, magnitude, update
from torch import Tensor

from pruning_lib.after_training import sparsegpt, wanda
from pruning_lib.after_training.calibration import prune_in_order
from pruning_lib.after_training.reconstruction import Hessian
from pruning_lib.files import CHECKOUT
from pruning_lib.reproduction import records
from pruning_lib.structure import keep_largest
from pruning_lib.workbench import language, text
from pruning_lib.workbench.checkpoint import CHECKPOINT

SPARSITY = 0.5
CALIBRATION = {"segments": 32, "length": 256, "batch": 16}


def random(weight: Tensor, hessian: Tensor, sparsity: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    keep = keep_largest({"weight": torch.rand(weight.shape, generator=generator)}, sparsity, scope="layer")["weight"]
    return weight.masked_fill(~keep, 0), keep


MASKS = {
    "random": random,
    "magnitude": magnitude,
    "Wanda": wanda.prune_weight,
    "SparseGPT": sparsegpt.prune_weight,
    "SparseGPT, block 8": partial(sparsegpt.prune_weight, block=8),
}
WEIGHTS = {"none": as_they_are, "update": update, "least squares": least_squares}


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
    dense, about = language.load_checkpoint()
    source = text.load(about["text"])
    settings = {
        "checkpoint_sha256": hashlib.sha256(CHECKPOINT.read_bytes()).hexdigest(),
        "train_sha256": text.digest(source.train),
        "held_out_sha256": text.digest(source.held_out),
        "sparsity": SPARSITY,
        "calibration": CALIBRATION,
    }
    runs = records.runs_in(given.out, settings)
    if not runs:
        runs.append({"mask": "dense", "weights": "dense", "seed": 0})
        runs[0]["perplexity"] = language.perplexity(dense, source.held_out)
    made = {(run["mask"], run["weights"], run["seed"]) for run in runs}
    for seed in given.seeds:
        windows = text.windows(source.train, CALIBRATION["length"], CALIBRATION["segments"], seed)
        batches = list(windows.split(CALIBRATION["batch"]))
        for mask, choose in MASKS.items():
            if mask == "random":
                choose = partial(choose, generator=torch.Generator().manual_seed(seed))
            for weights, reconstruct in WEIGHTS.items():
                # Magnitude's mask as it is needs no calibration: every draw is the same.
                if (mask, weights, seed) in made or ((mask, weights) == ("magnitude", "none") and seed):
                    continue
                start, model = time.perf_counter(), copy.deepcopy(dense)
                prune_layer = partial(composed, choose, reconstruct, sparsity=SPARSITY)
                prune_in_order(model, batches, prune_layer, Hessian, None, 1, False)
                perplexity = language.perplexity(model, source.held_out)
                run = {"mask": mask, "weights": weights, "seed": seed, "perplexity": perplexity}
                runs.append(run | {"seconds": time.perf_counter() - start})
                records.write_runs(given.out, __doc__.split("\n")[0], settings, runs)
                print(f"{mask:>18}, {weights:>13}, draw {seed}: {perplexity:.3f}", flush=True)


if __name__ == "__main__":
    main()
