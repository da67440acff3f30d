r"""Perplexity, bits per byte and layer errors of a real language model after one-shot pruning, by method and target.

As the record of SmolLM2 (figures/measured/05_smollm2.json) was made, on the raw test split of WikiText2 in a file:

    python benchmarks/sparsegpt_hub.py --model smollm2 --text wikitext2-raw-test.txt --context 1024 --segments 16 \
        --measured 16 --sparsity 0.5 0.6 0.7 --seeds 0 1 2 --counts 1 2 4 8 32 --dense-inputs 50% 60% 2:4 \
        --composed --calibrate-on topics tinyshakespeare.txt --threads 1 --out figures/measured/05_smollm2.json

and OPT by the SparseGPT paper's protocol, beside the paper's numbers, where there is a network:

    python benchmarks/sparsegpt_hub.py [--model facebook/opt-125m]

With a text, calibrated on segments of its first half and measured on its second, or on evenly spread segments of it;
else calibrated on C4 and measured on all of raw WikiText2. Everything is chosen layer by layer. Each layer's error,
‖WX − ŴX‖²/‖WX‖², is that on its own calibration inputs: those that the layers pruned before it put out, which differ
from method to method. `--dense-inputs` compares all methods on the same ones, which the dense model gives. How many
segments (`--counts`) and which text (`--calibrate-on`) are tried at the first target only. Magnitude and a random
mask need no data: alone they are run with the first seed only. Seconds are those of the clock and, "processor", of all
threads.

Needs the extra `llm`. Each finished case is added to the file at once; started again with the same settings, only the
missing ones are made. Cases can be shared among processes, with other `--seeds` or `--only` and another file each:
`--add` takes their records in.
"""

import argparse
import copy
import hashlib
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from pruning_lib.after_training import sparsegpt, swaps, wanda
from pruning_lib.after_training.calibration import PruneLayer, prune_in_order
from pruning_lib.after_training.elimination import eliminate_, factor
from pruning_lib.after_training.reconstruction import Hessian, check_target, error, refit
from pruning_lib.checks import check_at_least, check_choice
from pruning_lib.files import CHECKOUT
from pruning_lib.reproduction import measured, records
from pruning_lib.structure import Masks, keep_largest, keep_n_of_m
from pruning_lib.workbench import huggingface
from pruning_lib.workbench import text as texts
from pruning_lib.workbench.language import bits_per_byte, perplexity

PAPER_SEGMENTS = 128
CALIBRATION_SHARE = 0.5  # of a text given instead of the paper's two; the rest of it is measured on
START, C4 = "its start", "C4"  # the calibration data of every case but those of `--calibrate-on`
PROMPT = "The history of the steam engine began"
CONTINUED = 40  # tokens


def magnitude(
    weight: Tensor, hessian: Tensor, sparsity: float | None = None, n_m: tuple[int, int] | None = None
) -> tuple[Tensor, Tensor]:
    scores = {"weight": weight.abs()}
    keep = (keep_n_of_m(scores, *n_m) if n_m else keep_largest(scores, sparsity, scope="layer"))["weight"]
    return weight.masked_fill(~keep, 0), keep


def magnitude_per_row(weight: Tensor, hessian: Tensor, **target: Any) -> tuple[Tensor, Tensor]:
    """The same number of weights in each row, as Wanda keeps them; n:m is per row anyway."""
    if target.get("n_m"):
        return magnitude(weight, hessian, **target)
    rows = {str(index): row.abs() for index, row in enumerate(weight)}
    keep = torch.stack(list(keep_largest(rows, target["sparsity"], scope="layer").values()))
    return weight.masked_fill(~keep, 0), keep


def at_random(weight: Tensor, hessian: Tensor, **target: Any) -> tuple[Tensor, Tensor]:
    """The same number per row, drawn; a layer's own weights seed its generator, so that no two layers share a draw."""
    generator = torch.Generator().manual_seed(int(weight.double().norm() * 1e6))
    _, keep = magnitude_per_row(torch.rand(weight.shape, generator=generator).to(weight.device), hessian, **target)
    return weight.masked_fill(~keep, 0), keep


def as_they_are(weight: Tensor, hessian: Tensor, keep: Tensor) -> Tensor:
    return weight.masked_fill(~keep, 0)


def update(weight: Tensor, hessian: Tensor, keep: Tensor) -> Tensor:
    """SparseGPT's pass over the columns, on a mask that is there already."""
    T, pivots, dead = factor(hessian, 0.01, weight.dtype)
    W = weight.T.clone(memory_format=torch.contiguous_format)
    W[dead] = 0
    D, _ = eliminate_(W, T, pivots, len(W), lambda scores: keep.T)
    return (weight - D.T).masked_fill_(~keep | dead, 0)


