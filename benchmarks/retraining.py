"""Pretrain, prune, retrain on digits (PAT-1): schedules, sparsities and ways to retrain, all with one training budget.

    python benchmarks/retraining.py [--out figures/measured/04_retraining.json] [--seeds 0 1 2 3 4]
                                    [--sparsities 0.5 0.8 0.9 0.95 0.98 0.99] [--threads 1]

Every run starts from the dense network of its seed and gets the same number of epochs after that, in rounds that one
schedule sets. Rewinding and training from scratch start every round anew: in rounds, the weights that are measured in
the end saw the epochs of the last round only, 10 of the 60. Each finished run is added to the file; started again, it
makes the missing ones.
"""

import argparse
import copy
import statistics
import time
import warnings
from pathlib import Path

import torch
from torch import Tensor, nn
from tqdm import tqdm

from pruning_lib.after_training import retraining
from pruning_lib.files import CHECKOUT
from pruning_lib.reproduction import records
from pruning_lib.workbench import data, models, training

SPARSITIES = [0.5, 0.8, 0.9, 0.95, 0.98, 0.99]
VARIANTS = [  # schedule, and what a round trains from
    ("one-shot", "fine-tune"),
    ("iterative", "fine-tune"),
    ("gradual", "fine-tune"),
    ("one-shot", "rewind"),
    ("iterative", "rewind"),
    ("one-shot", "scratch"),
    ("iterative", "scratch"),
]
SETTINGS = {
    "data": "digits",
    "model": "lenet_300_100",
    "pretraining_epochs": 20,
    "rewind_epoch": 2,
    "retraining_epochs": 60,
    # Epochs of each round. A round's learning rate falls from lr to 0 along a cosine; while weights go gradually it
    # stays lr, and only the last round's falls.
    "rounds": {"one-shot": [60], "iterative": [10] * 6, "gradual": [1] * 29 + [31]},
    "batch_size": 100,
    "lr": 0.05,
    "momentum": 0.9,
    "weight_decay": 5e-4,
}
OPTIONS = {key: SETTINGS[key] for key in ("batch_size", "lr", "momentum", "weight_decay")} | {"progress": False}


def fresh(images: data.Data, seed: int) -> nn.Module:
    return models.build(SETTINGS["model"], images.shape, len(images.classes), seed=seed)


def pretrained(images: data.Data, seed: int) -> tuple[nn.Module, dict[str, Tensor], float]:
    """The dense network, a copy of its weights a few epochs in, and the seconds it took."""
    start, model, early = time.perf_counter(), fresh(images, seed), SETTINGS["rewind_epoch"]
    training.fit(model, images, early, schedule="constant", seed=seed, **OPTIONS)
    weights = copy.deepcopy(model.state_dict())
    rest = SETTINGS["pretraining_epochs"] - early
    training.fit(model, images, rest, schedule="cosine", seed=seed + 1000, **OPTIONS)
    return model, weights, time.perf_counter() - start


