"""Sparse structure selection on digits over a grid of γ: λ of every gate after every epoch, accuracy, what is removed.

    python benchmarks/sss_sweep.py [--out figures/measured/03_sss_sweep.json] [--seeds 0 1] [--threads 1]

Each finished run is added to the file at once; started again with the same settings, it makes only the missing ones.
"""

import argparse
import time
import warnings
from pathlib import Path

import torch
from torch import Tensor, nn

from pruning_lib.during_training import sss
from pruning_lib.files import CHECKOUT
from pruning_lib.reproduction import records
from pruning_lib.workbench import data, models, training

GAMMAS = {
    "block": [0.0, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5],
    "channel": [0.0, 0.003, 0.005, 0.01, 0.015, 0.02, 0.03, 0.05],
}
SETTINGS = {
    "data": "digits",
    "depth": 20,
    "width": 8,
    "epochs": 16,
    "batch_size": 64,
    "lr": 0.1,
    "milestones": [0.75],
    "momentum": 0.9,
    "weight_decay": 1e-4,
}


def dense_run(images: data.Data, seed: int) -> dict:
    """The same network, budget and seed without gates."""
    network = fresh(images, seed)
    start = time.perf_counter()
    train(network, images, seed)
    return {"level": "dense", "gamma": None, "seed": seed, "seconds": time.perf_counter() - start} | {
        "accuracy": training.evaluate(network, images.test)[0],
        **size(network, images.test[0][:1]),
    }


def train(network: nn.Module, images: data.Data, seed: int) -> None:
    """Through all epochs, in place."""
    chosen = {key: SETTINGS[key] for key in ("lr", "momentum", "weight_decay", "batch_size")}
    milestones = tuple(SETTINGS["milestones"])
    training.fit(network, images, SETTINGS["epochs"], milestones=milestones, seed=seed, progress=False, **chosen)


def gated_run(images: data.Data, level: str, gamma: float, seed: int, paths: bool) -> dict:
    start = time.perf_counter()
    gated, history = with_gates(images, level, gamma, seed)
    seconds = time.perf_counter() - start
    small = removed(gated, images)
    run = {
        "level": level,
        "gamma": gamma,
        "seed": seed,
        "seconds": seconds,
        "accuracy": training.evaluate(gated, images.test)[0],
        "accuracy_removed": training.evaluate(small, images.test)[0],
        **size(small, images.test[0][:1]),
        "gates": {name: len(scale) for name, scale in sss.gates(gated).items()},
        "closed": {name: indices.tolist() for name, indices in sss.closed(gated).items()},
        "losses": [rounded(loss) for loss in history.losses],
    }
    if paths:  # λ by unit: [epoch][gate]; three digits keep an exact zero apart from a small λ
        run["scales"] = {
            name: [[rounded(value) for value in scales[name].tolist()] for scales in history.scales]
            for name in history.scales[0]
        }
    return run


def with_gates(images: data.Data, level: str, gamma: float, seed: int) -> tuple[nn.Module, sss.History]:
    """The network trained with its gates, and their λ after every epoch."""
    gated = sss.add_gates(fresh(images, seed), level)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that nothing closes is what the record shows
        history = sss.train_gates(
            gated,
            lambda epoch: batches(images, seed, epoch),
            gamma=gamma,
            lr=rate,
            epochs=SETTINGS["epochs"],
            seed=seed,
            momentum=SETTINGS["momentum"],
            weight_decay=SETTINGS["weight_decay"],
            progress=False,
        )
    return gated, history


def removed(gated: nn.Module, images: data.Data) -> nn.Module:
    """The network without what has closed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a complete layer closes is what the record shows
        return sss.remove_closed(gated, images.test[0][:2])


def batches(images: data.Data, seed: int, epoch: int) -> list[data.Pair]:
    return list(data.batches(images.train, SETTINGS["batch_size"], seed * 1_000_003 + epoch))


def rate(epoch: int) -> float:
    return SETTINGS["lr"] * 0.1 ** sum(epoch >= m * SETTINGS["epochs"] for m in SETTINGS["milestones"])


def fresh(images: data.Data, seed: int) -> nn.Module:
    return models.resnet(images.shape, len(images.classes), SETTINGS["depth"], SETTINGS["width"], seed=seed)


def rounded(value: float) -> float:
    return float(f"{value:.3g}")


@torch.no_grad()
def size(model: nn.Module, x: Tensor) -> dict[str, int]:
    """Parameters, and multiply-accumulates of the convolutions and linear layers for the one image `x`."""
    macs = 0

    def count(module: nn.Module, inputs: tuple, output: Tensor) -> None:
        nonlocal macs
        macs += output[0].numel() * module.weight[0].numel()

    layers = [module for module in model.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    handles = [layer.register_forward_hook(count) for layer in layers]
    model.eval()(x)
    for handle in handles:
        handle.remove()
    return {"parameters": sum(parameter.numel() for parameter in model.parameters()), "macs": macs}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=CHECKOUT / "figures" / "measured" / "03_sss_sweep.json")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--threads", type=int, default=1, help="one gives the same numbers on every run")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    with records.locked(given.out):
        make(given)


def make(given: argparse.Namespace) -> None:
    """Add the missing runs to the file, and print them."""
    images = data.load(SETTINGS["data"])
    runs = records.runs_in(given.out, SETTINGS)
    done = {(run["level"], run["gamma"], run["seed"]) for run in runs}
    wanted = [("dense", None, seed) for seed in given.seeds]
    wanted += [(level, gamma, seed) for level in GAMMAS for gamma in GAMMAS[level] for seed in given.seeds]
    for level, gamma, seed in (key for key in wanted if key not in done):
        if level == "dense":
            run = dense_run(images, seed)
        else:
            run = gated_run(images, level, gamma, seed, paths=level == "block" or seed == given.seeds[0])
        runs.append(run)
        records.write_runs(given.out, __doc__.split("\n")[0], SETTINGS, runs)
        closed = sum(map(len, run.get("closed", {}).values()))
        print(f"{level} γ={gamma} seed {seed}: {closed} closed, accuracy {run['accuracy']:.4f}, {run['seconds']:.1f} s")


if __name__ == "__main__":
    main()