def least_squares(weight: Tensor, hessian: Tensor, keep: Tensor) -> Tensor:
    return refit(weight, hessian, keep, 0.01, start=update(weight, hessian, keep))


def composed(choose: Callable, reconstruct: Callable, weight: Tensor, hessian: Tensor, **target: Any):
    """The mask of one method, the weights on it by another."""
    _, keep = choose(weight, hessian, **target)
    return reconstruct(weight, hessian, keep), keep


METHODS = {  # (weight, hessian, sparsity=, n_m=) -> (weight, keep); the first ones are the quickest
    "magnitude": magnitude,
    "wanda": wanda.prune_weight,
    "sparsegpt": sparsegpt.prune_weight,
    "sparsegpt+refit": partial(sparsegpt.prune_weight, refit=True),
    "wanda+refit": partial(composed, wanda.prune_weight, least_squares),
    "magnitude+refit": partial(composed, magnitude, least_squares),
    "swaps": swaps.prune_weight,  # refitted
}
COMPOSED = {  # what is left of {mask} x {as they are, SparseGPT's update, least squares}, and controls of the mask
    "magnitude+update": partial(composed, magnitude, update),
    "wanda+update": partial(composed, wanda.prune_weight, update),
    "sparsegpt's mask": partial(composed, sparsegpt.prune_weight, as_they_are),
    "swaps' mask": partial(composed, swaps.prune_weight, as_they_are),
    "swaps+update": partial(composed, swaps.prune_weight, update),
    "magnitude per row": magnitude_per_row,
    "magnitude per row+refit": partial(composed, magnitude_per_row, least_squares),
    "random": at_random,
    "random+refit": partial(composed, at_random, least_squares),
}
WITHOUT_DATA = {"magnitude", "magnitude per row", "random"}
_EVERY = METHODS | COMPOSED


@dataclass(frozen=True)
class Case:
    """What tells one run from the others in a file."""

    pattern: str
    method: str
    seed: int
    segments: int
    calibrated_on: str
    inputs: str = "own"  # or "dense": layer errors on the dense model's inputs, and nothing else


class Clock:
    """Seconds since it was made."""

    def __init__(self):
        self.wall, self.processor = time.perf_counter(), time.process_time()

    def read(self) -> dict[str, float]:
        return {
            "seconds": round(time.perf_counter() - self.wall, 2),
            "processor_seconds": round(time.process_time() - self.processor, 2),
        }


@dataclass(frozen=True)
class Material:
    """Model and data, and of what is measured the tokens (count,), those predicted and the bytes they stand for."""

    model: nn.Module
    tokenizer: Any
    context: int
    documents: dict[str, Sequence[str] | None]  # calibration texts by name; None: C4
    tokens: Tensor
    predicted: int
    bytes: int

    def batches(self, case: Case) -> list[Tensor]:
        documents, device = self.documents[case.calibrated_on], next(self.model.parameters()).device
        drawn = huggingface.calibration(self.tokenizer, documents, case.segments, self.context, case.seed)
        return [batch.to(device) for batch in drawn]


def walk(model: nn.Module, batches: list[Tensor], prune_layer: Callable, multiple_of: int = 1) -> Masks:
    """Prune the linear layers of the blocks (embeddings and head stay) by `prune_layer`(name, weight, hessian)."""
    layers = huggingface.layers(model)
    names = {model.get_submodule(name).weight.data_ptr(): name for name in layers}
    named: PruneLayer = lambda weight, hessian: prune_layer(names[weight.data_ptr()], weight, hessian)  # noqa: E731
    return prune_in_order(model, batches, named, Hessian, layers, multiple_of)


def pruned(
    dense: nn.Module, method: str, target: dict[str, Any], batches: list[Tensor]
) -> tuple[nn.Module, float, dict[str, float]]:
    """A copy of `dense`, pruned; its sparsity in the layers that are pruned; the error of each on its own inputs."""
    model, errors = copy.deepcopy(dense), {}

    def prune_layer(name: str, weight: Tensor, hessian: Tensor) -> tuple[Tensor, Tensor]:
        found, keep = _EVERY[method](weight, hessian, **target)
        errors[name] = error(weight, found, hessian)
        return found, keep

    masks = walk(model, batches, prune_layer, target["n_m"][1] if "n_m" in target else 1)
    return model, masks.sparsity, errors


