"""Sparse structure selection on digits beside its controls: is it the chosen structures that count, or only the size?

    python benchmarks/sss_controls.py [--out figures/measured/03_sss_controls.json] [--seeds 0 1 2]

At both levels the network that SSS leaves meets networks of the same size that were chosen otherwise:

    blocks      same: the blocks that SSS closed leave the dense network
                random: as many blocks, drawn by chance, leave it (several draws)
                autograd: the same penalty, differentiated by autograd, then a cut at |λ| < 0.01
    channels    l1, random: the same shape is cut from the dense network, by filter norms or by chance
                uniform: the same share of every layer stays, at equal MACs; from fresh weights
    both        scratch: the shape that SSS found, from fresh weights

Each is tested twice: as it is (`cut`), and after a few more epochs (`accuracy`), the same for all, the dense network
included. So at the second test all have seen the same number of epochs. `wrong` lists the test images it misreads then,
for counts in pairs. Settings are those of sss_sweep.py. Each finished run is added to the file at once; started again
with the same settings, the script makes only the missing ones.
"""

import argparse
import copy
import time
import warnings
from collections.abc import Callable
from functools import cached_property
from pathlib import Path

import torch
from sss_sweep import SETTINGS as SWEEP
from sss_sweep import fresh, size
from torch import Tensor, nn
from torch.nn import functional as F

from pruning_lib.during_training import sss
from pruning_lib.files import CHECKOUT
from pruning_lib.reproduction import records
from pruning_lib.structure import choose_units, remove, score_units
from pruning_lib.workbench import data, models, training

SETTINGS = SWEEP | {"gamma_block": 0.1, "gamma_channel": 0.015, "more_epochs": 4, "cut_below": 0.01}
DRAWS = 3


class Case:
    """One seed; what several runs start from is trained once."""

    def __init__(self, images: data.Data, seed: int):
        self.images, self.seed, self.example = images, seed, images.test[0][:2]

    def fit(self, network: nn.Module, epochs: int, lr: float, **options) -> nn.Module:
        chosen = {name: SETTINGS[name] for name in ("momentum", "weight_decay", "batch_size")}
        training.fit(network, self.images, epochs, lr=lr, seed=self.seed, progress=False, **chosen, **options)
        return network

    def trained(self, network: nn.Module) -> nn.Module:
        return self.fit(network, SETTINGS["epochs"], SETTINGS["lr"], milestones=tuple(SETTINGS["milestones"]))

    def batches(self, epoch: int) -> list:
        return list(data.batches(self.images.train, SETTINGS["batch_size"], self.seed * 1_000_003 + epoch))

    def rate(self, epoch: int) -> float:
        return SETTINGS["lr"] * 0.1 ** sum(epoch >= m * SETTINGS["epochs"] for m in SETTINGS["milestones"])

    @cached_property
    def dense(self) -> nn.Module:
        return self.trained(fresh(self.images, self.seed))

    def gated(self, level: str) -> nn.Module:
        gated = sss.add_gates(fresh(self.images, self.seed), level)
        options = {"momentum": SETTINGS["momentum"], "weight_decay": SETTINGS["weight_decay"], "progress": False}
        gamma, epochs = SETTINGS[f"gamma_{level}"], SETTINGS["epochs"]
        sss.train_gates(gated, self.batches, gamma=gamma, lr=self.rate, epochs=epochs, seed=self.seed, **options)
        return gated

    @cached_property
    def by_blocks(self) -> nn.Module:
        return self.gated("block")

    @cached_property
    def by_channels(self) -> nn.Module:
        return self.gated("channel")

    def small(self, gated: nn.Module) -> nn.Module:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that a layer closes as a whole
            return sss.remove_closed(gated, self.example)

    def without_blocks(self, names: list[str]) -> nn.Module:
        """The dense network with these blocks closed and taken out."""
        gated = sss.add_gates(self.dense, "block")
        for name in names:
            sss.gates(gated)[name].data.zero_()
        return self.small(gated)

    def widths(self) -> dict[str, tuple[int, int]]:
        """Of each layer with gates: how many channels go (one stays at least), and how many there are."""
        closed = sss.closed(self.by_channels)
        total = {name: len(scale) for name, scale in sss.gates(self.by_channels).items()}
        return {name: (min(len(closed.get(name, ())), count - 1), count) for name, count in total.items()}

    def cut_filters(self, scores: dict[str, Tensor]) -> nn.Module:
        """The dense network without its lowest filters, as many of each layer as SSS closed."""
        units = {}
        for name, (gone, count) in self.widths().items():
            units |= choose_units({name: scores[name]}, gone / count)
        return remove(self.dense, self.example, units)

    def renewed(self, network: nn.Module) -> nn.Module:
        network = models.initialize_(copy.deepcopy(network), seed=self.seed + 1)
        for norm in (module for module in network.modules() if isinstance(module, nn.BatchNorm2d)):
            norm.reset_parameters()
        return self.trained(network)


