"""Sparse structure selection beside its rivals on CIFAR-10: accuracy over multiply–accumulates and over seconds.

    python benchmarks/sss_frontier.py [--data imagefolder:FOLDER] [--seeds 0 1 2] [--work runs/sss_frontier] [--list]
                                      [--out figures/measured/03_sss_cifar.json]

A ResNet-20 of half width. Whatever is compared has seen the same number of epochs when it is tested: SSS all of them
with gates, the shapes that it found all of them from fresh weights, L1 filters and Network Slimming half of them before
the cut and half of them after; L1 filters as cut, and with only batch norm's statistics taken anew, all before it.
γ is chosen on images set apart from the training set, never on the test set.

Each finished run is added to the file at once; started again with the same settings, the missing ones are made, and the
training that was stopped goes on after its last whole epoch, kept in --work. If that folder is lost, networks that
others start from are trained again.
"""

import argparse
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.swa_utils import update_bn
from tqdm import tqdm

from pruning_lib.acceleration import cost
from pruning_lib.checks import check_at_least
from pruning_lib.during_training import slimming, sss
from pruning_lib.during_training.proximal import ProximalSGD
from pruning_lib.files import CHECKOUT
from pruning_lib.reproduction import records
from pruning_lib.resuming import save_state, saved_state
from pruning_lib.structure import choose_units, remove, score_units
from pruning_lib.workbench import data, models, training

