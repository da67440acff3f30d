"""SNIP and its controls: which part of what SNIP knows is worth how much, and which layers die.

    python benchmarks/snip_controls.py [--data mnist] [--models lenet_300_100 lenet5] [--seeds 0 1 2 3 4] [--threads 1]
                                       [--list] [--out figures/measured/02_controls.json]
    python benchmarks/snip_controls.py --data digits

The digits are notebook 02's network and training, up to an hour for all seeds; MNIST takes many.

SNIP says how many weights of each layer stay, which ones, and with which values, as it trains the weights that it
scored. Frankle et al. 2021 take the last two away:

                                 values that stay are SNIP's          values are new
    places are SNIP's            snip                                 redrawn: same mask, all weights drawn anew
    places are random            shuffled: mask and weights move      shares: random, as many per layer as SNIP keeps
                                 together, within each layer
    random, but every neuron                                             counts: as many weights into and out of
    is connected as often                                                each neuron as SNIP keeps

Each of these may be *rescaled*: layer by layer, until the outputs of the layer spread as those of the dense network
do. `signal` is the spread of the network's outputs before training, as a share of the dense network's. Runs marked
*longer* train for four times as many epochs, at the highest sparsity only.

Beside them: random, the same share of all layers; erk, random with the layers' shares by Erdős–Rényi-kernel; init and
init_layer, the largest initial weights of the network and of each layer; init_shares, random with init's counts;
iterative_snip (de Jorge et al. 2021) and synflow (Tanaka et al. 2020), both in 100 rounds; dense. All train alike: the
settings were fixed before the first run, no choice is made on the test images, and the accuracy is that after the last
epoch.

`left` counts a layer's weights in the mask, `connected` those of them that lie on a path from the inputs to the
outputs: SynFlow's score of the others is 0. Each finished run is added to the file at once; started again with the same
settings, it makes only the missing ones.
"""

import argparse
import copy
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn
from tqdm import tqdm

from pruning_lib.after_training import magnitude
from pruning_lib.before_training import iterative_snip, snip, synflow
from pruning_lib.comparison import controls, spread
from pruning_lib.files import CHECKOUT
from pruning_lib.reproduction import records
from pruning_lib.structure import Masks, keep_largest, prunable
from pruning_lib.workbench import data, models, training

# Of each data set: sparsities, controls and settings.
SPARSITIES = {
    "mnist": {"lenet_300_100": (0.9, 0.95, 0.98, 0.99), "lenet5": (0.98, 0.99)},
    "digits": {"lenet_300_100": (0.9, 0.98)},
}
KINDS = {
    "mnist": [
        *("snip", "redrawn", "shuffled", "shares", "random", "erk", "init", "init_layer", "iterative_snip", "synflow")
    ],
    "digits": [
        control + how
        for control in ("snip", "redrawn", "shares", "random", "init", "init_shares", "counts")
        for how in ("", ", rescaled")
    ]
    + [f"{control}, rescaled, longer" for control in ("snip", "counts", "shares")],
}
MNIST = {
    "data": "mnist",
    "train_samples": 60000,
    "test_samples": 10000,
    "epochs": 6,
    "batch_size": 100,
    "lr": {"lenet_300_100": 0.1, "lenet5": 0.05},
    "schedule": "cosine",
    "momentum": 0.9,
    "weight_decay": 5e-4,
    "initialization": "fan_in",
    "scoring": 100,
    "rounds": 100,
}
DIGITS = {"data": "digits", "train_samples": 1437, "test_samples": 360, "epochs": 12, "lr": {"lenet_300_100": 0.05}}
DIGITS |= {"initialization": "fan_average"}
LONGER = 4  # times the epochs
SETTINGS = {"mnist": MNIST, "digits": MNIST | DIGITS}


def fresh(images: data.Data, name: str, seed: int) -> nn.Module:
    """The untrained network of a seed; seeds below 0 are for what must not depend on it."""
    model = models.build(name, images.shape, len(images.classes))
    return models.initialize_(model, seed, SETTINGS[images.name]["initialization"])


