"""MONK's problems down to the last weight: who chooses what is deleted, and what the others do then.

    python benchmarks/monks.py [--data FOLDER] [--seeds 0 1 ... 9] [--threads 1] [--table]
                               [--out figures/measured/04_monks.json]
    python benchmarks/monks.py --settings [--seeds 0 1 ... 9] [--threads 1]

Magnitude, OBD and OBS choose one weight after the other; the others stay, follow OBS's update, or are trained on to the
next minimum. Weight decay and α are chosen first, for each of the nine anew, on the published training cases alone:
networks of other seeds learn three quarters of them and are judged by the rest, on average over all sizes. Then come
the seeds: on the published sets a seed is that of the first weights; on drawn ones, of the training cases too. Each
finished run is added to the file; started again, it makes the missing ones. --table prints what is there.

With few weights left outputs may be exactly 0. They are read as no; what the test would be if they meant yes is beside.

--settings asks how much hangs on that choice: magnitude and OBS choose, the others follow, with each decay and α that
was tried, on drawn cases of MONK1: a minute, and no published cases; figures/measured/04_settings.json has it.
"""

import argparse
import copy
import itertools
import math
import statistics
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path

import torch
from torch import Tensor, nn
from tqdm import tqdm

from pruning_lib.after_training import obs
from pruning_lib.files import CHECKOUT
from pruning_lib.reproduction import measured, records
from pruning_lib.structure import Masks
from pruning_lib.structure.selection import first_to_go
from pruning_lib.workbench import data, monks

SELECT = ("magnitude", "obd", "obs")
THEN = ("stay", "readjust", "retrain")
KEY = ("cases", "problem", "select", "then", "decay", "alpha_over_decay", "seed")
TUNING = "held out"
EVERY = "each setting"
SETTINGS = {
    "cases": ["published", "drawn"],
    "training_cases": [124, 169, 122],
    "decays": [0.001, 0.003, 0.01, 0.03],
    "alphas_over_decay": [0.1, 1, 10],  # magnitude needs none where the others don't follow OBS's update
    "tuning_seeds": [100, 101, 102, 103],
    "held_out": 0.25,  # share of the published training cases that judges decay and α
    "learned": [1.0, 1.0, 0.93],  # training accuracy of a network that is pruned; MONK3 has wrong labels
    "starts": 10,  # first weights that are tried until one network has learned
}


def learned(task: monks.Problem, seed: int, decay: float) -> tuple[nn.Module, int | None]:
    """A network at a minimum, and the number of its start; None if no start learned the task."""
    enough = SETTINGS["learned"][int(task.name[-1]) - 1]
    for start in range(SETTINGS["starts"]):
        network = monks.network(task, seed=1000 * start + seed)
        monks.minimize(network, task.train, decay)
        if monks.accuracy(network, task.train) >= enough:
            return network, start
    return network, None


def curves(
    network: nn.Module, task: monks.Problem, select: str, then: str, decay: float, alpha: float
) -> tuple[list[int], list[int], list[int]]:
    """How many cases are right, with all weights and after every deletion, down to one weight.

    Of training and of test, where an output of exactly 0 is read as no; last, of test where it is read as yes.
    """
    network = copy.deepcopy(network)
    parameters = dict(network.named_parameters())
    w = nn.utils.parameters_to_vector(parameters.values()).detach()
    alive = torch.arange(len(w))
    right = [], [], []
    read = ((task.train, False), (task.test, False), (task.test, True))
    while True:
        for counts, (pair, silent) in zip(right, read, strict=True):
            counts.append(round(monks.accuracy(network, pair, silent) * len(pair[1])))
        if len(alive) == 1:
            return right
        rows = torch.cat(list(obs.jacobian_rows(network, task.train[0], parameters)))[:, alive]
        H_inv = obs.inverse_hessian(rows, alpha)
        local = w[alive]
        q = int(first_to_go(_scores(select, local, rows, H_inv, alpha)))
        w[alive[q]] = 0
        if then == "readjust":
            w[alive] = obs.surgery(local, H_inv, q)[0]
        alive = torch.cat([alive[:q], alive[q + 1 :]])
        with torch.no_grad():
            nn.utils.vector_to_parameters(w.clone(), parameters.values())
        if then == "retrain":
            handle = _masks(alive, parameters).hold(network)
            monks.minimize(network, task.train, decay)
            handle.remove()
            w = nn.utils.parameters_to_vector(parameters.values()).detach().clone()


