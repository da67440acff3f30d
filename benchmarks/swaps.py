"""Swaps against the best of all masks on small rows, and against SparseGPT with refit on layers of a language model.

    python benchmarks/swaps.py [--text wikitext2-raw-test.txt] [--model smollm2] [--out figures/measured/05_swaps.json]

Small rows: inputs are correlated, and every mask with as many weights is tried. Layers: calibrated on the first half of
`--text`; without it they are left out. Seconds are of the processor, one thread, median of three turns in which refit
and swaps alternate; those of swaps include their own refit.
"""

import argparse
import itertools
import math
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from pruning_lib.after_training import sparsegpt, swaps
from pruning_lib.after_training.reconstruction import Hessian, error, refit
from pruning_lib.files import CHECKOUT
from pruning_lib.reproduction.records import write_runs
from pruning_lib.structure.selection import largest
from pruning_lib.workbench import huggingface

PER_PROBLEM = 50  # rows that share a Hessian
LAYERS = ("model.layers.5.self_attn.q_proj", "model.layers.15.mlp.up_proj", "model.layers.15.mlp.down_proj")
GOALS = {"50 %": {"sparsity": 0.5}, "60 %": {"sparsity": 0.6}, "2:4": {"n_m": (2, 4)}}
BUDGETS = (1, 2, 4, 8, 16, 32, 64, None)


def row_errors(weight: Tensor, hessian: Tensor, keep: Tensor) -> Tensor:
    """dHdᵀ of every row, refitted on `keep`."""
    D = weight - refit(weight, hessian, keep)
    return (D @ hessian * D).sum(1)


def best_errors(weight: Tensor, hessian: Tensor, kept: int) -> Tensor:
    """The least dHdᵀ that any mask of `kept` weights leaves in each row: wHw − tB tᵀ with t = (Hw)_M, B = (H_MM)⁻¹."""
    masks = torch.tensor(list(itertools.combinations(range(weight.shape[1]), kept)))
    systems = hessian[masks[:, :, None], masks[:, None, :]]
    target = (weight @ hessian).T[masks]  # (masks, kept, rows)
    explained = (target * torch.cholesky_solve(target, torch.linalg.cholesky(systems))).sum(1)
    return (weight @ hessian * weight).sum(1) - explained.amax(0)


