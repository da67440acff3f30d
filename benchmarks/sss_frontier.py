"""Sparse structure selection beside its rivals on CIFAR-10: accuracy over multiply–accumulates and over seconds.

    python benchmarks/sss_frontier.py [--data imagefolder:FOLDER] [--seeds 0 1 2] [--work runs/sss_frontier] [--list]
                                      [--out figures/measured/03_sss_cifar.json]

A ResNet-20 of half width. Whatever is compared has seen the same number of epochs when it is tested: SSS all of them
with gates, the shapes that it found all of them from fresh weights, L1 filters and Network Slimming half of them before
the cut and half of them after; L1 filters as cut, and with only batch norm's statistics taken anew, all before it.
γ is chosen on images set apart from the training set, never on the test set.

Each finished run is added to the file at once; started again with the same settings, the missing ones are made. What
was stopped in between starts anew. Networks that others start from are kept in --work and made again if they are lost.
"""

import argparse
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.swa_utils import update_bn
from tqdm import tqdm

from pruning_lib.acceleration import cost
from pruning_lib.checks import check_at_least
from pruning_lib.during_training import slimming, sss
from pruning_lib.files import CHECKOUT
from pruning_lib.reproduction import records
from pruning_lib.resuming import save_state, saved_state
from pruning_lib.structure import choose_units, remove, score_units
from pruning_lib.workbench import data, models, training

GAMMAS = {
    "block": [0.05, 0.1, 0.2, 0.4],
    "channel": [0.005, 0.01, 0.02, 0.04],
    "slimming": [0.0003, 0.001, 0.003, 0.01],
}
SHARES = [0.3, 0.5, 0.7, 0.85]  # of the channels that can go, for L1 filters and Network Slimming
SETTINGS = {
    "depth": 20,
    "width": 8,
    "epochs": 18,
    "batch_size": 128,
    "peak_lr": 0.2,
    "momentum": 0.9,
    "weight_decay": 5e-4,
    "shift": 2,
    "validation": 5000,
}
RECALIBRATION = 40  # batches


@dataclass(frozen=True)
class Case:
    """One seed: its images, the settings, and the folder of the networks that others start from."""

    images: data.Data
    validation: data.Pair
    settings: dict
    work: Path
    seed: int

    def fresh(self) -> nn.Module:
        depth, width = self.settings["depth"], self.settings["width"]
        return models.resnet(self.images.shape, len(self.images.classes), depth, width, seed=self.seed)

    @property
    def example(self) -> Tensor:
        return self.images.test[0][:2]

    @property
    def epochs(self) -> int:
        return self.settings["epochs"]

    @property
    def half(self) -> int:
        return self.epochs // 2

    def batches(self, epoch: int) -> Iterator[data.Pair]:
        """The training images, each mirrored or not and moved by itself, another way in each epoch."""
        seed = self.seed * 1_000_003 + epoch
        generator = torch.Generator().manual_seed(seed)
        for inputs, targets in data.batches(self.images.train, self.settings["batch_size"], seed):
            yield augmented(inputs, self.settings["shift"], generator), targets

    def rate(self, epochs: int) -> Callable[[int], float]:
        """The learning rate rises for a fifth of the `epochs` and then falls to zero, both in a line."""

        def at(epoch: int) -> float:
            share = (epoch + 0.5) / epochs
            return self.settings["peak_lr"] * min(share / 0.2, (1 - share) / 0.8)

        return at

    def train(self, model: nn.Module, epochs: int, first: int = 0, gamma: float = 0.0) -> nn.Module:
        """Train `model` in place through the epochs from `first`, on cross-entropy and, given γ, slimming's penalty."""
        own = {key: self.settings[key] for key in ("momentum", "weight_decay")}
        optimizer = torch.optim.SGD(model.parameters(), self.settings["peak_lr"], nesterov=True, **own)
        rate, scales = self.rate(epochs), slimming.scales(model) if gamma else {}
        model.train()
        with training.channels_last(model):
            for epoch in tqdm(range(epochs), leave=False, mininterval=10):
                optimizer.param_groups[0]["lr"] = rate(epoch)
                for inputs, targets in self.batches(first + epoch):
                    loss = F.cross_entropy(model(inputs), targets)
                    if gamma:
                        loss = loss + slimming.penalty(scales, gamma)
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()
                if not loss.isfinite():
                    raise ValueError(f"loss is {loss.item()} after epoch {epoch}, must be finite")
        return model

    def kept(self, name: str, epochs: int, gamma: float = 0.0) -> tuple[nn.Module, dict]:
        """A fresh network after so many epochs, and the time that took, from the work folder if it is there."""
        path, model = self.work / f"{name}-{self.seed}.safetensors", self.fresh()
        run = {"name": name, "seed": self.seed, "epochs": epochs, "gamma": gamma, "settings": self.settings}
        if state := saved_state(path, run):
            model.load_state_dict(state[0])
            return model, state[1]
        with timed() as spent:
            self.train(model, epochs, gamma=gamma)
        save_state(path, run, model.state_dict(), spent)
        return model, spent

    def row(self, model: nn.Module, spent: dict) -> dict:
        """What is recorded of every network."""
        return spent | {
            "validation": training.evaluate(model, self.validation)[0],
            "accuracy": training.evaluate(model, self.images.test)[0],
            "parameters": sum(parameter.numel() for parameter in model.parameters()),
            "macs": cost.macs(model, self.example[:1]).dense,
            "latency": {str(size): self.latency(model, size) for size in (1, 100)},
        }

    def latency(self, model: nn.Module, size: int) -> dict[str, float]:
        """Seconds per image in batches of `size`, of the network and of the dense one in turns."""
        both = cost.latencies({"seconds": model, "dense": self.fresh()}, self.images.test[0][:size], 30, 3, None)
        return {name: taken.seconds / size for name, taken in both.items()}