def by_snip(model: nn.Module, images: data.Data, sparsity: float, seed: int) -> Masks:
    return snip.prune(model, [scored(images, seed)], sparsity)


def scored(images: data.Data, seed: int) -> data.Pair:
    """The batch that is scored: the first in an order of the seed."""
    return next(data.batches(images.train, SETTINGS[images.name]["scoring"], seed))


def redrawn(model: nn.Module, images: data.Data, sparsity: float, seed: int) -> Masks:
    masks = by_snip(model, images, sparsity, seed)
    models.initialize_(model, -1 - seed, SETTINGS[images.name]["initialization"])
    return masks


def shuffled(model: nn.Module, images: data.Data, sparsity: float, seed: int) -> Masks:
    masks, weights = by_snip(model, images, sparsity, seed), prunable(model)
    with torch.no_grad():
        for name, moved in controls.shuffled(weights, seed).items():
            weights[name].copy_(moved)
    return Masks(controls.shuffled(masks, seed))


# (model, images, sparsity, seed) -> masks; the two above change the model's weights.
CONTROLS: dict[str, Callable[[nn.Module, data.Data, float, int], Masks]] = {
    "snip": by_snip,
    "redrawn": redrawn,
    "shuffled": shuffled,
    "shares": lambda m, i, sparsity, seed: Masks(controls.shuffled(by_snip(m, i, sparsity, seed), seed)),
    "counts": lambda m, i, sparsity, seed: Masks(controls.same_counts(by_snip(m, i, sparsity, seed), seed)),
    "init_shares": lambda m, i, sparsity, seed: Masks(controls.shuffled(magnitude.prune(m, sparsity), seed)),
    "random": lambda m, i, sparsity, seed: keep_largest(controls.random_scores(m, seed), sparsity, "layer"),
    "erk": lambda m, i, sparsity, seed: keep_largest(controls.erk_scores(m, seed), sparsity),
    "init": lambda m, i, sparsity, seed: magnitude.prune(m, sparsity),
    "init_layer": lambda m, i, sparsity, seed: magnitude.prune(m, sparsity, "layer"),
    "iterative_snip": lambda m, i, sparsity, seed: iterative_snip.prune(
        m, [scored(i, seed)], sparsity, rounds=SETTINGS[i.name]["rounds"], progress=False
    ),
    "synflow": lambda m, i, sparsity, seed: synflow.prune(
        m, i.train[0][:1], sparsity, rounds=SETTINGS[i.name]["rounds"], progress=False
    ),
}


def signal(model: nn.Module, images: data.Data) -> float:
    with torch.no_grad():
        return model(images.test[0]).std(dim=0).mean().item()


def pruned(model: nn.Module, images: data.Data, control: str, sparsity: float, seed: int) -> Masks:
    """The masks of a control; the model gets its weights, with zeros where the masks have them."""
    kind, *how = control.split(", ")
    dense = copy.deepcopy(model)
    masks = CONTROLS[kind](model, images, sparsity, seed)
    masks.zero_(model)
    if "rescaled" in how:
        controls.same_signal_(model, dense, images.train[0][:1000])
    return masks


def sparsities(data_name: str, name: str, control: str) -> tuple[float, ...]:
    if control == "dense":
        return (0.0,)
    return SPARSITIES[data_name][name][-1 if "longer" in control else 0 :]


def cells(data_name: str, names: list[str], seeds: list[int]) -> list[tuple]:
    """Network by network and seed by seed, so that what is there after an interruption is whole for some."""
    return [
        (name, control, sparsity, seed)
        for name in names
        for seed in seeds
        for control in ("dense", *KINDS[data_name])
        for sparsity in sparsities(data_name, name, control)
    ]


def key(run: dict) -> tuple:
    return run["model"], run["control"], run["sparsity"], run["seed"]


