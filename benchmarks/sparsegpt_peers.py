"""SparseGPT here and in llm-compressor on the same layers: seconds in turns, layer error, peak memory.

    python -m pip install --no-deps --target build/peers llmcompressor loguru
    PYTHONPATH=build/peers python benchmarks/sparsegpt_peers.py [--text wikitext2-raw-test.txt] [--rounds 5]

Needs the extra `llm`. Of llm-compressor one file is loaded, the one that prunes a weight given its Hessian; its other
requirements, an older PyTorch among them, are not needed for that. Where it is missing, a line says so, and that is
all.

Layers are random ones with correlated inputs, and with `--text` those of SmolLM2, calibrated on its first half. Both
get the same weight and Hessian, blocks of 128 columns, damping 0.01, float32. Seconds are of the processor, one
thread, medians of rounds in which both take turns; the ratio is the median of the rounds' own ratios. Peak memory is
measured in a process of its own for each (Linux only), weight and Hessian included: llm-compressor's overwrites the
Hessian it is given, the library's leaves it as it is. Each finished case is added to the file; started again, only the
missing ones are made.
"""

import argparse
import hashlib
import importlib.metadata
import importlib.util
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import torch
from sparsegpt import GOALS, SIZES, in_a_process, layer, peak_of
from sparsegpt_hub import read
from swaps import LAYERS, hessians, timed
from torch import Tensor, nn

from pruning_lib.after_training import sparsegpt
from pruning_lib.after_training.reconstruction import error
from pruning_lib.checks import check_at_least
from pruning_lib.files import CHECKOUT
from pruning_lib.reproduction import records

PEER = "llmcompressor"
INSTALL = f"python -m pip install --no-deps --target build/peers {PEER} loguru (and then PYTHONPATH=build/peers)"
COMMANDS = {PEER: INSTALL, "loguru": INSTALL, "transformers": "python -m pip install -e .[llm]"}
FILE = Path("modifiers", "pruning", "sparsegpt", "sgpt_sparsify.py")
BLOCK, DAMPING = 128, 0.01  # what both have by default
MODEL, SEGMENTS, LENGTH = "smollm2", 16, 512  # the calibration data of its layers

Prune = Callable[[Tensor, list[Tensor], str], Tensor]  # takes the Hessian out of the list


def ours(weight: Tensor, given: list[Tensor], goal: str) -> Tensor:
    return sparsegpt.prune_weight(weight, given[0], **GOALS[goal], block=BLOCK, damping=DAMPING)[0]


def theirs(sparsify: Callable, weight: Tensor, given: list[Tensor], goal: str) -> Tensor:
    module = nn.Linear(*reversed(weight.shape), bias=False, device="meta")
    module.weight = nn.Parameter(weight, requires_grad=False)
    n, m = GOALS[goal].get("n_m", (0, 0))
    return sparsify(
        module,
        {module: given.pop()},
        sparsity=GOALS[goal].get("sparsity", 0.0),
        prune_n=m - n,
        prune_m=m,
        block_size=BLOCK,
        dampening_frac=DAMPING,
        preserve_sparsity_mask=False,
    )[1]


def methods() -> dict[str, Prune]:
    """Both. Of llm-compressor the file is loaded by itself: its package would import all that it requires.

    ModuleNotFoundError if a package is missing, with the command that brings it.
    """
    for package, command in COMMANDS.items():
        if importlib.util.find_spec(package) is None:
            raise ModuleNotFoundError(f"{package} is not installed, so nothing is compared: {command}")
    path = Path(importlib.util.find_spec(PEER).submodule_search_locations[0], *FILE.parts)
    if not path.exists():
        raise ValueError(f"{PEER} {importlib.metadata.version(PEER)} has no {FILE}, must have it, as 0.14 does")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return {"ours": ours, "theirs": partial(theirs, module.sparsify_weight)}


def compared(both: dict[str, Prune], weight: Tensor, hessian: Tensor, goal: str, rounds: int) -> dict:
    """Both in turns, after a round to warm up."""
    pruned = {name: prune(weight, [hessian.clone()], goal) for name, prune in both.items()}
    seconds = {name: [] for name in both}
    for _ in range(rounds):
        for name, prune in both.items():
            given = [hessian.clone()]
            seconds[name].append(timed(lambda: prune(weight, given, goal))[0])  # noqa: B023
    ratios = [slow / fast for fast, slow in zip(*seconds.values(), strict=True)]
    zeros = {name: part == 0 for name, part in pruned.items()}
    return {
        "processor_seconds": {name: statistics.median(each) for name, each in seconds.items()},
        "ratio": statistics.median(ratios),
        "ratios": [min(ratios), max(ratios)],
        "errors": {name: error(weight, part, hessian.double()) for name, part in pruned.items()},
        "zeros": {name: int(part.sum()) for name, part in zeros.items()},
        "same_mask": (zeros["ours"] == zeros["theirs"]).double().mean().item(),
    }


