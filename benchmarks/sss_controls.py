"""Does the choice of blocks matter? SSS on digits beside its own blocks and random ones, cut from the dense network.

    python benchmarks/sss_controls.py [--out figures/measured/03_sss_controls.json] [--seeds 0 1 2] [--threads 1]

The network and its training are those of sss_sweep.py. Each rival then trains for a few epochs more, as all the others.
The random draws take out as many blocks as SSS and share at most one with it. *Closed slowly*: no penalty, but the
gates of these blocks go evenly from one to zero while the rest of a fresh network learns around them. *Linear*, one
layer on the pixels, is the floor. Each finished run is added to the file at once; started again with the same settings,
it makes only the missing ones, and trains anew the dense network that they start from.
"""

import argparse
import copy
import itertools
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import sss_sweep
import torch
from sss_sweep import fresh, removed, size, train
from torch import Tensor, nn
from torch.nn import functional as F

from pruning_lib.during_training import sss
from pruning_lib.files import CHECKOUT
from pruning_lib.reproduction import records
from pruning_lib.workbench import data, models, training

CONTROLS = {"gamma": 0.1, "more_epochs": 4, "draws": 10, "shared": 1}
SLOW = 5  # of the draws, that many are closed slowly, too


class Seed:
    """Networks of one seed that several cases start from, each trained when it is first asked for."""

    def __init__(self, images: data.Data, seed: int):
        self.images, self.seed, self._made = images, seed, {}
        self.own: list[str] | None = None  # the blocks that SSS has closed, if it is known from the file

    def network(self, name: str) -> nn.Module:
        """Dense, SSS with its gates, or with gates that autograd has penalized."""
        if name not in self._made:
            if name == "SSS":
                network = sss_sweep.with_gates(self.images, "block", CONTROLS["gamma"], self.seed)[0]
            elif name == "penalty":
                network = sss.add_gates(fresh(self.images, self.seed), "block")
                train_penalized(network, self.images, self.seed)
            else:
                network = fresh(self.images, self.seed)
                train(network, self.images, self.seed)
            self._made[name] = network
        return copy.deepcopy(self._made[name])

    def linear(self) -> nn.Module:
        network = nn.Sequential(nn.Flatten(), nn.LazyLinear(len(self.images.classes)))
        network(self.images.test[0][:1])
        train(new_weights_(network, self.seed), self.images, self.seed)
        return network

    def start(self, case: str) -> tuple[nn.Module, list[str]] | None:
        """The network of this case before its last epochs, and the blocks it has lost; None if no draw is left."""
        if case == "dense":
            return self.network("dense"), []
        if case == "linear":
            return self.linear(), []
        own = list(sss.closed(self.network("SSS"))) if self.own is None else self.own
        if case == "SSS":
            return removed(self.network("SSS"), self.images), own
        if case == "from scratch":
            shape = without(sss.add_gates(fresh(self.images, self.seed), "block"), own, self.images)
            train(new_weights_(shape, self.seed + 1), self.images, self.seed)
            return shape, own
        if case == "penalty, then cut":
            gated = self.network("penalty")
            size_of = {name: gate.abs().item() for name, gate in sss.gates(gated).items()}
            lost = sorted(size_of, key=size_of.get)[: len(own)]
            return without(gated, lost, self.images), lost
        slowly, lost = case.endswith("closed slowly"), own
        gated = sss.add_gates(fresh(self.images, self.seed) if slowly else self.network("dense"), "block")
        if case.startswith("random blocks"):
            drawn = draws(list(sss.gates(gated)), own, CONTROLS["draws"], self.seed)
            number = int(case.removesuffix(", closed slowly").split()[-1])
            if number > len(drawn):
                return None
            lost = drawn[number - 1]
        if slowly:
            train_closing(gated, lost, self.images, self.seed)
        return without(gated, lost, self.images), lost


def cases() -> list[str]:
    random = [f"random blocks, draw {number}" for number in range(1, CONTROLS["draws"] + 1)]
    slowly = [f"{case}, closed slowly" for case in ("same blocks", *random[:SLOW])]
    fixed = ["dense", "linear", "SSS", "same blocks", "same blocks, all epochs", "from scratch", "penalty, then cut"]
    return [*fixed, *random, *slowly]