def pruned_run(
    images: data.Data, dense: nn.Module, early: dict[str, Tensor], kind: str, after: str, sparsity: float, seed: int
) -> dict:
    epochs = SETTINGS["rounds"][kind]

    def train(model: nn.Module, number: int, seed: int) -> None:
        fall = "constant" if kind == "gradual" and number < len(epochs) else "cosine"
        training.fit(model, images, epochs[number - 1], schedule=fall, seed=seed, **OPTIONS)

    start = {"fine-tune": {}, "rewind": {"rewind_to": early}, "scratch": {"fresh": lambda s: fresh(images, s)}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a layer is emptied is what `per_layer` shows
        masks, history = retraining.run(
            copy.deepcopy(dense),
            train,
            lambda model: measure(model, images),
            retraining.schedule(kind, sparsity, len(epochs)),
            seed=seed,
            after=after,
            progress=False,
            **start[after],
        )
    return {"schedule": kind, "after": after, "asked": sparsity, "seed": seed} | {
        "seconds": sum(record.seconds for record in history),
        "accuracy": history[-1].retrained["accuracy"],
        "loss": history[-1].retrained["loss"],
        "sparsity": masks.sparsity,
        "per_layer": {name: round(share, 5) for name, share in history[-1].per_layer.items()},
        "rounds": [  # sparsity, and the accuracy before and after the round's training
            [round(x, 4) for x in (record.sparsity, record.pruned["accuracy"], record.retrained["accuracy"])]
            for record in history
        ],
    }


def measure(model: nn.Module, images: data.Data) -> dict[str, float]:
    return dict(zip(("accuracy", "loss"), training.evaluate(model, images.test), strict=True))


def key(run: dict) -> tuple:
    return run["schedule"], run["after"], run["asked"], run["seed"]


NOTE = (
    f"Iterative rewind and scratch start each round anew: their last weights saw {SETTINGS['rounds']['iterative'][-1]} "
    f"of the {SETTINGS['retraining_epochs']} epochs."
)


def table(runs: list[dict]) -> str:
    """Test accuracy in %, mean ± standard deviation over the seeds, and iterative less one-shot seed by seed."""
    found = {key(run): 100 * run["accuracy"] for run in runs}
    sparsities = sorted({asked for kind, _, asked, _ in found if kind != "dense"})
    lines = [f"{'':24}" + "".join(f"{asked:>14.0%}" for asked in sparsities)]
    for variant in VARIANTS:
        values = [[a for k, a in found.items() if k[:3] == (*variant, asked)] for asked in sparsities]
        lines.append(f"{', '.join(variant):24}" + "".join(f"{spread(accuracies):>14}" for accuracies in values))
    lines.append(f"{'iterative - one-shot':24}")
    for asked in sparsities:
        pairs = [(k, ("one-shot", *k[1:])) for k in found if k[:3] == ("iterative", "fine-tune", asked)]
        lines[-1] += f"{spread([found[one] - found[other] for one, other in pairs if other in found]):>14}"
    return "\n".join([f"dense: {spread([a for k, a in found.items() if k[0] == 'dense'])}", *lines, NOTE])


def spread(values: list[float]) -> str:
    return f"{statistics.mean(values):.2f} ± {statistics.stdev(values):.2f}" if len(values) > 1 else f"{values}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=CHECKOUT / "figures" / "measured" / "04_retraining.json")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--sparsities", type=float, nargs="+", default=SPARSITIES)
    parser.add_argument("--threads", type=int, default=1, help="one gives the same numbers on every run")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    with records.locked(given.out):
        runs = make(given)
    print(table(runs))


def make(given: argparse.Namespace) -> list[dict]:
    """Add the missing runs to the file; return all."""
    images = data.load(SETTINGS["data"])
    runs = records.runs_in(given.out, SETTINGS)
    done = set(map(key, runs))
    wanted = {
        seed: [w for s in given.sparsities for v in VARIANTS if (w := (*v, s, seed)) not in done]
        for seed in given.seeds
    }
    with tqdm(total=sum(map(len, wanted.values())), unit="run") as bar:
        for seed in (seed for seed in given.seeds if wanted[seed]):
            dense, early, seconds = pretrained(images, seed)
            if ("dense", None, None, seed) not in done:
                run = {"schedule": "dense", "after": None, "asked": None, "seed": seed, "seconds": seconds}
                runs.append(run | measure(dense, images))
            for kind, after, sparsity, _ in wanted[seed]:
                runs.append(pruned_run(images, dense, early, kind, after, sparsity, seed))
                records.write_runs(given.out, __doc__.split("\n")[0], SETTINGS, runs)
                bar.set_postfix_str(f"{kind}, {after}, {sparsity:.0%}: {runs[-1]['accuracy']:.4f}")
                bar.update()
    return runs


if __name__ == "__main__":
    main()