def _scores(select: str, w: Tensor, rows: Tensor, H_inv: Tensor, alpha: float) -> Tensor:
    if select == "magnitude":
        return w.abs()
    if select == "obs":
        return obs.saliency(w, H_inv)
    # OBD: L_q = ½ (H + αI)_qq w_q²
    return (rows.square().mean(0) + alpha) * w.square() / 2


def _masks(alive: Tensor, parameters: dict[str, Tensor]) -> Masks:
    keep = torch.zeros(sum(parameter.numel() for parameter in parameters.values()), dtype=torch.bool)
    keep[alive] = True
    parts = keep.split([parameter.numel() for parameter in parameters.values()])
    return Masks({name: part.view_as(parameters[name]) for name, part in zip(parameters, parts, strict=True)})


def held_out(task: monks.Problem, seed: int) -> monks.Problem:
    """The training cases of `task` alone: a share of them, drawn by `seed`, in place of its test cases."""
    inputs, targets = task.train
    order = torch.randperm(len(targets), generator=torch.Generator().manual_seed(seed))
    judges = round(SETTINGS["held_out"] * len(targets))
    test, train = order[:judges], order[judges:]
    return monks.Problem(task.name, (inputs[train], targets[train]), (inputs[test], targets[test]), task.hidden)


def grid(select: str, then: str) -> list[tuple[float, float | None]]:
    """Weight decays, and α as multiples of them; None where α plays no part."""
    needed = select != "magnitude" or then == "readjust"
    return list(itertools.product(SETTINGS["decays"], SETTINGS["alphas_over_decay"] if needed else [None]))


def tuning_run(networks, cases: str, problem: int, select: str, then: str, decay: float, times: float | None) -> dict:
    """The share of held-out cases that are right, seed by seed, on average over all sizes."""
    start, scores = time.perf_counter(), []
    for seed in SETTINGS["tuning_seeds"]:
        task, network, _ = networks(cases, problem, seed, decay)
        _, right, _ = curves(network, task, select, then, decay, (times or 1) * decay)
        scores.append(round(statistics.mean(right) / len(task.test[1]), 5))
    return {"scores": scores, "seconds": time.perf_counter() - start}


def chosen(runs: list[dict], problem: int, select: str, then: str) -> tuple[float, float | None]:
    """The decay, and α as its multiple, with the best mean score."""
    found = {run_key(run): statistics.mean(run["scores"]) for run in runs if run["cases"] == TUNING}
    return max(grid(select, then), key=lambda pair: found[TUNING, problem, select, then, *pair, None])


def pruned_run(networks, cases: str, problem: int, select: str, then: str, decay: float, times, seed: int) -> dict:
    start = time.perf_counter()
    task, network, tried = networks(cases, problem, seed, decay)
    train, test, silent = curves(network, task, select, then, decay, (times or 1) * decay)
    norm = nn.utils.parameters_to_vector(network.parameters()).square().sum().item()
    minimum = obs.squared_error(network, [task.train]).item() + decay / 2 * norm
    right = {"train_right": train, "test_right": test, "test_right_if_0_is_yes": silent}
    return {"start": tried, "minimum": round(minimum, 8)} | right | {"seconds": time.perf_counter() - start}


def run_key(run: dict) -> tuple:
    return tuple(run[name] for name in KEY)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, default=data.folder(None) / "monks", help="folder of the published sets")
    parser.add_argument("--out", type=Path, default=CHECKOUT / "figures" / "measured" / "04_monks.json")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(10)))
    parser.add_argument("--threads", type=int, default=1, help="one gives the same numbers on every run")
    parser.add_argument("--table", action="store_true", help="print what is recorded and end")
    parser.add_argument("--settings", action="store_true", help="MONK1, with each decay and α")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    if given.settings:
        out = given.out.with_name("04_settings.json")
        with records.locked(out):
            make_settings(out, given.seeds)
        return
    if given.table:
        print(table(measured.read_record(given.out.name, given.out.parent)["runs"]))
        return
    try:
        published = {problem: monks.load(problem, data=given.data) for problem in (1, 2, 3)}
    except ValueError as error:
        parser.error(str(error))
    with records.locked(given.out):
        print(table(make(published, given.out, given.seeds)))