def dense(case: Case) -> dict:
    """The whole network, all epochs."""
    return case.row(*case.kept("dense", case.epochs))


def dense_half(case: Case) -> dict:
    """The network that is cut after half of the epochs."""
    return case.row(*case.kept("half", case.half))


def filters_cut(case: Case, share: float) -> dict:
    """The share of filters with the smallest L1 norm, the same in each layer, is cut from the dense network."""
    return case.row(
        without_filters(case.kept("dense", case.epochs)[0], share, case.example), {"seconds": 0.0, "cpu_seconds": 0.0}
    )


def filters_recalibrated(case: Case, share: float) -> dict:
    """The same, then batch norm's statistics on training images."""
    small = without_filters(case.kept("dense", case.epochs)[0], share, case.example)
    with timed() as spent:
        recalibrate_(small, case)
    return case.row(small, spent)


def filters(case: Case, share: float) -> dict:
    """Cut after half of the epochs, trained through the other half."""
    half, before = case.kept("half", case.half)
    return retrained(case, without_filters(half, share, case.example), before)


def slimming_penalized(case: Case, gamma: float) -> dict:
    """Half of the epochs with the penalty; the accuracy of each cut from it decides which γ is retrained."""
    model, spent = case.kept(f"slimming-{gamma}", case.half, gamma)
    scales = slimming.scales(model)
    row = case.row(model, spent) | {"scales": values_of(scales)}
    for name, prepare in (("cut", lambda small, case: None), ("recalibrated", recalibrate_)):
        row[name] = []
        for share in SHARES:
            small = without_small_scales(model, share, case.example)
            prepare(small, case)
            row[name].append(training.evaluate(small, case.validation)[0])
    return row


def slimmed(case: Case, share: float, runs: list[dict]) -> dict:
    """Of the γ whose recalibrated cuts are best on validation images; cut after half of the epochs, then the rest."""
    tried = [run for run in runs if run["method"] == "slimming_penalized" and run["seed"] == case.seed]
    gamma = max(tried, key=lambda run: run["recalibrated"][SHARES.index(share)])["setting"]
    half, before = case.kept(f"slimming-{gamma}", case.half, gamma)
    return retrained(case, without_small_scales(half, share, case.example), before) | {"gamma": gamma}


