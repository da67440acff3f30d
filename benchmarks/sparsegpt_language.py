"""Perplexity of the trained GPT on held-out text, by method and sparsity; the methods are those of sparsegpt_hub.py.

    python benchmarks/sparsegpt_language.py [--out figures/measured/05_language.json] [--threads 1]
    python benchmarks/sparsegpt_language.py --draws 1 2 --out figures/measured/05_draws.json [--threads 1]
    python benchmarks/sparsegpt_language.py --again sparsegpt+refit

Magnitude is taken layer by layer, as in the SparseGPT paper. SparseGPT is run with masks chosen in blocks of 8 columns,
too, where its mask is free. The second line repeats `AGAIN` on other draws of calibration text, in a file of its own.
Each finished run is added to the file at once; started again with the same settings, it makes only the missing ones.
The third line makes the runs of a method anew, after the method has changed.
"""

import argparse
import copy
import hashlib
import time
from functools import partial
from pathlib import Path

import torch
from sparsegpt_hub import METHODS
from torch import Tensor

from pruning_lib.after_training import sparsegpt
from pruning_lib.after_training.calibration import prune_in_order
from pruning_lib.after_training.reconstruction import Hessian
from pruning_lib.files import CHECKOUT
from pruning_lib.reproduction import records
from pruning_lib.structure import Masks
from pruning_lib.workbench import language, text
from pruning_lib.workbench.checkpoint import CHECKPOINT

PATTERNS = {
    "50 %": {"sparsity": 0.5},
    "60 %": {"sparsity": 0.6},
    "70 %": {"sparsity": 0.7},
    "80 %": {"sparsity": 0.8},
    "4:8": {"n_m": (4, 8)},
    "2:4": {"n_m": (2, 4)},
}
CALIBRATION = {"segments": 128, "length": 256, "batch": 16, "seed": 0}
BLOCK_8 = {  # of n:m the block is the group
    "sparsegpt, block 8": partial(sparsegpt.prune_weight, block=8),
    "sparsegpt+refit, block 8": partial(sparsegpt.prune_weight, block=8, refit=True),
}
_EVERY = METHODS | BLOCK_8
# On other draws: the close ones.
AGAIN = ("70 %", ("magnitude+refit", "sparsegpt+refit, block 8", "sparsegpt+refit"))
# Of magnitude's increase in perplexity over the dense model, this much at most may be left.
AT_MOST = {"50 %": 0.3, "2:4": 0.2}


def material() -> tuple[language.GPT, text.Text, dict[str, str]]:
    """The trained GPT, its text, and what tells both from others in a record."""
    dense, about = language.load_checkpoint()
    source = text.load(about["text"])
    digests = {
        "checkpoint_sha256": hashlib.sha256(CHECKPOINT.read_bytes()).hexdigest(),
        "train_sha256": text.digest(source.train),
        "held_out_sha256": text.digest(source.held_out),
    }
    return dense, source, digests


def pruned(dense: language.GPT, method: str, pattern: dict, batches: list[Tensor]) -> tuple[language.GPT, Masks]:
    model = copy.deepcopy(dense)
    prune_layer = partial(_EVERY[method], **pattern)
    return model, prune_in_order(model, batches, prune_layer, Hessian, None, pattern.get("n_m", (0, 1))[1], False)


def cases(draws: list[int]) -> list[tuple[int, str, str]]:
    """Draw, pattern and method: everything on the first draw, or `AGAIN` on `draws`."""
    if draws:
        return [(draw, AGAIN[0], method) for method in AGAIN[1] for draw in draws]
    free = [pattern for pattern in PATTERNS if "sparsity" in PATTERNS[pattern]]
    every = [(pattern, method) for pattern in PATTERNS for method in METHODS]
    every += [(pattern, method) for pattern in free for method in BLOCK_8]
    return [(CALIBRATION["seed"], *case) for case in every]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=CHECKOUT / "figures" / "measured" / "05_language.json")
    parser.add_argument("--threads", type=int, default=1, help="one gives the same numbers on every run")
    parser.add_argument("--draws", type=int, nargs="+", default=[], help="of calibration text, in another file")
    parser.add_argument("--again", nargs="+", default=[], choices=_EVERY, help="methods whose runs are made anew")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    with records.locked(given.out):
        make(given)


def make(given: argparse.Namespace) -> None:
    """Make the cases that the file does not hold yet, and print all."""
    dense, source, digests = material()
    calibration = {key: value for key, value in CALIBRATION.items() if key != "seed" or not given.draws}
    settings = digests | {"calibration": calibration, "magnitude": "per layer"}
    runs = [run for run in records.runs_in(given.out, settings) if run["method"] not in given.again]
    if not runs:
        start = time.perf_counter()
        perplexity = language.perplexity(dense, source.held_out)
        runs.append({"pattern": "dense", "method": "dense", "sparsity": 0.0, "perplexity": perplexity})
        runs[0]["seconds"] = time.perf_counter() - start
        records.write_runs(given.out, __doc__.split("\n")[0], settings, runs)
    base = runs[0]["perplexity"]
    print(f"dense: perplexity {base:.3f} per byte")
    found = {(run.get("draw", CALIBRATION["seed"]), run["pattern"], run["method"]): run["perplexity"] for run in runs}
    for draw, pattern, method in cases(given.draws):
        if (draw, pattern, method) not in found:
            windows = text.windows(source.train, CALIBRATION["length"], CALIBRATION["segments"], draw)
            start = time.perf_counter()
            model, masks = pruned(dense, method, PATTERNS[pattern], list(windows.split(CALIBRATION["batch"])))
            seconds = time.perf_counter() - start
            perplexity = language.perplexity(model, source.held_out)
            found[draw, pattern, method] = perplexity
            run = {"pattern": pattern, "method": method, "sparsity": masks.sparsity, "perplexity": perplexity}
            runs.append(run | {"seconds": seconds} | ({"draw": draw} if given.draws else {}))
            records.write_runs(given.out, __doc__.split("\n")[0], settings, runs)
        said = f"{pattern:>4} {method:24} {found[draw, pattern, method]:9.3f}"
        if given.draws:
            print(f"{said}, draw {draw}", flush=True)
            continue
        # (perplexity − dense) / (magnitude's − dense)
        ratio = (found[draw, pattern, method] - base) / (found[draw, pattern, "magnitude"] - base)
        bound = f" (at most {AT_MOST[pattern]})" if pattern in AT_MOST and method.startswith("sparsegpt") else ""
        print(f"{said}, {ratio:.3f} of magnitude's increase{bound}", flush=True)


if __name__ == "__main__":
    main()