def networks_on(published: dict[int, monks.Problem]) -> Callable[[str, int, int, float], tuple]:
    """What gives a problem and the network that has learned it, each trained once."""

    @cache
    def networks(cases: str, problem: int, seed: int, decay: float) -> tuple[monks.Problem, nn.Module, int | None]:
        task = monks.load(problem, seed) if cases in ("drawn", EVERY) else published[problem]
        task = held_out(task, seed) if cases == TUNING else task
        return task, *learned(task, seed, decay)

    return networks


def add(runs: list[dict], out: Path, key: tuple, found: dict) -> None:
    """Append a run and write them all."""
    runs.append(dict(zip(KEY, key, strict=True)) | found)
    records.write_runs(out, __doc__.split("\n")[0], SETTINGS, runs)


def make(published: dict[int, monks.Problem], out: Path, seeds: list[int]) -> list[dict]:
    """Add the missing runs to the file; return all."""
    runs, networks = records.runs_in(out, SETTINGS), networks_on(published)
    done = set(map(run_key, runs))
    arms = list(itertools.product(published, SELECT, THEN))
    tuning = [(TUNING, *arm, *pair, None) for arm in arms for pair in grid(*arm[1:])]
    for key in tqdm([key for key in tuning if key not in done], desc=TUNING, unit="run", mininterval=10):
        add(runs, out, key, tuning_run(networks, *key[:-1]))
    best = {arm: chosen(runs, *arm) for arm in arms}
    wanted = [(cases, *arm, *best[arm], seed) for cases, seed, arm in itertools.product(SETTINGS["cases"], seeds, arms)]
    for key in tqdm([key for key in wanted if key not in done], desc="pruning", unit="run", mininterval=10):
        add(runs, out, key, pruned_run(networks, *key))
    return runs


def make_settings(out: Path, seeds: list[int]) -> list[dict]:
    """Add the missing runs of MONK1 with each setting to the file; return all."""
    runs, networks = records.runs_in(out, SETTINGS), networks_on({})
    done = set(map(run_key, runs))
    ways = [(select, *pair) for select in ("magnitude", "obs") for pair in grid(select, "readjust")]
    wanted = [(EVERY, 1, select, "readjust", *pair, seed) for seed in seeds for select, *pair in ways]
    for key in tqdm([key for key in wanted if key not in done], desc=EVERY, unit="run", mininterval=10):
        add(runs, out, key, pruned_run(networks, *key))
    return runs


def table(runs: list[dict]) -> str:
    """Test accuracy in % at the paper's size, mean (smallest to largest), for each way on each set of cases.

    Then: how many are as accurate as the paper's there or with less, with how few weights the median network is, and
    from how many minima the seeds came: seeds that lead to the same minimum are one network.
    """
    paper = {name: entry["value"] for name, entry in measured.paper_values("04b_obs_measured").items()}
    lines = []
    for cases, problem in itertools.product(SETTINGS["cases"], (1, 2, 3)):
        left, wanted = (paper[f"MONK{problem}, {what}"] for what in ("left", "test accuracy"))
        for select, then in itertools.product(SELECT, THEN):
            way = {"cases": cases, "problem": problem, "select": select, "then": then}
            mine = [run for run in runs if way.items() <= run.items()]
            if not mine:
                continue
            test = [test_accuracies(run)[-left] for run in mine]
            fewest = [fewest_weights(run, wanted) for run in mine]
            spread = f"{statistics.mean(test):5.1f} ({min(test):.1f} to {max(test):.1f})"
            reached = f"reached by {sum(few <= left for few in fewest)} of {len(mine)}"
            minima = len({run["minimum"] for run in mine})
            chose = f"decay {mine[0]['decay']:g}, α/decay {mine[0]['alpha_over_decay']}"
            lines.append(
                f"MONK{problem} {cases:10}{left:3} left {select:10}{then:9}{spread:24}{reached}, "
                f"median {statistics.median(fewest):g}, minima {minima}; {chose}"
            )
    return "\n".join(lines)


def test_accuracies(run: dict) -> list[float]:
    """In %, rounded as the paper's, with all weights first and with one last."""
    return [round(100 * right / 432, 1) for right in run["test_right"]]


def fewest_weights(run: dict, accuracy: float) -> float:
    """The fewest weights with which the test accuracy in % is at least this; infinity if it never is."""
    found = test_accuracies(run)
    return min((len(found) - deleted for deleted, a in enumerate(found) if a >= accuracy), default=math.inf)


if __name__ == "__main__":
    main()