def gated(case: Case, level: str, gamma: float) -> dict:
    """SSS: all epochs with gates; what has closed goes, and nothing is retrained."""
    model = sss.add_gates(case.fresh(), level)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that nothing closes, or a whole layer, is what the record shows
        with timed() as spent, training.channels_last(model):
            sss.train_gates(
                model,
                case.batches,
                gamma=gamma,
                lr=case.rate(case.epochs),
                epochs=case.epochs,
                seed=case.seed,
                momentum=case.settings["momentum"],
                weight_decay=case.settings["weight_decay"],
            )
        small = sss.remove_closed(model, case.example)
    return case.row(small, spent) | {
        "scales": values_of(sss.gates(model)),
        "closed": {name: indices.tolist() for name, indices in sss.closed(model).items()},
    }


def from_scratch(case: Case, level: str, gamma: float, runs: list[dict]) -> dict:
    """The shape that SSS found, all epochs from fresh weights."""
    (found,) = (run for run in runs if key(run) == (f"sss_{level}", gamma, case.seed))
    if not found["closed"]:
        return dense(case)
    model = sss.add_gates(case.fresh(), level)
    for name, indices in found["closed"].items():
        sss.gates(model)[name].data[indices] = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        small = models.initialize_(sss.remove_closed(model, case.example), case.seed)
    for module in small.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.reset_parameters()  # of a layer that has closed as a whole one channel of zeros is left
    with timed() as spent:
        case.train(small, case.epochs)
    return case.row(small, spent)


def retrained(case: Case, small: nn.Module, before: dict) -> dict:
    cut = training.evaluate(small, case.validation)[0]
    with timed() as spent:
        case.train(small, case.epochs - case.half, first=case.half)
    return case.row(small, {name: before[name] + spent[name] for name in spent}) | {"validation_cut": cut}


def without_filters(model: nn.Module, share: float, example: Tensor) -> nn.Module:
    """Only inside blocks, as Li et al. 2017 do: where SSS has its gates and Network Slimming its scales."""
    scores = score_units(model, "filter")
    scores = {name: scores[name] for name in slimming.scales(model)}
    return remove(model, example, choose_units(scores, share, "layer"))


def without_small_scales(model: nn.Module, share: float, example: Tensor) -> nn.Module:
    return remove(model, example, choose_units(slimming.scores(slimming.scales(model)), share, "global"))


def recalibrate_(model: nn.Module, case: Case) -> None:
    inputs = case.images.train[0][: RECALIBRATION * case.settings["batch_size"]]
    update_bn(inputs.split(case.settings["batch_size"]), model)


