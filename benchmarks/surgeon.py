"""Ten different networks on notebook 04's digits: who chooses the next weight to go, and what the others do then.

    python benchmarks/surgeon.py [--out figures/measured/04_surgeon.json] [--networks 10] [--threads 1]

A network of 118 weights is trained to a minimum of error plus penalty and loses 100 of them, one after the other. Seeds
are drawn from 0 on; one that ends in an earlier seed's minimum is that network again, and is passed over.
"once" computes H at the minimum and downdates it; all other ways take it anew before each deletion. "newton" puts the
first-order term back: q is chosen as before, then all others go to the bottom of the bowl, and on from there by OBS-5.
"trained" trains what is left after every 20 deletions; between these OBS's others follow, and magnitude's stay, as each
method is defined. Each finished run is added to the file; started again, it makes the missing ones.
"""

import argparse
import copy
import itertools
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from pruning_lib.after_training import obs
from pruning_lib.files import CHECKOUT
from pruning_lib.reproduction import records
from pruning_lib.structure.selection import first_to_go
from pruning_lib.workbench import data

SETTINGS = {"data": "digits", "images": 300, "hidden": 4, "alpha": 1e-3, "deletions": 100, "steps": 500}
SETTINGS |= {"trained_every": 20, "trained_steps": 60}
WAYS = [  # who chooses, and what the others do
    ("magnitude", "stay"),
    ("obd", "stay"),
    ("obs", "stay"),
    ("obs", "once"),
    ("magnitude", "follow"),
    ("obd", "follow"),
    ("obs", "follow"),
    ("magnitude", "newton"),
    ("obs", "newton"),
    ("magnitude", "trained"),
    ("obs", "trained"),
]
ALPHA = SETTINGS["alpha"]
Pair = tuple[Tensor, Tensor]


def images() -> tuple[Pair, Pair]:
    """Digits of 4×4 pixels with targets one-hot: those trained on, and those not seen."""
    pixels, labels = data.load(SETTINGS["data"]).train
    pixels, first = F.avg_pool2d(pixels, 2).flatten(1).double(), SETTINGS["images"]
    pixels = pixels - pixels[:first].mean(dim=0)
    targets = F.one_hot(labels, 10).double()
    return (pixels[:first], targets[:first]), (pixels[first:], targets[first:])


def dense(seed: int, pair: Pair, steps: int) -> nn.Module:
    torch.manual_seed(seed)
    hidden = SETTINGS["hidden"]
    return train(nn.Sequential(nn.Linear(16, hidden), nn.Tanh(), nn.Linear(hidden, 10)).double(), pair, steps)


def different(count: int, pair: Pair) -> Iterator[tuple[int, nn.Module]]:
    """The first `count` seeds that end in minima of their own, with the networks.

    Hidden units can be exchanged and change sign, so weights don't show that two minima are one. E + α/2·‖w‖² does:
    at a gradient of 1e-6 it is exact to 1e-9 or so, and minima found here are 1e-5 apart or more.
    """
    minima: list[float] = []
    for seed in itertools.count():
        if len(minima) == count:
            return
        network = dense(seed, pair, SETTINGS["steps"])
        w = vector(network)
        minimum = obs.squared_error(network, [pair]).item() + ALPHA / 2 * (w @ w).item()
        if all(abs(minimum - other) > 1e-7 for other in minima):
            minima.append(minimum)
            yield seed, network