def peaks(size: str, goal: str) -> dict[str, float] | None:
    """Of both, as multiples of weight plus Hessian."""
    if sys.platform != "linux":
        return None
    found = {name: in_a_process(__file__, "--peak-of", size, goal, name) for name in ("ours", "theirs")}
    return {name: round(peak / least, 3) for name, (peak, least) in found.items()}


def show(run: dict) -> None:
    print(f"{run['layer']} ({run['rows']}x{run['columns']}), {run['goal']}, ours and {PEER}'s:", end=" ")
    print("{ours:.3f} and {theirs:.3f} s".format(**run["processor_seconds"]), end=", ")
    print(f"ratio {run['ratio']:.2f} ({run['ratios'][0]:.2f} to {run['ratios'][1]:.2f})", end=", ")
    print("error {ours:.4%} and {theirs:.4%}".format(**run["errors"]), end=", ")
    print(f"masks {run['same_mask']:.3%} the same", end="")
    print(", peak {ours:.2f} and {theirs:.2f}".format(**run["peak"]) if run["peak"] else "", flush=True)


def shape(size: str) -> tuple[int, int]:
    parts = [int(part) if part.isdecimal() else 0 for part in size.split("x")]
    if len(parts) != 2 or min(parts) < 1 or parts[1] % 4:
        raise ValueError(f"sizes has {size!r}, must be rows and columns such as 768x768, columns a multiple of 4")
    return parts[0], parts[1]


def layers(shapes: list[tuple[int, int]], text: str | None) -> Iterator[tuple[str, Tensor, Tensor]]:
    for rows, columns in shapes:
        yield "random", *layer(rows, columns)
    if text is not None:
        for name, problem in hessians(MODEL, LAYERS, text, SEGMENTS, LENGTH).items():
            yield name, *problem


def make(given: argparse.Namespace, both: dict[str, Prune]) -> None:
    """Make the cases that the file does not hold yet, and print all."""
    check_at_least(1, rounds=given.rounds)
    shapes = [shape(size) for size in given.sizes]
    text = read(given.text) if given.text else None
    settings = {
        "peer": f"{PEER} {importlib.metadata.version(PEER)}",
        "block": BLOCK,
        "damping": DAMPING,
        "model": {"name": MODEL, "segments": SEGMENTS, "length": LENGTH},
        "rounds": given.rounds,
    }
    runs = records.runs_in(given.out, settings)
    for name, weight, hessian in layers(shapes, text):
        for goal in GOALS:
            case = {"layer": name, "rows": len(weight), "columns": len(hessian), "goal": goal}
            if name != "random":
                case["text_sha256"] = hashlib.sha256(text.encode()).hexdigest()
            run = next((run for run in runs if case.items() <= run.items()), None)
            if run is None:
                start = time.perf_counter()
                run = case | compared(both, weight, hessian, goal, given.rounds)
                run["peak"] = peaks(f"{len(weight)}x{len(hessian)}", goal)
                runs.append(run | {"seconds": time.perf_counter() - start})
                records.write_runs(given.out, __doc__.split("\n")[0], settings, runs)
            show(run)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="*", default=SIZES, help="rows x columns of random layers")
    parser.add_argument("--text", help="raw WikiText2's test split, a file; left out, no layers of SmolLM2")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=CHECKOUT / "figures" / "measured" / "05_peers.json")
    parser.add_argument("--peak-of", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    try:
        both = methods()
    except ModuleNotFoundError as missing:
        print(missing)
        return
    except ValueError as wrong:
        sys.exit(str(wrong))
    if given.peak_of:
        size, goal, name = given.peak_of
        peak_of(size, lambda weight, hessians: both[name](weight, hessians, goal))
        return
    try:
        with records.locked(given.out):
            make(given, both)
    except (ValueError, OSError, ModuleNotFoundError) as wrong:
        sys.exit(f"{type(wrong).__name__}: {' '.join(str(wrong).split())}")


if __name__ == "__main__":
    main()
