"""All methods under one protocol on one network: one training budget, several seeds, 50 to 99 % sparsity.

    python benchmarks/comparison.py [--model lenet5] [--data digits] [--train-samples 0] [--seeds 0 1 2] [--threads 1]
                                    [--list] [--again VARIANT ...] [--out runs/comparison.json]

Every variant and every control at its settings with every seed is a cell (see `pruning_lib.comparison`). Each finished
cell is added to the file at once; started again with the same settings, it makes only the missing ones, and each keeps
the commit it was made at. --again first drops the cells of variants whose code has changed, and leaves the others as
they are; interrupted, it goes on without --again. On digits a seed takes about two minutes of one quiet core. Notebook
07 shows what was recorded with

    --data mnist --train-samples 4000 --out figures/measured/07_comparison.json
    --model resnet8 --data digits --out figures/measured/07_comparison_resnet8.json

a quarter of an hour for a seed of LeNet-5, and about as long for a seed of the ResNet-8.
"""

import argparse
import time
from dataclasses import asdict, replace
from pathlib import Path

import torch
from torch import nn
from tqdm import tqdm

from pruning_lib import comparison
from pruning_lib.files import CHECKOUT
from pruning_lib.reproduction import records
from pruning_lib.workbench import data, models


def cells(seeds: list[int]) -> list[tuple]:
    """Seed by seed, so that what is there after an interruption is whole for some seeds."""
    return [
        (variant.name, setting, seed)
        for seed in seeds
        for variant in comparison.EVERY.values()
        for setting in variant.settings
    ]


def cell(name: str, setting, seed: int, images: data.Data, protocol: comparison.Protocol, dense: nn.Module) -> dict:
    """The record; of a run that broke down, as training does where too little is left, the reason."""
    start = time.perf_counter()
    try:
        return comparison.run_cell(name, setting, seed, images, protocol, dense)[1]
    except ValueError as error:
        failed = {"variant": name, "setting": setting, "seed": seed, "failed": str(error)}
        return failed | {"seconds": time.perf_counter() - start}


def key(run: dict) -> tuple:
    setting = run["setting"]
    return run["variant"], tuple(setting) if isinstance(setting, list) else setting, run["seed"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=CHECKOUT / "runs" / "comparison.json")
    parser.add_argument("--model", choices=models.MODELS, default="lenet5")
    parser.add_argument("--data", default="digits", help="a name in pruning_lib.workbench.data, or imagefolder:FOLDER")
    parser.add_argument("--train-samples", type=int, default=0, help="the first so many of the training set; 0: all")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--threads", type=int, default=1, help="one gives the same numbers on every run")
    parser.add_argument("--again", nargs="+", choices=comparison.EVERY, default=[], help="make these variants anew")
    parser.add_argument("--list", action="store_true", help="say what is missing and end")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    images = data.load(given.data)
    if given.train_samples:
        images = replace(images, train=tuple(part[: given.train_samples] for part in images.train))
    sizes = {"train_samples": len(images.train[1]), "test_samples": len(images.test[1])}
    protocol = comparison.Protocol(given.model)
    settings = {"data": images.name} | sizes | asdict(protocol)
    if given.list:
        runs = records.runs_in(given.out, settings)
        missing = still_missing(runs, given.seeds)
        print(f"{len(runs)} cells done, {len(missing)} missing", *missing, sep="\n")
        return
    with records.locked(given.out):
        make(given.out, images, protocol, settings, given.seeds, given.again)


def still_missing(runs: list[dict], seeds: list[int]) -> list[tuple]:
    """The cells that are in no run."""
    done = set(map(key, runs))
    return [cell for cell in cells(seeds) if cell not in done]


def make(
    out: Path, images: data.Data, protocol: comparison.Protocol, settings: dict, seeds: list[int], again: list[str]
) -> None:
    """Add the missing cells to the file, those of the variants `again` too, in the order of the grid."""
    runs = [r for r in records.runs_in(out, settings) if r["variant"] not in again or r["seed"] not in seeds]
    place = list(comparison.EVERY).index
    missing = still_missing(runs, seeds)
    dense: tuple[int, nn.Module] | None = None
    with tqdm(missing, unit="cell", mininterval=10) as bar:
        for name, setting, seed in bar:
            before = comparison.EVERY[name].time == "before"  # from fresh weights: needs no dense network
            if not before and (dense is None or dense[0] != seed):
                dense = seed, protocol.dense(images, seed)
            start = protocol.fresh(images, seed) if before else dense[1]
            runs.append(cell(name, setting, seed, images, protocol, start))
            shown = runs[-1].get("failed") or f"{runs[-1]['accuracy']:.4f} at {runs[-1]['sparsity']:.4f}"
            runs.sort(key=lambda run: (run["seed"], place(run["variant"])))
            records.write_runs(out, __doc__.split("\n")[0], settings, runs)
            bar.set_postfix_str(f"{name} {setting} seed {seed}: {shown}")


if __name__ == "__main__":
    main()