def train(network: nn.Module, pair: Pair, steps: int, keep: Tensor | None = None) -> nn.Module:
    """To a minimum of E + α/2·‖w‖²; weights that are not in `keep` stay zero."""
    parameters = list(network.parameters())
    sizes = [parameter.numel() for parameter in parameters]
    kept = [None] * len(sizes) if keep is None else keep.split(sizes)
    optimizer = torch.optim.LBFGS(
        parameters,
        max_iter=steps,
        tolerance_grad=1e-11,
        tolerance_change=0,
        history_size=50,
        line_search_fn="strong_wolfe",
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        error = (pair[1] - network(pair[0])).square().sum() / (2 * len(pair[0]))
        loss = error + ALPHA / 2 * sum(p.square().sum() for p in parameters)
        loss.backward()
        for parameter, mask in zip(parameters, kept, strict=True):
            if mask is not None:
                parameter.grad *= mask.view_as(parameter)
        return loss

    optimizer.step(closure)
    return network


def curves(network: nn.Module, pair: Pair, unseen: Pair, select: str, then: str) -> dict[str, list[float]]:
    """E on both sets of images after each deletion."""
    network = copy.deepcopy(network)
    names = [name for name, _ in network.named_parameters()]
    w = vector(network)
    alive, found = torch.arange(len(w)), {"error": [], "unseen": []}
    H_inv = inverse(network, pair) if then == "once" else None
    for count in range(1, SETTINGS["deletions"] + 1):
        local = w[alive]
        if then == "once":
            here = H_inv[alive][:, alive]
        elif select == "obs" or then in ("follow", "newton"):
            here = inverse(network, pair, alive)
        if select == "magnitude":
            q = int(first_to_go(local.abs()))
        elif select == "obd":  # L_q = ½ (H + αI)_qq w_q²
            diagonal = curvature(network, pair[0]).diagonal()[alive] + ALPHA
            q = int(first_to_go(diagonal * local.square() / 2))
        else:
            q = int(first_to_go(obs.saliency(local, here)))
        if then == "newton":
            local = local - here @ (obs.gradient(network, [pair], names) + ALPHA * w)[alive]
        if then == "once":
            w, H_inv = obs.surgery(w, H_inv, int(alive[q]))
        elif then == "stay" or (then, select) == ("trained", "magnitude"):
            w[alive[q]] = 0
        else:
            w[alive] = obs.surgery(local, here, q)[0]
        alive = torch.cat([alive[:q], alive[q + 1 :]])
        nn.utils.vector_to_parameters(w.clone(), network.parameters())
        if then == "trained" and count % SETTINGS["trained_every"] == 0:
            keep = torch.zeros_like(w).index_fill(0, alive, 1)
            w = vector(train(network, pair, SETTINGS["trained_steps"], keep))
        for name, images in (("error", pair), ("unseen", unseen)):
            found[name].append(round(obs.squared_error(network, [images]).item(), 6))
    return found


def inverse(network: nn.Module, pair: Pair, alive: Tensor | None = None) -> Tensor:
    """(H + αI)⁻¹ of the weights `alive`, by default of all."""
    H = curvature(network, pair[0])
    H = H if alive is None else H[alive][:, alive]
    return torch.linalg.inv(H + ALPHA * torch.eye(len(H), dtype=H.dtype))


@torch.no_grad()
def curvature(network: nn.Module, pixels: Tensor) -> Tensor:
    """H (OBS-9) of a network with one hidden layer of tanh, without its rows: many times as fast.

    ∂F_l/∂v_ji = u_lj (1 − h_j²) x_i and ∂F_l/∂u_lj = h_j; biases are weights of an input 1.
    """
    first, _, last = network
    inputs, hidden, outputs = first.in_features, first.out_features, last.out_features
    h = first(pixels).tanh()
    x, h_one = (F.pad(each, (0, 1), value=1.0) for each in (pixels, h))
    slopes = ((1 - h.square())[:, :, None] * x[:, None, :]).flatten(1)  # (samples, hidden · (inputs + 1))
    u = last.weight.repeat_interleave(inputs + 1, dim=1)  # (outputs, the same)
    both = (u.T[:, :, None] * (slopes.T @ h_one)[:, None, :]).flatten(1)
    ends = torch.kron(torch.eye(outputs, dtype=h.dtype), h_one.T @ h_one)
    H = torch.cat([torch.cat([slopes.T @ slopes * (u.T @ u), both], 1), torch.cat([both.T, ends], 1)]) / len(pixels)
    before = hidden * (inputs + 1)
    one, other = torch.arange(before).view(hidden, -1), torch.arange(before, len(H)).view(outputs, -1)
    order = torch.cat([part.flatten() for each in (one, other) for part in (each[:, :-1], each[:, -1])])
    return H[order][:, order]


def vector(network: nn.Module) -> Tensor:
    return nn.utils.parameters_to_vector(network.parameters()).detach().clone()


def run_key(run: dict) -> tuple:
    return run["seed"], run["select"], run["then"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=CHECKOUT / "figures" / "measured" / "04_surgeon.json")
    parser.add_argument("--networks", type=int, default=10, help="how many different ones")
    parser.add_argument("--threads", type=int, default=1, help="one gives the same numbers on every run")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    with records.locked(given.out):
        make(given.out, given.networks)


def make(out: Path, count: int) -> list[dict]:
    """Add the missing runs of `count` different networks to the file, drop those of others; return all."""
    runs = records.runs_in(out, SETTINGS)
    pair, unseen = images()
    networks = dict(tqdm(different(count, pair), total=count, desc="training", unit="network"))
    kept = [run for run in runs if run["seed"] in networks]
    if len(kept) < len(runs):
        records.write_runs(out, __doc__.split("\n")[0], SETTINGS, kept)
    runs = kept
    done = set(map(run_key, runs))
    for seed, network in tqdm(networks.items(), unit="network"):
        for select, then in [way for way in WAYS if (seed, *way) not in done]:
            start = time.perf_counter()
            found = {"dense": round(obs.squared_error(network, [pair]).item(), 6)}
            found |= curves(network, pair, unseen, select, then)
            run = {"seed": seed, "select": select, "then": then} | found
            runs.append(run | {"seconds": round(time.perf_counter() - start, 2)})
            records.write_runs(out, __doc__.split("\n")[0], SETTINGS, runs)
    return runs


if __name__ == "__main__":
    main()