def draws(blocks: list[str], own: list[str], count: int, seed: int) -> list[tuple[str, ...]]:
    """Up to `count` different sets, as many blocks as `own`, of which at most `shared` are among them."""
    sets = itertools.combinations(blocks, len(own))
    possible = [one for one in sets if len(set(one) & set(own)) <= CONTROLS["shared"]]
    order = torch.randperm(len(possible), generator=torch.Generator().manual_seed(seed))[:count]
    return [possible[index] for index in order]


def train_penalized(gated: nn.Module, images: data.Data, seed: int) -> None:
    """As SSS, but autograd differentiates the penalty, too, and Nesterov's SGD trains the gates."""
    gates = list(sss.gates(gated).values())
    train_gated(gated, images, seed, penalty=lambda: CONTROLS["gamma"] * sum(gate.abs().sum() for gate in gates))


def train_closing(gated: nn.Module, lost: list[str], images: data.Data, seed: int) -> None:
    """As SSS, without its penalty: the gates of `lost` fall evenly from 1 to 0 by the decay of the learning rate."""
    gates, settings = [sss.gates(gated)[name] for name in lost], sss_sweep.SETTINGS
    last = max(1, int(settings["milestones"][0] * settings["epochs"] * len(sss_sweep.batches(images, seed, 0))))
    steps = itertools.count()

    def close() -> float:
        left = max(0.0, 1 - next(steps) / last)
        for gate in gates:
            gate.data.fill_(left)
        return 0.0

    train_gated(gated, images, seed, penalty=close)


def train_gated(gated: nn.Module, images: data.Data, seed: int, penalty: Callable[[], float | Tensor]) -> None:
    """Nesterov's SGD for weights and gates, these without weight decay; `penalty` is called before each step."""
    gates = list(sss.gates(gated).values())
    weights = [weight for weight in gated.parameters() if all(weight is not gate for gate in gates)]
    sgd = partial(torch.optim.SGD, lr=sss_sweep.rate(0), momentum=sss_sweep.SETTINGS["momentum"], nesterov=True)
    optimizer = sgd([{"params": weights, "weight_decay": sss_sweep.SETTINGS["weight_decay"]}, {"params": gates}])
    gated.train()
    for epoch in range(sss_sweep.SETTINGS["epochs"]):
        for group in optimizer.param_groups:
            group["lr"] = sss_sweep.rate(epoch)
        for inputs, targets in sss_sweep.batches(images, seed, epoch):
            optimizer.zero_grad()
            added = penalty()
            (F.cross_entropy(gated(inputs), targets) + added).backward()
            optimizer.step()


def without(gated: nn.Module, lost: list[str], images: data.Data) -> nn.Module:
    for name, gate in sss.gates(gated).items():
        if name in lost:
            gate.data.zero_()
    return removed(gated, images)


def new_weights_(network: nn.Module, seed: int) -> nn.Module:
    models.initialize_(network, seed)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.reset_parameters()
    return network


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=CHECKOUT / "figures" / "measured" / "03_sss_controls.json")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--threads", type=int, default=1, help="one gives the same numbers on every run")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    with records.locked(given.out):
        make(given)


def make(given: argparse.Namespace) -> None:
    """Make the cases that the file does not hold yet, and print them."""
    settings = sss_sweep.SETTINGS | CONTROLS
    images = data.load(settings["data"])
    runs = records.runs_in(given.out, settings)
    made = {(run["case"], run["seed"]) for run in runs}
    for seed in given.seeds:
        one = Seed(images, seed)
        one.own = next((run["blocks"] for run in runs if (run["case"], run["seed"]) == ("SSS", seed)), None)
        for case in cases():
            if (case, seed) in made:
                continue
            start = time.process_time()
            if not (started := one.start(case)):
                continue
            network, lost = started
            before = training.evaluate(network, images.test)[0]
            if case.endswith("all epochs"):
                train(network, images, seed)
            chosen = {name: settings[name] for name in ("momentum", "weight_decay", "batch_size")}
            options = {"schedule": "constant", "seed": seed, "progress": False}
            training.fit(network, images, settings["more_epochs"], lr=settings["lr"] / 10, **options, **chosen)
            run = {"case": case, "seed": seed, "blocks": list(lost), "before": before}
            run["accuracy"] = training.evaluate(network, images.test)[0]
            run |= size(network, images.test[0][:1]) | {"seconds": time.process_time() - start}
            runs.append(run)
            records.write_runs(given.out, __doc__.split("\n")[0], settings, runs)
            print(f"{case:>24}, seed {seed}: {before:.4f}, then {run['accuracy']:.4f}; {', '.join(lost)}", flush=True)


if __name__ == "__main__":
    main()