GAMMAS = {
    "block": [0.01, 0.025, 0.05, 0.1],
    "channel": [0.001, 0.0025, 0.005, 0.01],
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

    def train(self, name: str, model: nn.Module, epochs: int, first: int = 0, gamma: float = 0.0) -> dict[str, float]:
        """Train `model` in place through the epochs from `first`; the seconds it took, by the clock and the processor.

        γ is the weight of the L1 penalty: on the gates, which ProximalSGD trains as `sss.train_gates` does; without
        gates on batch norm's scales, by subgradient. After each epoch all is kept under `name` in the work folder.
        """
        path = self.work / f"{name}-{self.seed}.safetensors"
        gates, momentum, decay = sss.gates(model), self.settings["momentum"], self.settings["weight_decay"]
        weights = [weight for weight in model.parameters() if all(weight is not gate for gate in gates.values())]
        optimizers = [torch.optim.SGD(weights, self.settings["peak_lr"], momentum, weight_decay=decay, nesterov=True)]
        if gates:
            optimizers.append(ProximalSGD(gates.values(), self.settings["peak_lr"], momentum, gamma))
        scales = slimming.scales(model) if gamma and not gates else {}
        run = {"name": name, "seed": self.seed, "epochs": epochs, "first": first, "gamma": gamma}
        run["settings"] = self.settings
        done, spent = 0, {"seconds": 0.0, "cpu_seconds": 0.0}
        if state := saved_state(path, run):
            put_back(state[0], model, optimizers)
            done, spent = state[1]["epochs"], state[1]["spent"]
        rate = self.rate(epochs)
        model.train()
        with training.channels_last(model):
            for epoch in tqdm(range(done, epochs), name, leave=False, initial=done, total=epochs):
                start = time.perf_counter(), time.process_time()
                for optimizer in optimizers:
                    optimizer.param_groups[0]["lr"] = rate(epoch)
                for inputs, targets in self.batches(first + epoch):
                    loss = F.cross_entropy(model(inputs), targets)
                    if scales:
                        loss = loss + slimming.penalty(scales, gamma)
                    for optimizer in optimizers:
                        optimizer.zero_grad()
                    loss.backward()
                    for optimizer in optimizers:
                        optimizer.step()
                if not loss.isfinite():
                    raise ValueError(f"loss of {name} is {loss.item()} after epoch {epoch}, must be finite")
                if gates and epoch == epochs - 1:
                    optimizers[1].settle_()
                spent["seconds"] += time.perf_counter() - start[0]
                spent["cpu_seconds"] += time.process_time() - start[1]
                save_state(path, run, state_of(model, optimizers), {"epochs": epoch + 1, "spent": spent})
        return spent

    def trained(self, name: str, epochs: int, gamma: float = 0.0) -> tuple[nn.Module, dict[str, float]]:
        """A fresh network after so many epochs, from the work folder if it is there."""
        model = self.fresh()
        return model, self.train(name, model, epochs, gamma=gamma)

    def row(self, model: nn.Module, spent: dict) -> dict:
        """What is recorded of every network: `seconds` is what this run took, `cpu_seconds` all of its training."""
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


# Each of these makes the row of one method: (case, setting, the rows there are) -> row.


def dense(case: Case, setting: None, runs: list[dict]) -> dict:
    """The whole network, all epochs."""
    return case.row(*case.trained("dense", case.epochs))


def dense_half(case: Case, setting: None, runs: list[dict]) -> dict:
    """The network that is cut after half of the epochs."""
    return case.row(*case.trained("half", case.half))


def filters_cut(case: Case, share: float, runs: list[dict]) -> dict:
    """The share of filters with the smallest L1 norm, the same in each layer, is cut from the dense network."""
    model, before = case.trained("dense", case.epochs)
    return case.row(without_filters(model, share, case.example), before | {"seconds": 0.0})


def filters_recalibrated(case: Case, share: float, runs: list[dict]) -> dict:
    """The same, then batch norm's statistics on training images."""
    model, before = case.trained("dense", case.epochs)
    small = without_filters(model, share, case.example)
    recalibrate_(small, case)
    return case.row(small, before | {"seconds": 0.0})


def filters(case: Case, share: float, runs: list[dict]) -> dict:
    """Cut after half of the epochs, trained through the other half."""
    half, before = case.trained("half", case.half)
    return retrained(case, f"filters-{share}", without_filters(half, share, case.example), before)


def slimming_penalized(case: Case, gamma: float, runs: list[dict]) -> dict:
    """Half of the epochs with the penalty; the accuracy of each cut from it decides which γ is retrained."""
    model, spent = case.trained(f"penalized-{gamma}", case.half, gamma)
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
    half, before = case.trained(f"penalized-{gamma}", case.half, gamma)
    small = without_small_scales(half, share, case.example)
    return retrained(case, f"slimming-{share}", small, before) | {"gamma": gamma}


def gated(level: str, case: Case, gamma: float, runs: list[dict]) -> dict:
    """SSS: all epochs with gates; what has closed goes, and nothing is retrained."""
    model = sss.add_gates(case.fresh(), level)
    spent = case.train(f"sss_{level}-{gamma}", model, case.epochs, gamma=gamma)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a whole layer closes is what the record shows
        small = sss.remove_closed(model, case.example)
    return case.row(small, spent) | {
        "scales": values_of(sss.gates(model)),
        "closed": {name: indices.tolist() for name, indices in sss.closed(model).items()},
    }


def from_scratch(level: str, case: Case, gamma: float, runs: list[dict]) -> dict:
    """The shape that SSS found, all epochs from fresh weights."""
    (found,) = (run for run in runs if key(run) == (f"sss_{level}", gamma, case.seed))
    if not found["closed"]:
        return dense(case, None, runs)
    model = sss.add_gates(case.fresh(), level)
    for name, indices in found["closed"].items():
        sss.gates(model)[name].data[indices] = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        small = models.initialize_(sss.remove_closed(model, case.example), case.seed)
    for module in small.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.reset_parameters()  # of a layer that has closed as a whole one channel of zeros is left
    return case.row(small, case.train(f"scratch_{level}-{gamma}", small, case.epochs))


def retrained(case: Case, name: str, small: nn.Module, before: dict[str, float]) -> dict:
    """Through the epochs that are left."""
    cut = training.evaluate(small, case.validation)[0]
    spent = case.train(name, small, case.epochs - case.half, first=case.half)
    spent["cpu_seconds"] += before["cpu_seconds"]
    return case.row(small, spent) | {"validation_cut": cut}


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
    """Each image mirrored or not, and moved by up to `shift` pixels; what comes in is zero."""
    count, _, height, width = images.shape
    down, right = torch.randint(0, 2 * shift + 1, (2, count, 1), generator=generator)
    rows, columns = down + torch.arange(height), right + torch.arange(width)
    mirror = torch.rand(count, 1, generator=generator) < 0.5
    columns = torch.where(mirror, columns.flip(1), columns)
    padded = F.pad(images, (shift,) * 4)
    moved = padded[torch.arange(count)[:, None, None], :, rows[:, :, None], columns[:, None, :]]
    return moved.permute(0, 3, 1, 2).clone(memory_format=torch.contiguous_format)


def values_of(scales: dict[str, Tensor]) -> dict[str, list[float]]:
    """Three digits keep an exact zero apart from a small value."""
    return {name: [float(f"{value:.3g}") for value in scale.tolist()] for name, scale in scales.items()}


def state_of(model: nn.Module, optimizers: list[torch.optim.Optimizer]) -> dict[str, Tensor]:
    """What training goes on from: the network, and what each optimizer keeps of each of its parameters."""
    kept = {
        f"optimizer.{number}.{index}.{name}": value
        for number, optimizer in enumerate(optimizers)
        for index, state in optimizer.state_dict()["state"].items()
        for name, value in state.items()
    }
    return {f"model.{name}": value for name, value in model.state_dict().items()} | kept


def put_back(tensors: dict[str, Tensor], model: nn.Module, optimizers: list[torch.optim.Optimizer]) -> None:
    states: list[dict] = [{} for _ in optimizers]
    for name, value in tensors.items():
        if name.startswith("optimizer."):
            _, number, index, key = name.split(".")
            states[int(number)].setdefault(int(index), {})[key] = value
    model.load_state_dict({k.removeprefix("model."): v for k, v in tensors.items() if k.startswith("model.")})
    for optimizer, state in zip(optimizers, states, strict=True):
        optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


METHODS = {  # what makes the row, and the settings
    "dense": (dense, [None]),
    "dense_half": (dense_half, [None]),
    "sss_channel": (partial(gated, "channel"), GAMMAS["channel"]),
    "sss_block": (partial(gated, "block"), GAMMAS["block"]),
    "filters_cut": (filters_cut, SHARES),
    "filters_recalibrated": (filters_recalibrated, SHARES),
    "filters": (filters, SHARES),
    "slimming_penalized": (slimming_penalized, GAMMAS["slimming"]),
    "slimming": (slimmed, SHARES),
    "scratch_channel": (partial(from_scratch, "channel"), GAMMAS["channel"]),
    "scratch_block": (partial(from_scratch, "block"), GAMMAS["block"]),
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