def run_cell(images: data.Data, name: str, control: str, sparsity: float, seed: int) -> dict:
    """The record; of a run that broke down, the reason."""
    start, run = time.perf_counter(), {"model": name, "control": control, "sparsity": sparsity, "seed": seed}
    model, settings = fresh(images, name, seed), SETTINGS[images.name]
    try:
        if control != "dense":
            dense = signal(model, images)
            masks = pruned(model, images, control, sparsity, seed)
            run["signal"] = signal(model, images) / dense
            masks.hold(model)
            flows = synflow.scores(model, images.train[0][:1])
            run["left"] = {layer: int(mask.sum()) for layer, mask in masks.items()}
            run["connected"] = {layer: int((flows[layer] > 0).sum()) for layer in masks}
        how = {option: settings[option] for option in ("batch_size", "schedule", "momentum", "weight_decay")}
        with training.channels_last(model):
            epochs = settings["epochs"] * (LONGER if "longer" in control else 1)
            training.fit(model, images, epochs, lr=settings["lr"][name], seed=seed, progress=False, **how)
            run["accuracy"], run["loss"] = training.evaluate(model, images.test)
    except ValueError as error:
        run["failed"] = str(error)
    return run | {"seconds": time.perf_counter() - start}


def table(data_name: str, runs: list[dict]) -> str:
    """Test error in %, mean ± standard deviation over the seeds, and in brackets of how many runs a layer died."""
    lines = []
    for name in dict.fromkeys(run["model"] for run in runs):
        columns = SPARSITIES[data_name][name]
        lines.append(f"{name:26}" + "".join(f"{sparsity:>20.0%}" for sparsity in columns))
        for control in ("dense", *KINDS[data_name]):
            line = f"{control:26}"
            for sparsity in (0.0,) if control == "dense" else columns:
                here = [run for run in runs if key(run)[:3] == (name, control, sparsity)]
                errors = [100 * (1 - run["accuracy"]) for run in here if "failed" not in run]
                dead = sum(0 in run.get("connected", {}).values() for run in here)
                text = str(spread(errors)) if errors else "failed" if here else ""
                line += f"{text + (f' ({dead})' if dead else ''):>20}"
            lines.append(line)
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", choices=SETTINGS, default="mnist")
    parser.add_argument("--out", type=Path, help="the record (default: in figures/measured, one for each data set)")
    parser.add_argument("--models", nargs="+", choices=SPARSITIES["mnist"], default=["lenet_300_100"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--threads", type=int, default=1, help="one gives the same numbers on every run")
    parser.add_argument("--list", action="store_true", help="say what is missing, print the table and end")
    given = parser.parse_args()
    if unknown := set(given.models) - set(SPARSITIES[given.data]):
        parser.error(f"{given.data} has no runs of {', '.join(unknown)}")
    of_data = "" if given.data == "mnist" else f"_{given.data}"
    given.out = given.out or CHECKOUT / "figures" / "measured" / f"02_controls{of_data}.json"
    torch.set_num_threads(given.threads)
    if given.list:
        runs = records.runs_in(given.out, SETTINGS[given.data])
        missing = still_missing(runs, given)
        print(table(given.data, runs), f"{len(runs)} runs done, {len(missing)} missing", sep="\n")
        return
    with records.locked(given.out):
        print(table(given.data, make(given)))


def still_missing(runs: list[dict], given: argparse.Namespace) -> list[tuple]:
    done = set(map(key, runs))
    return [cell for cell in cells(given.data, given.models, given.seeds) if cell not in done]


def make(given: argparse.Namespace) -> list[dict]:
    """Add the missing runs to the file; return all."""
    images, settings = data.load(given.data), SETTINGS[given.data]
    runs = records.runs_in(given.out, settings)
    with tqdm(still_missing(runs, given), unit="run", mininterval=10) as bar:
        for cell in bar:
            runs.append(run_cell(images, *cell))
            records.write_runs(given.out, __doc__.split("\n")[0], settings, runs)
            shown = runs[-1].get("failed") or f"{100 * (1 - runs[-1]['accuracy']):.2f} %"
            bar.set_postfix_str(f"{' '.join(map(str, cell))}: {shown}")
    return runs


if __name__ == "__main__":
    main()