def dense_hessians(model: nn.Module, batches: list[Tensor]) -> dict[str, Tensor]:
    """H of each layer's inputs in `model` as it is, which stays so."""
    found = {}

    def keep_all(name: str, weight: Tensor, hessian: Tensor) -> tuple[Tensor, Tensor]:
        found[name] = hessian
        return weight, torch.ones_like(weight, dtype=torch.bool)

    walk(model, batches, keep_all)
    return found


def make_perplexity(case: Case, target: dict[str, Any], material: Material) -> dict[str, Any]:
    """Prune (or not) and measure."""
    model, run = material.model, {"sparsity": 0.0}
    if target:
        batches = material.batches(case)
        run["calibration_sha256"] = digest(batches)
        clock = Clock()
        model, run["sparsity"], errors = pruned(model, case.method, target, batches)
        run["pruning"] = clock.read()
        run["layer_errors"] = in_order(model, errors)
    run["perplexity"] = perplexity(model, material.tokens, material.context, batch_size=1, progress=True)
    run["bits_per_byte"] = bits_per_byte(run["perplexity"], material.predicted / material.bytes)
    run["continued"] = continued(model, material.tokenizer)
    return run


def make_dense_inputs(case: Case, target: dict[str, Any], model: nn.Module, hessians: dict) -> dict[str, Any]:
    """The error of each layer on the dense model's inputs."""
    errors = {}
    for name, hessian in tqdm(hessians.items(), desc="pruning", unit="layer", leave=False):
        weight = model.get_submodule(name).weight.detach()
        errors[name] = error(weight, _EVERY[case.method](weight, hessian, **target)[0], hessian)
    return {"layer_errors": in_order(model, errors)}


def in_order(model: nn.Module, errors: dict[str, float]) -> list[float]:
    """`errors` to four digits, in the order of `huggingface.layers`, which the record's settings hold."""
    return [float(f"{errors[name]:.4g}") for name in huggingface.layers(model)]


def continued(model: nn.Module, tokenizer: Any) -> str:
    """How `model` goes on after `PROMPT`, each time with the likeliest token."""
    tokens = huggingface.tokenize(tokenizer, PROMPT).unsqueeze(0).to(next(model.parameters()).device)
    count = min(CONTINUED, model.config.max_position_embeddings - tokens.shape[1])
    if count < 1:
        return ""
    found = model.generate(
        tokens,
        attention_mask=torch.ones_like(tokens),
        max_new_tokens=count,
        do_sample=False,
        use_cache=True,
        pad_token_id=tokenizer.eos_token_id,
    )
    return tokenizer.decode(found[0, tokens.shape[1] :])


def patterns(sparsity: Sequence[float], n_m: Sequence[str]) -> dict[str, dict[str, Any]]:
    """By name, what is asked of `pruned`; ValueError if it cannot be had."""
    found: dict[str, dict[str, Any]] = {f"{100 * share:g} %": {"sparsity": share} for share in sparsity}
    for text in n_m:
        parts = text.split(":")
        if len(parts) != 2 or not all(part.isdecimal() for part in parts):
            raise ValueError(f"n-m is {text!r}, must be two whole numbers such as 2:4: two of every four stay")
        found[text] = {"n_m": (int(parts[0]), int(parts[1]))}
    for target in found.values():
        check_target(target.get("sparsity"), target.get("n_m"))
    return found


def cases(given: argparse.Namespace, wanted: dict[str, dict[str, Any]]) -> Iterator[Case]:
    """All cases in the order in which they are made: with the first seed everything, then the other seeds."""
    first, *others = given.seeds
    target, usual = next(iter(wanted), None), START if given.text else C4

    def main(seed: int) -> Iterator[Case]:
        for method in given.only:
            for pattern in wanted if seed == first or method not in WITHOUT_DATA else ():
                yield Case(pattern, method, seed, given.segments, usual)

    yield Case("dense", "dense", 0, 0, usual)
    yield from main(first)
    for pattern in given.dense_inputs:
        for method in given.only:
            yield Case(check_choice("dense-inputs", pattern, wanted), method, first, given.segments, usual, "dense")
    for method in COMPOSED if given.composed and target else ():
        if method in given.only:  # above
            continue
        for inputs in ("own", "dense") if target in given.dense_inputs else ("own",):
            yield Case(target, method, first, given.segments, usual, inputs)
    if target:
        for source in given.calibrate_on if "sparsegpt" in given.only else ():
            yield Case(target, "sparsegpt", first, given.segments, Path(source).name)
        for method in ("sparsegpt", "wanda"):
            for count in given.counts if method in given.only else ():
                yield Case(target, method, first, count, usual)
    for seed in others:
        yield from main(seed)