def random_blocks(case: Case, draw: int) -> nn.Module:
    names, count = list(sss.gates(case.by_blocks)), len(sss.closed(case.by_blocks))
    order = torch.randperm(len(names), generator=torch.Generator().manual_seed(1000 * case.seed + draw))
    return case.without_blocks([names[index] for index in order[:count]])


def random_filters(case: Case) -> nn.Module:
    generator = torch.Generator().manual_seed(case.seed)
    return case.cut_filters({name: torch.rand(n, generator=generator) for name, (_, n) in case.widths().items()})


def uniform(case: Case) -> nn.Module:
    """The share of channels, the same of every layer, whose MACs come nearest to those of the shape that SSS found."""
    plain, x = fresh(case.images, case.seed), case.example[:1]
    target, tried = size(case.small(case.by_channels), x)["macs"], []
    for share in range(1, 16):
        gone = {name: torch.arange(n - max(1, round(n * share / 16))) for name, (_, n) in case.widths().items()}
        network = remove(plain, case.example, {name: index for name, index in gone.items() if len(index)})
        tried.append((abs(size(network, x)["macs"] - target), share, network))
    return case.renewed(min(tried, key=lambda one: one[:2])[2])


def autograd(case: Case) -> nn.Module:
    """Gates at block level whose penalty autograd differentiates, with |λ| below the cut set to zero afterwards."""
    gated = sss.add_gates(fresh(case.images, case.seed), "block")
    gates = list(sss.gates(gated).values())
    weights = [p for p in gated.parameters() if all(p is not gate for gate in gates)]
    groups = [{"params": weights, "weight_decay": SETTINGS["weight_decay"]}, {"params": gates, "weight_decay": 0.0}]
    optimizer = torch.optim.SGD(groups, SETTINGS["lr"], SETTINGS["momentum"], nesterov=True)
    gated.train()
    for epoch in range(SETTINGS["epochs"]):
        for group in optimizer.param_groups:
            group["lr"] = case.rate(epoch)
        for inputs, targets in case.batches(epoch):
            loss = F.cross_entropy(gated(inputs), targets) + SETTINGS["gamma_block"] * torch.cat(gates).abs().sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return gated


METHODS: dict[str, Callable[[Case], nn.Module]] = {
    "dense": lambda case: copy.deepcopy(case.dense),
    "blocks, SSS": lambda case: case.small(case.by_blocks),
    "blocks, same": lambda case: case.without_blocks(list(sss.closed(case.by_blocks))),
    "blocks, scratch": lambda case: case.renewed(case.small(case.by_blocks)),
    **{f"blocks, random {draw}": lambda case, draw=draw: random_blocks(case, draw) for draw in range(DRAWS)},
    "blocks, autograd": autograd,
    "channels, SSS": lambda case: case.small(case.by_channels),
    "channels, scratch": lambda case: case.renewed(case.small(case.by_channels)),
    "channels, uniform": uniform,
    "channels, l1": lambda case: case.cut_filters(score_units(case.dense, "filter", "l1", case.example)),
    "channels, random": random_filters,
}


def run(case: Case, method: str) -> dict:
    start = time.process_time()
    network, found = METHODS[method](case), {"method": method, "seed": case.seed}
    if sss.gates(network):  # autograd's, all open still
        scales = sss.gates(network)
        found["zeros"] = sum(int((scale == 0).sum()) for scale in scales.values())
        found["scales"] = {name: float(f"{scale.item():.3g}") for name, scale in scales.items()}
        found["uncut"] = training.evaluate(network, case.images.test)[0]
        for scale in scales.values():
            scale.data[scale.data.abs() < SETTINGS["cut_below"]] = 0
        network = case.small(network) if sss.closed(network) else sss.fold_gates(network)
    if method == "blocks, SSS":
        found["closed"] = list(sss.closed(case.by_blocks))
    if method == "channels, SSS":
        found["widths"] = {name: [count - gone, count] for name, (gone, count) in case.widths().items()}
    found["cut"] = training.evaluate(network, case.images.test)[0]
    case.fit(network, SETTINGS["more_epochs"], SETTINGS["lr"] / 10, schedule="constant")
    inputs, targets = case.images.test
    with torch.no_grad():
        wrong = (network.eval()(inputs).argmax(dim=1) != targets).nonzero().flatten().tolist()
    found |= {"accuracy": (len(targets) - len(wrong)) / len(targets), "wrong": wrong, **size(network, inputs[:1])}
    return found | {"seconds": round(time.process_time() - start, 1)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=CHECKOUT / "figures" / "measured" / "03_sss_controls.json")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    given = parser.parse_args()
    torch.set_num_threads(1)
    with records.locked(given.out):
        images, runs = data.load(SETTINGS["data"]), records.runs_in(given.out, SETTINGS)
        for seed in given.seeds:
            case = Case(images, seed)
            for method in (name for name in METHODS if (name, seed) not in {(r["method"], r["seed"]) for r in runs}):
                runs.append(run(case, method))
                records.write_runs(given.out, __doc__.split("\n")[0], SETTINGS, runs)
                last = runs[-1]
                print(f"{method}, seed {seed}: {last['cut']:.4f}, then {last['accuracy']:.4f}", flush=True)


if __name__ == "__main__":
    main()