def small(columns: int, rows: int) -> dict:
    """Shares of rows that end at the best mask of all, and mean gaps to its error, half of the weights kept."""
    start, kept = time.process_time(), columns // 2
    found: dict[str, list[Tensor]] = {}
    for problem in range(rows // PER_PROBLEM):
        generator = torch.Generator().manual_seed(problem)
        X = torch.randn(8 * columns, columns, generator=generator, dtype=torch.float64)
        mixing = torch.randn(columns, columns, generator=generator, dtype=torch.float64) / math.sqrt(columns)
        X = X @ (torch.eye(columns, dtype=torch.float64) + mixing)
        hessian = Hessian(columns, torch.float64).add(X).matrix
        weight = torch.randn(PER_PROBLEM, columns, generator=generator, dtype=torch.float64)
        masks = {
            "random": largest(torch.rand(weight.shape, generator=generator), kept),
            "magnitude": largest(weight.abs(), kept),
            "SparseGPT": torch.cat([sparsegpt.prune_weight(row[None], hessian, 0.5)[1] for row in weight]),
        }
        best = best_errors(weight, hessian, kept)
        for name, keep in masks.items():
            found.setdefault(f"{name} + refit", []).append(row_errors(weight, hessian, keep) / best)
            better = swaps.search(weight, hessian, keep).keep
            found.setdefault(f"{name} + swaps", []).append(row_errors(weight, hessian, better) / best)
    run = {"kind": "small rows", "columns": columns, "rows": rows, "methods": {}}
    for name, parts in found.items():
        ratio = torch.cat(parts)
        met, gap = (ratio < 1 + 1e-6).double().mean().item(), (ratio - 1).mean().item()
        run["methods"][name] = {"met": met, "mean_gap": gap, "median_gap": (ratio - 1).median().item()}
        print(
            f"{columns:3} columns, {name:18}: optimum met in {met:6.1%} of {rows} rows, mean gap {gap:8.2%}", flush=True
        )
    return run | {"seconds": time.process_time() - start}


def hessians(name: str, layers: list[str], text: str, segments: int, length: int) -> dict[str, tuple[Tensor, Tensor]]:
    """Weight and Hessian of `layers` in the dense model, calibrated on the first half of `text`."""
    model, tokenizer = huggingface.load(name, dtype=torch.float32)
    gathered = {layer: Hessian(model.get_submodule(layer).in_features) for layer in layers}
    for layer, hessian in gathered.items():
        model.get_submodule(layer).register_forward_pre_hook(lambda _, args, h=hessian: h.add(args[0]) and None)
    with torch.no_grad():
        for batch in huggingface.calibration(tokenizer, [text[: len(text) // 2]], segments, length):
            model(batch)
    return {name: (model.get_submodule(name).weight.detach(), h.matrix) for name, h in gathered.items()}


def timed(run: Callable[[], object]) -> tuple[float, object]:
    start = time.process_time()
    result = run()
    return time.process_time() - start, result


def on_layer(layer: str, weight: Tensor, hessian: Tensor, goal: str, rows: int) -> dict:
    """Errors and seconds a row, on `rows` rows spread over the layer: SparseGPT, magnitude, both refitted, swaps."""
    start = time.process_time()
    some = torch.linspace(0, len(weight) - 1, rows).long()
    pruned, keep = (part[some] for part in sparsegpt.prune_weight(weight, hessian, **GOALS[goal]))
    weight, n_m = weight[some], GOALS[goal].get("n_m")
    m = n_m[1] if n_m else weight.shape[1]
    magnitude = largest(weight.abs().view(-1, m), n_m[0] if n_m else round(m * (1 - GOALS[goal]["sparsity"])))
    magnitude = magnitude.view(weight.shape)
    refitted, searched = [], []
    for _ in range(3):
        refitted.append(timed(lambda: refit(weight, hessian, keep)))
        searched.append(timed(lambda: swaps.search(weight, hessian, keep, n_m)))
    found = searched[0][1]
    fitted = refit(weight, hessian, found.keep)
    run = {"kind": "layer", "layer": layer, "goal": goal, "rows": rows, "columns": weight.shape[1]}
    run["errors"] = {
        "SparseGPT": error(weight, pruned, hessian),
        "SparseGPT + refit": error(weight, refitted[0][1], hessian),
        "magnitude + refit": error(weight, refit(weight, hessian, magnitude), hessian),
        "swaps": error(weight, found.weight, hessian),
        "swaps, refitted in float64": error(weight, fitted, hessian),
        "swaps from magnitude": error(weight, swaps.search(weight, hessian, magnitude, n_m).weight, hessian),
    }
    run["swaps"] = found.swaps.double().mean().item()
    run["rows_that_rose"] = int((found.after > found.before).sum())
    run["seconds_per_row"] = {
        "refit": statistics.median(seconds for seconds, _ in refitted) / rows,
        "swaps": statistics.median(seconds for seconds, _ in searched) / rows,
    }
    run["by_budget"] = [
        {"budget": budget, "error": error(weight, part.weight, hessian), "seconds_per_row": seconds / rows}
        for budget in BUDGETS
        for seconds, part in [timed(lambda: swaps.search(weight, hessian, keep, n_m, budget))]  # noqa: B023
    ]
    print(f"{layer}, {goal}, {rows} rows, {run['swaps']:.1f} swaps a row, {run['rows_that_rose']} rows rose")
    print("  " + ", ".join(f"{name} {value:.3%}" for name, value in run["errors"].items()))
    print("  ms a row: " + ", ".join(f"{name} {1e3 * value:.1f}" for name, value in run["seconds_per_row"].items()))
    print("  budget: " + ", ".join(f"{part['budget']} {part['error']:.3%}" for part in run["by_budget"]), flush=True)
    return run | {"seconds": time.process_time() - start}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--columns", type=int, nargs="*", default=[8, 12, 16], help="of small rows")
    parser.add_argument("--small-rows", type=int, default=1000)
    parser.add_argument("--model", default="smollm2", help="as for pruning_lib.workbench.huggingface.load")
    parser.add_argument("--text", type=Path, help="raw WikiText2's test split, a file")
    parser.add_argument("--segments", type=int, default=16)
    parser.add_argument("--length", type=int, default=512, help="tokens of a segment")
    parser.add_argument("--rows", type=int, default=96, help="of each layer")
    parser.add_argument("--layers", nargs="*", default=LAYERS)
    parser.add_argument("--goals", nargs="*", default=list(GOALS), choices=list(GOALS))
    parser.add_argument("--out", type=Path, default=CHECKOUT / "figures" / "measured" / "05_swaps.json")
    given = parser.parse_args()
    torch.set_num_threads(1)
    runs = [small(columns, given.small_rows) for columns in given.columns]
    if given.text is not None:
        text = given.text.read_text(encoding="utf-8")
        found = hessians(given.model, given.layers, text, given.segments, given.length)
        runs += [on_layer(layer, *found[layer], goal, given.rows) for layer in given.layers for goal in given.goals]
    settings = {key: getattr(given, key) for key in ("model", "segments", "length")} | {"per_problem": PER_PROBLEM}
    write_runs(given.out, __doc__.split("\n")[0], settings, runs)


if __name__ == "__main__":
    main()
