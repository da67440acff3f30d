"""Seconds over the width of a square layer, half pruned: least squares with an inverse per row, against SparseGPT.

    python benchmarks/sparsegpt_width.py [--out figures/measured/05_width.json] [--threads 1]

Both in float64, as a fair match. Of the separate inverses `ROWS` rows are measured and multiplied by rows / ROWS.
"""

import argparse
import math
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from pruning_lib.after_training import reconstruction, sparsegpt
from pruning_lib.files import CHECKOUT
from pruning_lib.reproduction.results import provenance, write_json
from pruning_lib.structure import keep_largest

WIDTHS = [192, 384, 768, 1536, 2304, 3072, 4096]
ROWS = 16
ROUNDS = 6  # through all widths, so that a busy minute spoils one time of each; the fastest counts

exact_refit = partial(reconstruction.refit, tolerance=0)


def layer(width: int) -> tuple[Tensor, Tensor]:
    """A weight and the Hessian of inputs that depend on one another."""
    generator = torch.Generator().manual_seed(width)
    mixing = torch.eye(width) + torch.randn(width, width, generator=generator) / width**0.5
    inputs = torch.randn(2 * width, width, generator=generator) @ mixing
    weight = torch.randn(width, width, generator=generator)
    return weight.double(), reconstruction.Hessian(width).add(inputs).matrix.double()


def seconds(work: Callable[..., object], *args: object) -> float:
    start = time.perf_counter()
    work(*args)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=CHECKOUT / "figures" / "measured" / "05_width.json")
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    start = time.perf_counter()
    layers = {width: layer(width) for width in WIDTHS}
    best: dict[tuple[int, str], float] = {}
    for _ in range(ROUNDS):
        for width, (weight, hessian) in layers.items():
            keep = keep_largest({"weight": weight[:ROWS].abs()}, 0.5, "layer")["weight"]
            found = {
                "inverse per row": seconds(exact_refit, weight[:ROWS], hessian, keep) * width / ROWS,
                "SparseGPT": seconds(sparsegpt.prune_weight, weight, hessian, 0.5),
            }
            for name, value in found.items():
                best[width, name] = min(value, best.get((width, name), math.inf))
            print(width, found, flush=True)
    runs = [{"width": width} | {name: best[width, name] for name in found} for width in WIDTHS]
    settings = {"dtype": "float64", "sparsity": 0.5, "rows measured": ROWS, "rounds": ROUNDS}
    record = {"about": __doc__.split("\n")[0]} | provenance()
    record |= {"seconds": time.perf_counter() - start, "settings": settings, "runs": runs}
    write_json(given.out, record)


if __name__ == "__main__":
    main()