def prepare(given: argparse.Namespace) -> Material:
    """All that may have to be fetched."""
    text = huggingface.wikitext() if given.text in (None, "wikitext2") else read(given.text)
    documents: dict[str, Sequence[str] | None] = {C4: None}
    if given.text:
        end = int(CALIBRATION_SHARE * len(text))
        documents, text = {START: [text[:end]]}, text[end:]
    for source in given.calibrate_on:
        documents[Path(source).name] = [texts.decode(texts.topics().train) if source == "topics" else read(source)]
    model, tokenizer = huggingface.load(given.model, dtype=torch.float32, device=given.device)
    longest = model.config.max_position_embeddings
    context = min(longest, huggingface.PAPER_CONTEXT) if given.context is None else given.context
    if not 2 <= context <= longest:
        raise ValueError(f"context is {context}, must be at least 2 and at most {longest} as the model's")
    for name, document in documents.items():
        if document and (count := len(huggingface.tokenize(tokenizer, document[0]))) < context:
            raise ValueError(f"text to calibrate on ({name}) has {count} tokens, must have context = {context}")
    return Material(model, tokenizer, context, documents, *to_measure(tokenizer, text, context, given.measured))


def to_measure(tokenizer: Any, text: str, context: int, count: int | None) -> tuple[Tensor, int, int]:
    """The tokens of `count` segments of `text`, evenly spread; how many are predicted, and the bytes they stand for."""
    encoded = tokenizer(text, verbose=False, return_offsets_mapping=True)
    tokens, ends = torch.tensor(encoded["input_ids"]), [end for _, end in encoded["offset_mapping"]]
    if len(tokens) < context:
        raise ValueError(f"text to measure on has {len(tokens)} tokens, must have at least context = {context}")
    rows = texts.segments(tokens, context)
    count = len(rows) if count is None else count
    if not 1 <= count <= len(rows):
        raise ValueError(f"measured is {count}, must be at least 1 and at most {len(rows)}: the segments of the text")
    places = [place * len(rows) // count for place in range(count)]
    # The first token of a segment is given: what is predicted begins where it ends.
    spans = [text[ends[place * context] : ends[(place + 1) * context - 1]] for place in places]
    return rows[places].flatten(), count * (context - 1), sum(len(span.encode()) for span in spans)


def read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        reason = f"byte {error.object[error.start]:#04x} at {error.start}"
        raise ValueError(f"text {path!r} has {reason}, must be UTF-8: convert it first") from None


def paper_value(model: str, pattern: str, method: str) -> dict[str, Any] | None:
    """The paper's perplexity on raw WikiText2, with its mark (R: read there, M: from memory), if it was looked up."""
    method = {"sparsegpt": "SparseGPT"}.get(method, method)
    case = "dense" if method == "dense" else f"{method} {pattern}"
    name = model.removeprefix("facebook/opt-")
    return None if name == model else measured.paper_values("05b_sparsegpt_model").get(f"OPT-{name.upper()}, {case}")


def digest(tensors: Iterable[Tensor]) -> str:
    """SHA-256 of the bytes of all `tensors`."""
    found = hashlib.sha256()
    for tensor in tensors:
        found.update(tensor.detach().cpu().contiguous().numpy())
    return found.hexdigest()


def make(given: argparse.Namespace) -> None:
    """Make the cases that the file does not hold yet, and print all."""
    targets = patterns(given.sparsity, given.n_m)
    wanted = list(dict.fromkeys(cases(given, targets)))
    check_at_least(1, **{"segments": given.segments, "counts": min(given.counts, default=1)})
    material = prepare(given)
    settings = {
        "model": given.model,
        "text": "given: calibration on its first half" if given.text else "calibration C4, measured on WikiText2",
        "context": material.context,
        "measured": {"tokens": material.predicted, "bytes": material.bytes, "sha256": digest([material.tokens])},
        "weights_sha256": digest(material.model.parameters()),
        "magnitude": "per layer",
        "prompt": PROMPT,
        "layers": huggingface.layers(material.model),
        "transformers": sys.modules["transformers"].__version__,
    }
    names = [field.name for field in fields(Case)]
    runs = records.runs_in(given.out, settings)
    for other in given.add:
        if not other.exists():
            raise ValueError(f"add is {str(other)!r}, must be a record: there is none")
        runs += records.runs_in(other, settings)
    found: dict[Case, dict[str, Any]] = {}
    for run in runs:
        found.setdefault(Case(**{name: run[name] for name in names}), run)

    def write() -> None:
        records.write_runs(given.out, __doc__.split("\n")[0], settings, list(found.values()))

    if given.add:
        write()
    # Another text or fewer segments are another setting than the paper's.
    as_in_paper = not given.text and given.segments == PAPER_SEGMENTS and material.context == huggingface.PAPER_CONTEXT
    hessians = None
    for number, case in enumerate(wanted, 1):
        if case not in found:
            print(f"{number} of {len(wanted)}: {described(case)}", file=sys.stderr, flush=True)
            clock = Clock()
            target = targets.get(case.pattern, {})
            if case.inputs == "dense":
                hessians = hessians or dense_hessians(material.model, material.batches(case))
                run = make_dense_inputs(case, target, material.model, hessians)
            else:
                run = make_perplexity(case, target, material)
                run["paper"] = paper_value(given.model, case.pattern, case.method) if as_in_paper else None
            found[case] = asdict(case) | run | clock.read()
            write()
        show(case, found[case])


def described(case: Case) -> str:
    text = f"{case.pattern} {case.method}"
    if case.pattern != "dense":
        text += f", seed {case.seed}, {case.segments} segments"
    if case.calibrated_on not in (START, C4):
        text += f" of {case.calibrated_on}"
    return text + (", on the dense model's inputs" if case.inputs == "dense" else "")


def show(case: Case, run: dict[str, Any]) -> None:
    if case.inputs == "dense":
        mean = sum(run["layer_errors"]) / len(run["layer_errors"])
        print(f"{described(case)}: mean layer error {100 * mean:.3f} %", flush=True)
        return
    beside = f", paper {run['paper']['value']:g} [{run['paper']['mark']}]" if run["paper"] else ""
    found = f"perplexity {run['perplexity']:.2f}{beside}, {run['bits_per_byte']:.3f} bits per byte"
    print(f"{described(case)}: {found}, {run['seconds']:.0f} s", flush=True)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", default="facebook/opt-125m", help="smollm2, a folder, a GGUF file, or on the hub")
    parser.add_argument("--sparsity", type=float, nargs="*", default=[0.5], help="of the unstructured cases")
    parser.add_argument("--n-m", nargs="*", default=["2:4", "4:8"], help="patterns: n of every m weights stay")
    parser.add_argument("--only", nargs="+", choices=_EVERY, default=list(METHODS), metavar="METHOD")
    parser.add_argument(
        "--composed", action="store_true", help="every mask with every reconstruction, at the first target"
    )
    parser.add_argument("--text", help="a file, or wikitext2 from the hub; left out, C4 and WikiText2 as in the paper")
    parser.add_argument("--context", type=int, help="tokens of a segment; left out, the model's, at most 2048")
    parser.add_argument("--segments", type=int, default=PAPER_SEGMENTS, help="of calibration data")
    parser.add_argument("--measured", type=int, help="segments measured, evenly spread; left out, all")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="of the calibration data")
    parser.add_argument("--counts", type=int, nargs="*", default=[], help="segments of calibration data tried besides")
    parser.add_argument("--calibrate-on", nargs="*", default=[], metavar="TEXT", help="topics (Python's own) or a file")
    parser.add_argument("--dense-inputs", nargs="*", default=[], metavar="PATTERN", help="such as '50 %%' 2:4")
    parser.add_argument("--threads", type=int, help="left out, torch's own choice")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--add", type=Path, nargs="*", default=[], help="records of other processes to take in")
    parser.add_argument("--out", type=Path, default=CHECKOUT / "figures" / "measured" / "05_opt.json")
    given = parser.parse_args(arguments)
    if given.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device is cuda, must be cpu: torch finds no GPU")
    given.dense_inputs = [pattern.replace(" ", "").replace("%", " %") for pattern in given.dense_inputs]
    try:
        if given.threads is not None:
            check_at_least(1, threads=given.threads)
            torch.set_num_threads(given.threads)
        for package in ("transformers",) if given.text not in (None, "wikitext2") else ("transformers", "datasets"):
            if find_spec(package) is None:
                sys.exit(f"{package} is not installed; to install the extra llm: python -m pip install -e .[llm]")
        with records.locked(given.out):
            make(given)
    except (ValueError, OSError, ModuleNotFoundError) as error:  # what the hub's clients raise is an OSError
        sys.exit(f"{type(error).__name__}: {' '.join(str(error).split())}")


if __name__ == "__main__":
    main()
