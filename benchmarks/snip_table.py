"""Table 1 of the SNIP paper, LeNet-300-100 on MNIST: which part of the training closes the gap to its numbers.

    python benchmarks/snip_table.py [--ways reference no_penalty shifted long] [--seeds 0 1 2] [--threads 1] [--list]
                                    [--out figures/measured/02_snip_table.json]

Dense and with 95 % and 98 % removed by SNIP, trained in four ways that differ from the first in one thing each:

    reference    images as they are, the L2 penalty of the reference code, 60 epochs
    no_penalty   without the penalty
    shifted      each batch moved by up to a pixel
    long         the paper's schedule up to step 75,000 of 150,000, from where the rate is a thousandth and less of the
                 first: 125 epochs, a tenth of the rate after each 25,000 steps

The reference code adds 2.5e-4·Σw² to the loss. Its gradient is 5e-4·w: SGD's weight_decay = 5e-4. After training it
tests the five checkpoints that its saver has kept, 1,000 steps apart, and prints the smallest error on the test images.
That choice flatters; to see by how much, the error is recorded after each epoch, and shown are the last, the smallest
of the last seven epochs (as many steps) and the smallest of all. Each finished run is added to the file at once;
started again with the same settings, it makes only the missing ones.
"""

import argparse
import time
from pathlib import Path

import torch
from tqdm import tqdm

from pruning_lib.before_training import snip
from pruning_lib.comparison import spread
from pruning_lib.files import CHECKOUT
from pruning_lib.reproduction import records
from pruning_lib.workbench import data, models, training

REFERENCE = {"shift": 0, "weight_decay": 5e-4, "epochs": 60, "milestones": (1 / 2, 3 / 4)}
WAYS = {
    "reference": REFERENCE,
    "no_penalty": REFERENCE | {"weight_decay": 0.0},
    "shifted": REFERENCE | {"shift": 1},
    "long": REFERENCE | {"epochs": 125, "milestones": (1 / 3, 2 / 3)},
}
SETTINGS = {
    "data": "mnist",
    "model": "lenet_300_100",
    "initialization": "fan_in",
    "scoring": 100,
    "batch_size": 100,
    "lr": 0.1,
    "momentum": 0.9,
    "ways": {name: way | {"milestones": list(way["milestones"])} for name, way in WAYS.items()},
}
PAPER = {0.0: 1.7, 0.95: 1.6, 0.98: 2.4}  # test error in % by sparsity
PRUNED = (0.95, 0.98)
KEPT = 7  # epochs of 600 steps that the reference's five checkpoints span


def run_cell(images: data.Data, way: str, sparsity: float, seed: int) -> dict:
    """The record, with the test error in % after each epoch; of a run that broke down, the reason."""
    start, run = time.perf_counter(), {"way": way, "sparsity": sparsity, "seed": seed, "errors": []}
    model = models.initialize_(models.build(SETTINGS["model"], images.shape, 10), seed, SETTINGS["initialization"])
    if sparsity:
        snip.prune(model, [next(data.batches(images.train, SETTINGS["scoring"], seed))], sparsity).hold(model)

    def test(epoch: int) -> None:
        run["errors"].append(round(100 * (1 - training.evaluate(model, images.test)[0]), 2))

    how = {option: SETTINGS[option] for option in ("batch_size", "lr", "momentum")} | WAYS[way]
    try:
        training.fit(model, images, seed=seed, schedule="step", after_epoch=test, progress=False, **how)
    except ValueError as error:
        run["failed"] = str(error)
    return run | {"seconds": time.perf_counter() - start}


def key(run: dict) -> tuple:
    return run["way"], run["sparsity"], run["seed"]


def table(runs: list[dict]) -> str:
    """Test error in %, mean ± standard deviation over the seeds, and less the dense one's, by checkpoint."""
    chosen = {"last": lambda e: e[-1], f"best of {KEPT}": lambda e: min(e[-KEPT:]), "best of all": min}
    rows = [["", *(f"{sparsity:.0%}" for sparsity in PAPER), *(f"{sparsity:.0%} − dense" for sparsity in PRUNED)]]
    rows.append(["paper", *PAPER.values(), *(round(PAPER[sparsity] - PAPER[0.0], 2) for sparsity in PRUNED)])
    for way in WAYS:
        for name, choose in chosen.items():
            found = {key(run): choose(run["errors"]) for run in runs if run["way"] == way and "failed" not in run}
            errors = [[error for k, error in found.items() if k[1] == sparsity] for sparsity in PAPER]
            pairs = [[(k, (way, 0.0, k[2])) for k in found if k[1] == sparsity] for sparsity in PRUNED]
            errors += [[found[one] - found[other] for one, other in each if other in found] for each in pairs]
            rows.append([f"{way}, {name}", *(spread(values) if values else "" for values in errors)])
    return "\n".join(f"{row[0]:24}" + "".join(f"{cell!s:>16}" for cell in row[1:]) for row in rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=CHECKOUT / "figures" / "measured" / "02_snip_table.json")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--threads", type=int, default=1, help="one gives the same numbers on every run")
    parser.add_argument("--list", action="store_true", help="say what is missing, print the table and end")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    if given.list:
        runs = records.runs_in(given.out, SETTINGS)
        print(table(runs), f"{len(runs)} runs done, {len(still_missing(runs, given))} missing", sep="\n")
        return
    with records.locked(given.out):
        print(table(make(given)))


def still_missing(runs: list[dict], given: argparse.Namespace) -> list[tuple]:
    done = set(map(key, runs))
    wanted = [(way, sparsity, seed) for way in given.ways for seed in given.seeds for sparsity in PAPER]
    return [cell for cell in wanted if cell not in done]


def make(given: argparse.Namespace) -> list[dict]:
    """Add the missing runs to the file; return all."""
    images = data.load(SETTINGS["data"])
    runs = records.runs_in(given.out, SETTINGS)
    with tqdm(still_missing(runs, given), unit="run", mininterval=10) as bar:
        for cell in bar:
            runs.append(run_cell(images, *cell))
            records.write_runs(given.out, __doc__.split("\n")[0], SETTINGS, runs)
            bar.set_postfix_str(f"{' '.join(map(str, cell))}: {runs[-1].get('failed') or runs[-1]['errors'][-1]}")
    return runs


if __name__ == "__main__":
    main()
