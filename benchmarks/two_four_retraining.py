"""A small ResNet on digits at 50 %: a free half of each layer or 2:4, before and after retraining under the mask.

    python benchmarks/two_four_retraining.py [--out figures/measured/06_retraining.json] [--seeds 0 1 2 3 4]
                                             [--threads 1]

Network, training and the ways to prune are those of notebook 06b; every rule prunes the layers that 2:4 fits.
Retraining is the standard recipe for 2:4: the training once more, from the pruned weights, zeros held. The dense
network gets the same epochs. Beside SparseGPT stand its two halves: Wanda chooses with the inputs in view and moves
nothing; "refitted" keeps magnitude's mask and moves the rest. "drawn" are accuracies of 2:4 by magnitude in random
orders of the layers that `permute_model` reorders: the control of "2:4, permuted". Each finished seed is added to the
file; started again, it makes the missing ones.
"""

import argparse
import copy
import statistics
import time
from pathlib import Path

import torch
from torch import Tensor, nn

from pruning_lib.acceleration import two_four
from pruning_lib.after_training import sparsegpt, wanda
from pruning_lib.after_training.calibration import prune_in_order
from pruning_lib.after_training.reconstruction import Hessian, refit
from pruning_lib.files import CHECKOUT
from pruning_lib.reproduction import records
from pruning_lib.structure import Masks, keep_largest, keep_n_of_m, prunable
from pruning_lib.workbench import data, models, training

SETTINGS = {
    "data": "digits",
    "depth": 8,
    "epochs": 5,  # of training, and of retraining
    "schedule": "cosine",
    "calibration": 512,  # images, for SparseGPT, Wanda and refitted
    "drawn": 10,
}


def train(model: nn.Module, images: data.Data, seed: int) -> None:
    training.fit(model, images, SETTINGS["epochs"], schedule=SETTINGS["schedule"], seed=seed, progress=False)


def accuracy(model: nn.Module, images: data.Data) -> float:
    return 100 * training.evaluate(model, images.test)[0]


def masks_of(model: nn.Module) -> dict[str, Masks]:
    """By magnitude, of the layers that 2:4 fits."""
    fits = two_four.best_masks(model)
    sizes = {name: weight.detach().abs() for name, weight in prunable(model).items() if name in fits}
    return {
        "half": keep_largest(sizes, 0.5, scope="layer"),
        "2:4": fits,
        "2:4 along the channels": keep_n_of_m(sizes, 2, 4, along="channels"),
    }


def zeroed(model: nn.Module, masks: Masks) -> nn.Module:
    model = copy.deepcopy(model)
    masks.zero_(model)
    return model


def retrained(model: nn.Module, masks: Masks | None, images: data.Data, seed: int) -> float:
    """Accuracy after the training once more, in another order of the batches."""
    model = copy.deepcopy(model)
    if masks is not None:
        masks.hold(model)
    train(model, images, seed + 1000)
    return accuracy(model, images)


def refitted(weight: Tensor, hessian: Tensor) -> tuple[Tensor, Tensor]:
    """2:4 by magnitude, and what stays moved to where the layer's outputs change least."""
    keep = two_four.best_mask(weight)
    return refit(weight, hessian, keep, damping=0.01), keep


def drawn_orders(model: nn.Module, images: data.Data, moved: list[str]) -> list[float]:
    found, example = [], images.test[0][:2]
    for number in range(SETTINGS["drawn"]):
        generator, other = torch.Generator().manual_seed(number), model
        for name in moved:
            columns = other.get_submodule(name).weight.shape[1]
            other = two_four.permute(other, example, name, torch.randperm(columns, generator=generator))
        found.append(accuracy(zeroed(other, two_four.best_masks(other)), images))
    return found


def run_of(images: data.Data, seed: int) -> dict:
    start = time.perf_counter()
    dense = models.build("resnet", images.shape, len(images.classes), seed=seed, depth=SETTINGS["depth"])
    train(dense, images, seed)
    masks = masks_of(dense)
    pruned = {"dense": accuracy(dense, images)}
    pruned |= {name: accuracy(zeroed(dense, keep), images) for name, keep in masks.items()}
    after = {name: retrained(dense, keep, images, seed) for name, keep in ({"dense": None} | masks).items()}
    permuted, left = two_four.permute_model(dense, images.test[0][:2])
    pruned["2:4, permuted"] = accuracy(zeroed(permuted, two_four.best_masks(permuted)), images)
    layers = [name.removesuffix(".weight") for name in masks["2:4"]]
    moved = [name for name in layers if name not in left]
    calibration = images.train[0][: SETTINGS["calibration"]].split(128)
    for name, pattern in {"half, SparseGPT": {"sparsity": 0.5}, "2:4, SparseGPT": {"n_m": (2, 4)}}.items():
        model = copy.deepcopy(dense)
        sparsegpt.prune_model(model, calibration, **pattern, layers=layers, progress=False)
        pruned[name] = accuracy(model, images)
    model = copy.deepcopy(dense)
    wanda.prune_model(model, calibration, n_m=(2, 4), layers=layers, progress=False)
    pruned["2:4, Wanda"] = accuracy(model, images)
    model = copy.deepcopy(dense)
    prune_in_order(model, calibration, refitted, Hessian, layers, multiple_of=4, progress=False)
    pruned["2:4, refitted"] = accuracy(model, images)
    run = {"seed": seed, "pruned": pruned, "retrained": after, "drawn": drawn_orders(dense, images, moved)}
    return run | {"moved": moved, "seconds": time.perf_counter() - start}


def table(runs: list[dict]) -> str:
    """Accuracy in %, mean ± standard deviation over the seeds."""
    lines = []
    for when in ("pruned", "retrained"):
        for name in runs[0][when]:
            values = [run[when][name] for run in runs]
            spread = f" ± {statistics.stdev(values):.2f}" if len(values) > 1 else ""
            lines.append(f"{when:>10}, {name:24} {statistics.mean(values):6.2f}{spread}")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=CHECKOUT / "figures" / "measured" / "06_retraining.json")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--threads", type=int, default=1, help="one gives the same numbers on every run")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    with records.locked(given.out):
        print(table(make(given.out, given.seeds)))


def make(out: Path, seeds: list[int]) -> list[dict]:
    """Add the missing seeds to the file; return all."""
    images = data.load(SETTINGS["data"])
    runs = records.runs_in(out, SETTINGS)
    for seed in seeds:
        if seed not in {run["seed"] for run in runs}:
            runs.append(run_of(images, seed))
            records.write_runs(out, __doc__.split("\n")[0], SETTINGS, runs)
            print(f"seed {seed}: {runs[-1]['seconds']:.0f} s", flush=True)
    return runs


if __name__ == "__main__":
    main()
