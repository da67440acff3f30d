"""Perplexity of OPT and its like after one-shot pruning, by the SparseGPT paper's protocol, beside the paper's numbers.

    python benchmarks/sparsegpt_hub.py [--model facebook/opt-125m] [--sparsity 0.5] [--n-m 2:4 4:8] [--text FILE]
                                       [--segments 128] [--device cpu] [--out figures/measured/05_opt.json]

Needs the extra `llm` and, for a model and texts not fetched before, a network. Calibrated on segments of C4, measured
on all of raw WikiText2, as `pruning_lib.workbench.huggingface` says; magnitude is taken layer by layer. Each finished
case is added to the file at once; started again with the same settings, it makes only the missing ones.
"""

import argparse
import copy
import hashlib
import importlib
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pruning_lib.after_training import sparsegpt, wanda
from pruning_lib.after_training.reconstruction import check_target
from pruning_lib.files import CHECKOUT
from pruning_lib.reproduction import measured, records
from pruning_lib.structure import keep_largest, keep_n_of_m
from pruning_lib.workbench import huggingface

METHODS = ("magnitude", "wanda", "sparsegpt", "sparsegpt+refit")
PAPER_SEGMENTS = 128
CALIBRATION_SHARE = 0.9  # of a text given instead of the paper's two; the rest of it is measured on


def pruned(dense: nn.Module, method: str, pattern: dict, batches: list[Tensor]) -> tuple[nn.Module, float]:
    """A copy of `dense`, pruned in the linear layers of its blocks (embeddings and head stay), and their sparsity."""
    model = copy.deepcopy(dense)
    layers = huggingface.layers(model)
    if method == "magnitude":
        scores = {f"{name}.weight": model.get_submodule(name).weight.detach().abs() for name in layers}
        n_m = pattern.get("n_m")
        masks = keep_n_of_m(scores, *n_m) if n_m else keep_largest(scores, pattern["sparsity"], scope="layer")
        masks.zero_(model)
    elif method == "wanda":
        masks = wanda.prune_model(model, batches, **pattern, layers=layers)
    else:
        masks = sparsegpt.prune_model(model, batches, **pattern, layers=layers, refit=method.endswith("refit"))
    return model, masks.sparsity


def patterns(sparsity: float, n_m: Sequence[str]) -> dict[str, dict[str, Any]]:
    """By name, what is asked of `pruned`; ValueError if it cannot be had."""
    found = {f"{100 * sparsity:g} %": {"sparsity": sparsity}}
    for text in n_m:
        parts = text.split(":")
        if len(parts) != 2 or not all(part.isdecimal() for part in parts):
            raise ValueError(f"n-m is {text!r}, must be two whole numbers such as 2:4: two of every four stay")
        found[text] = {"n_m": (int(parts[0]), int(parts[1]))}
    for target in found.values():
        check_target(target.get("sparsity"), target.get("n_m"))
    return found


def prepare(given: argparse.Namespace) -> tuple[nn.Module, Any, str, list[Tensor]]:
    """Model, tokenizer, the text that is measured on, and the calibration data: all that may have to be fetched."""
    model, tokenizer = huggingface.load(given.model, dtype=torch.float32, device=given.device)
    length = min(model.config.max_position_embeddings, huggingface.PAPER_CONTEXT)
    if given.text:
        text = given.text.read_text(encoding="utf-8")
        end = int(CALIBRATION_SHARE * len(text))
        documents, unseen = [text[:end]], text[end:]
    else:
        documents, unseen = None, huggingface.wikitext()
    batches = huggingface.calibration(tokenizer, documents, given.segments, length)
    return model, tokenizer, unseen, [batch.to(given.device) for batch in batches]


def paper_value(model: str, pattern: str, method: str) -> dict[str, Any] | None:
    """The paper's perplexity on raw WikiText2, with its mark (R: read there, M: from memory), if it was looked up."""
    method = {"sparsegpt": "SparseGPT"}.get(method, method)
    case = "dense" if method == "dense" else f"{method} {pattern}"
    name = model.removeprefix("facebook/opt-")
    return None if name == model else measured.paper_values("05_sparsegpt").get(f"OPT-{name.upper()}, {case}")


def digest(tensors: Iterable[Tensor]) -> str:
    """SHA-256 of the bytes of all `tensors`."""
    found = hashlib.sha256()
    for tensor in tensors:
        found.update(tensor.detach().cpu().contiguous().numpy())
    return found.hexdigest()


def make(given: argparse.Namespace) -> None:
    """Make the cases that the file does not hold yet, and print all."""
    wanted = [("dense", "dense", {})]
    for pattern, target in patterns(given.sparsity, given.n_m).items():
        wanted += [(pattern, method, target) for method in METHODS]
    dense, tokenizer, text, batches = prepare(given)
    settings = {
        "model": given.model,
        "text": "given" if given.text else "calibration C4, measured on WikiText2",
        "segments": given.segments,
        "weights_sha256": digest(dense.parameters()),
        "calibration_sha256": digest(batches),
        "measured_sha256": digest([huggingface.tokenize(tokenizer, text)]),
        "magnitude": "per layer",
        "transformers": sys.modules["transformers"].__version__,
    }
    runs = records.runs_in(given.out, settings)
    found = {(run["pattern"], run["method"]): run for run in runs}
    # Another text or fewer segments are another setting than the paper's.
    as_in_paper = not given.text and given.segments == PAPER_SEGMENTS
    for number, (pattern, method, target) in enumerate(wanted, 1):
        if (pattern, method) not in found:
            print(f"{number} of {len(wanted)}: {pattern} {method}", file=sys.stderr, flush=True)
            start = time.perf_counter()
            model, sparsity = pruned(dense, method, target, batches) if target else (dense, 0.0)
            perplexity = huggingface.wikitext_perplexity(model, tokenizer, text)
            run = {"pattern": pattern, "method": method, "sparsity": sparsity, "perplexity": perplexity}
            run["paper"] = paper_value(given.model, pattern, method) if as_in_paper else None
            run["seconds"] = time.perf_counter() - start
            found[pattern, method] = run
            runs.append(run)
            records.write_runs(given.out, __doc__.split("\n")[0], settings, runs)
        run = found[pattern, method]
        paper = run["paper"]
        beside = f", paper {paper['value']:g} [{paper['mark']}]" if paper else ""
        print(f"{pattern:>5} {method:16} {run['perplexity']:9.2f}{beside}", flush=True)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", default="facebook/opt-125m", help="name on the hub, or a folder")
    parser.add_argument("--sparsity", type=float, default=0.5, help="of the unstructured cases")
    parser.add_argument("--n-m", nargs="*", default=["2:4", "4:8"], help="patterns: n of every m weights stay")
    parser.add_argument("--text", type=Path, help="a text instead of C4 (its beginning) and WikiText2 (its last tenth)")
    parser.add_argument("--segments", type=int, default=PAPER_SEGMENTS, help="of calibration data")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--out", type=Path, default=CHECKOUT / "figures" / "measured" / "05_opt.json")
    given = parser.parse_args(arguments)
    if given.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device is cuda, must be cpu: torch finds no GPU")
    try:
        for package in ("transformers",) if given.text else ("transformers", "datasets"):
            importlib.import_module(package)
        with records.locked(given.out):
            make(given)
    except ModuleNotFoundError as error:
        sys.exit(f"{error.name} is not installed; to install the extra llm: python -m pip install -e .[llm]")
    except (ValueError, OSError) as error:  # what the hub's clients raise without a network is an OSError
        sys.exit(f"{type(error).__name__}: {' '.join(str(error).split())}")


if __name__ == "__main__":
    main()
