"""Does the choice of blocks matter? SSS beside its own blocks and drawn ones, cut from the dense network.

    python benchmarks/sss_controls.py [--data mnist] [--out figures/measured/FILE.json] [--seeds 0 1 ...] [--threads 1]

On digits the network and its training are those of sss_sweep.py; on MNIST (PRUNING_LIB_DATA names its folder) a
narrower network sees few images, so that all runs take minutes. Each rival then trains for a few epochs more, as all
the others. The draws take out as many blocks as SSS: *random* ones share at most one block with its set, *uniform* ones
may be any other set, and of *matched* ones the networks have its parameters, too, within a tenth (notebook 03b shows
these two). *Closed slowly*: no penalty, but the gates of these blocks go evenly from one to zero while the rest of a
fresh network learns around them. *From scratch*: the shape without these blocks, trained as long. *Linear*, one layer
on the pixels, is the floor. Each finished run is added to the file at once; started again with the same settings, it
makes only the missing ones, and trains anew the dense network that they start from.
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
MNIST = {"data": "mnist", "train_samples": 3000, "test_samples": 5000, "width": 4, "epochs": 8}
MNIST_CONTROLS = {"gamma": 0.2, "more_epochs": 2, "draws": 6}
WITHIN = 0.1  # a matched draw has the parameters of SSS's network up to that share
FILES = {"digits": "03_sss_controls.json", "mnist": "03_sss_controls_mnist.json"}


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
        if case == "penalty, then cut":
            gated = self.network("penalty")
            size_of = {name: gate.abs().item() for name, gate in sss.gates(gated).items()}
            lost = sorted(size_of, key=size_of.get)[: len(own)]
            return without(gated, lost, self.images), lost
        slowly, anew, lost = case.endswith("closed slowly"), case.endswith("from scratch"), own
        gated = sss.add_gates(self.network("dense") if not slowly | anew else fresh(self.images, self.seed), "block")
        if ", draw " in case:
            kind, number = case.split()[0], int(case.split(", ")[1].split()[-1])
            drawn = draws(kind, fresh(self.images, self.seed), own, self.seed)[: CONTROLS["draws"]]
            if number > len(drawn):
                return None
            lost = list(drawn[number - 1])
        if slowly:
            train_closing(gated, lost, self.images, self.seed)
        network = without(gated, lost, self.images)
        if anew:
            train(new_weights_(network, self.seed + 1), self.images, self.seed)
        return network, lost


def cases(name: str = "digits") -> list[str]:
    def drawn(kind: str, count: int = CONTROLS["draws"], how: str = "") -> list[str]:
        return [f"{kind} blocks, draw {number}{how}" for number in range(1, count + 1)]

    half = (CONTROLS["draws"] + 1) // 2  # of the draws
    fixed, far, slowly = ["dense", "linear", "SSS", "same blocks", "from scratch"], [], ["same blocks, closed slowly"]
    if name == "digits":
        fixed += ["same blocks, all epochs", "penalty, then cut"]
        far, slowly = drawn("random"), slowly + drawn("random", half, ", closed slowly")
    ways = [drawn("matched", half, f", {how}") for how in ("closed slowly", "from scratch")]
    return [*fixed, *far, *slowly, *drawn("matched"), *drawn("uniform"), *ways[0], *ways[1]]


def draws(kind: str, network: nn.Module, own: list[str], seed: int) -> list[tuple[str, ...]]:
    """All sets of this kind with as many residual blocks as `own`, in mixed order."""
    branch = {  # parameters that go with the block; its shortcut stays
        name: sum(weight.numel() for part, weight in block.named_parameters() if not part.startswith("shortcut"))
        for name, block in network.named_modules()
        if isinstance(block, models.ResidualBlock)
    }
    total = sum(weight.numel() for weight in network.parameters())

    def fits(one: tuple[str, ...]) -> bool:
        shared = len(set(one) & set(own))
        if kind == "random":
            return shared <= CONTROLS["shared"]
        left, aim = (total - sum(branch[name] for name in names) for names in (one, own))
        return shared < len(own) and (kind == "uniform" or abs(left - aim) <= WITHIN * aim)

    possible = [one for one in itertools.combinations(branch, len(own)) if fits(one)]
    order = torch.randperm(len(possible), generator=torch.Generator().manual_seed(seed))
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
    parser.add_argument("--data", choices=FILES, default="digits")
    parser.add_argument("--out", type=Path, help="default: the record of the data in figures/measured")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(8)))
    parser.add_argument("--threads", type=int, default=1, help="one gives the same numbers on every run")
    given = parser.parse_args()
    given.out = given.out or CHECKOUT / "figures" / "measured" / FILES[given.data]
    if given.data == "mnist":
        sss_sweep.SETTINGS.update(MNIST)
        CONTROLS.clear()
        CONTROLS.update(MNIST_CONTROLS)
    torch.set_num_threads(given.threads)
    with records.locked(given.out):
        make(given)


def first(images: data.Data, settings: dict) -> data.Data:
    """As many images as `settings` names; all, if none are named."""
    kept = {
        part: tuple(values[: settings.get(f"{part}_samples")] for values in getattr(images, part))
        for part in ("train", "test")
    }
    return data.Data(images.name, kept["train"], kept["test"], images.classes)


def make(given: argparse.Namespace) -> None:
    """Make the cases that the file does not hold yet, and print them."""
    settings = sss_sweep.SETTINGS | CONTROLS
    images = first(data.load(settings["data"]), settings)
    runs = records.runs_in(given.out, settings)
    made = {(run["case"], run["seed"]) for run in runs}
    for seed in given.seeds:
        one = Seed(images, seed)
        one.own = next((run["blocks"] for run in runs if (run["case"], run["seed"]) == ("SSS", seed)), None)
        for case in cases(settings["data"]):
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