def augmented(images: Tensor, shift: int, generator: torch.Generator) -> Tensor:
    """Each image mirrored or not, and moved by up to `shift` pixels; what comes in is zero. In channels-last layout."""
    count, _, height, width = images.shape
    down, right = torch.randint(0, 2 * shift + 1, (2, count, 1), generator=generator)
    rows, columns = down + torch.arange(height), right + torch.arange(width)
    mirror = torch.rand(count, 1, generator=generator) < 0.5
    columns = torch.where(mirror, columns.flip(1), columns)
    padded = F.pad(images, (shift,) * 4)
    return padded[torch.arange(count)[:, None, None], :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def values_of(scales: dict[str, Tensor]) -> dict[str, list[float]]:
    """Three digits keep an exact zero apart from a small value."""
    return {name: [float(f"{value:.3g}") for value in scale.tolist()] for name, scale in scales.items()}


@contextmanager
def timed() -> Iterator[dict]:
    """Seconds of the clock, and of the processor, which a busy machine does not lengthen as much."""
    start, spent = (time.perf_counter(), time.process_time()), {}
    yield spent
    spent |= {"seconds": time.perf_counter() - start[0], "cpu_seconds": time.process_time() - start[1]}


METHODS: dict[str, tuple[Callable, list]] = {  # (case, setting, runs there are) -> row, and the settings
    "dense": (lambda case, setting, runs: dense(case), [None]),
    "dense_half": (lambda case, setting, runs: dense_half(case), [None]),
    "filters_cut": (lambda case, setting, runs: filters_cut(case, setting), SHARES),
    "filters_recalibrated": (lambda case, setting, runs: filters_recalibrated(case, setting), SHARES),
    "filters": (lambda case, setting, runs: filters(case, setting), SHARES),
    "sss_channel": (lambda case, setting, runs: gated(case, "channel", setting), GAMMAS["channel"]),
    "sss_block": (lambda case, setting, runs: gated(case, "block", setting), GAMMAS["block"]),
    "slimming_penalized": (lambda case, setting, runs: slimming_penalized(case, setting), GAMMAS["slimming"]),
    "slimming": (slimmed, SHARES),
    "scratch_channel": (lambda case, setting, runs: from_scratch(case, "channel", setting, runs), GAMMAS["channel"]),
    "scratch_block": (lambda case, setting, runs: from_scratch(case, "block", setting, runs), GAMMAS["block"]),
}


def key(run: dict) -> tuple:
    return run["method"], run["setting"], run["seed"]


def still_missing(runs: list[dict], seeds: list[int]) -> list[tuple]:
    """Seed by seed, so that what is there after an interruption is whole for some seeds."""
    wanted = [(name, setting, seed) for seed in seeds for name, (_, tried) in METHODS.items() for setting in tried]
    return [one for one in wanted if one not in set(map(key, runs))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", default="cifar10", help="a name in pruning_lib.workbench.data, or imagefolder:FOLDER")
    parser.add_argument("--out", type=Path, default=CHECKOUT / "figures" / "measured" / "03_sss_cifar.json")
    parser.add_argument("--work", type=Path, default=CHECKOUT / "runs" / "sss_frontier")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    for name in ("epochs", "width", "validation"):
        parser.add_argument(f"--{name}", type=int, default=SETTINGS[name])
    parser.add_argument("--list", action="store_true", help="say what is missing and end")
    given = parser.parse_args()
    torch.set_num_threads(1)
    try:
        make(given)
    except (ValueError, OSError) as error:
        raise SystemExit(f"{parser.prog}: {error}") from None


def make(given: argparse.Namespace) -> None:
    """Add the missing runs to the file, and print them."""
    check_at_least(2, epochs=given.epochs)
    check_at_least(1, width=given.width)
    check_at_least(0, seeds=min(given.seeds))
    images = data.load(given.data)
    inputs, targets = images.train
    if not 0 < given.validation < len(targets):
        raise ValueError(f"validation is {given.validation}, must be from 1 to {len(targets) - 1} training images")
    validation = inputs[-given.validation :], targets[-given.validation :]
    images = replace(images, train=(inputs[: -given.validation], targets[: -given.validation]))
    settings = SETTINGS | {name: getattr(given, name) for name in ("epochs", "width", "validation")}
    settings = (
        {"data": images.name, "train_samples": len(images.train[1])} | settings | {"recalibration": RECALIBRATION}
    )
    with records.locked(given.out):
        runs = records.runs_in(given.out, settings)
        missing = still_missing(runs, given.seeds)
        if given.list:
            print(f"{len(runs)} runs done, {len(missing)} missing", *missing, sep="\n")
            return
        for name, setting, seed in missing:
            case = Case(images, validation, settings, given.work, seed)
            run = {"method": name, "setting": setting, "seed": seed} | METHODS[name][0](case, setting, runs)
            runs.append(run)
            records.write_runs(given.out, __doc__.split("\n")[0], settings, runs)
            shown = f"{run['accuracy']:.4f} (validation {run['validation']:.4f}) at {run['macs'] / 1e6:.2f} M MACs"
            print(f"{name} {setting} seed {seed}: {shown}, {run['seconds']:.0f} s", flush=True)


if __name__ == "__main__":
    main()
