r"""2:4 on a real language model: what another order of its channels changes, and how small it gets on disk.

As the record of SmolLM2 (figures/measured/06_smollm2.json) was made, on the raw test split of WikiText2 in a file:

    python benchmarks/two_four_language.py --text wikitext2-raw-test.txt --threads 1

Orders, each found once for all sets of channels that are free (`workbench.channels`): as it is; under which 2:4 keeps
most of Σ abs(w); most of Σ abs(w)·‖x‖, with the inputs of the dense model; and, as a control, drawn. In each the model
is pruned and measured as benchmarks/sparsegpt_hub.py does it. "kept" is what 2:4 by these scores keeps of each sum.

"perplexity_4_bits" is measured once more after rounding as llama.cpp's Q4_1 does it, 32 weights to a minimum and a step
(5 bits a weight with them): of a pruned layer the kept values only, as `two_four.pack` puts them side by side, so that
zeros stay zeros. No program runs this mixture. "bytes" counts the whole model: float16, in a safetensors file (values
and 2-bit indices where it is 2:4), and in 4 bits (Q4_1, embeddings in Q8_0, norms in float32, no file around them).
SmolLM2's own weights are those of a Q4_1 file, "gguf" bytes long: dense they fit its grids, pruned and updated not.

Needs the extra `llm`. Each finished case is added to the file at once; started again with the same settings, only the
missing ones are made.
"""

import argparse
import copy
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import sparsegpt_hub as hub
import torch
from torch import Tensor, nn

from pruning_lib.acceleration import storage, two_four
from pruning_lib.after_training.calibration import prune_in_order
from pruning_lib.after_training.reconstruction import Hessian
from pruning_lib.checks import check_at_least
from pruning_lib.files import CHECKOUT
from pruning_lib.reproduction import records
from pruning_lib.workbench import gguf, huggingface
from pruning_lib.workbench.channels import free_channels
from pruning_lib.workbench.language import bits_per_byte, perplexity

AS_IT_IS, MAGNITUDE, ACTIVATIONS, DRAWN = ORDERS = ("as it is", "magnitude", "activations", "drawn")
METHODS = ("magnitude", "sparsegpt", "sparsegpt+refit")
TWO_FOUR = {"n_m": (2, 4)}
DENSE = "dense"


def scores_of(model: nn.Module, batches: list[Tensor]) -> dict[str, dict[str, Tensor]]:
    """By the order's name what 2:4 is to keep much of: abs(w), and abs(w)·‖x‖ with inputs of the dense `model`."""
    layers = huggingface.layers(model)
    weights = {f"{name}.weight": model.get_submodule(name).weight.detach() for name in layers}
    names = {weight.data_ptr(): name for name, weight in weights.items()}
    found = {}

    def score(weight: Tensor, diagonal: Tensor) -> tuple[Tensor, Tensor]:
        found[names[weight.data_ptr()]] = weight.abs() * (diagonal / 2).sqrt()
        return weight, torch.ones_like(weight, dtype=torch.bool)

    prune_in_order(model, batches, score, partial(Hessian, diagonal=True), layers)
    return {MAGNITUDE: weights, ACTIVATIONS: found}


def orders_of(order: str, channels: list, scores: dict[str, dict[str, Tensor]], seed: int) -> list[Tensor]:
    """One order for each set of channels."""
    counts, generator = [len(places[0][2]) for places in channels], torch.Generator().manual_seed(seed)
    if order == AS_IT_IS:
        return [torch.arange(count) for count in counts]
    if order == DRAWN:
        return [torch.randperm(count, generator=generator) for count in counts]
    return two_four.find_orders(channels, scores[order])


def share_kept(channels: list, scores: dict[str, Tensor], orders: list[Tensor]) -> float:
    """Of Σ scores, what 2:4 by them keeps when the channels are in these orders."""
    kept = 0.0
    for places, order in zip(channels, orders, strict=True):
        for name, dim, along in places:
            if dim == 1 and name in scores:
                kept += two_four.kept_magnitude(scores[name][:, along.start : along.stop][:, order])
    return kept / sum(float(score.abs().sum(dtype=torch.float64)) for score in scores.values())


def four_bits(dense: nn.Module) -> tuple[nn.Module, int]:
    """A copy whose layers are rounded as Q4_1 does it, 2:4 ones in their kept values; bytes of the whole model then."""
    from gguf import GGMLQuantizationType, quants

    def rounded(matrix: Tensor, kind: str) -> tuple[Tensor, int]:
        codes = quants.quantize(matrix.contiguous().numpy(), GGMLQuantizationType[kind])
        return torch.from_numpy(quants.dequantize(codes, GGMLQuantizationType[kind])), codes.nbytes

    model = copy.deepcopy(dense)
    layers = {f"{name}.weight" for name in huggingface.layers(model)}
    total = 0
    with torch.no_grad():
        for name, tensor in model.named_parameters():  # a tied head isn't named again
            if name in layers and two_four.is_two_four(tensor):
                values, indices = two_four.pack(tensor)
                values, size = rounded(values, "Q4_1")
                tensor.copy_(two_four.unpack(values, indices, tensor.shape[1]))
                size += two_four.pack_bits(indices, 2).nbytes
            elif tensor.ndim == 2:
                found, size = rounded(tensor, "Q4_1" if name in layers else "Q8_0")
                tensor.copy_(found)
            else:
                size = tensor.nbytes
            total += size
    return model, total


def measure(model: nn.Module, material: hub.Material) -> dict[str, Any]:
    """Perplexity as it is and in 4 bits; bytes both ways."""

    def of(model: nn.Module) -> float:
        return perplexity(model, material.tokens, material.context, batch_size=1, progress=True)

    run = {"perplexity": of(model)}
    run["bits_per_byte"] = bits_per_byte(run["perplexity"], material.predicted / material.bytes)
    rounded, in_four_bits = four_bits(model)
    run["perplexity_4_bits"] = of(rounded)
    in_half = storage.stored(rounded.half())  # 2:4 just where `model` is; float16's smallest may be zero
    run["bytes"] = {"float16": in_half["two_four"].file, "4 bits": in_four_bits}
    return run


def make(given: argparse.Namespace) -> None:
    """Make the cases that the file does not hold yet, and print all."""
    check_at_least(1, segments=given.segments)
    material = hub.prepare(given)
    batches = material.batches(hub.Case("2:4", DENSE, given.seed, given.segments, hub.START))
    channels = free_channels(material.model)
    settings = {
        "model": given.model,
        "context": material.context,
        "calibration": {"segments": given.segments, "seed": given.seed, "sha256": hub.digest(batches)},
        "measured": {"tokens": material.predicted, "bytes": material.bytes, "sha256": hub.digest([material.tokens])},
        "weights_sha256": hub.digest(material.model.parameters()),
        "layers": huggingface.layers(material.model),
        "gguf": gguf.file_in_package().stat().st_size if given.model == gguf.SMOLLM2 else None,
        "transformers": sys.modules["transformers"].__version__,
    }
    runs = records.runs_in(given.out, settings)
    found = {(run["order"], run["method"]): run for run in runs}
    wanted = [(AS_IT_IS, DENSE), *((order, method) for order in given.orders for method in given.only)]
    scores: dict[str, dict[str, Tensor]] = {}
    for order in dict.fromkeys(order for order, _ in wanted):
        permuted = None
        for method in (method for its, method in wanted if its == order):
            if (order, method) not in found:
                print(f"{order}, {method}", file=sys.stderr, flush=True)
                clock = hub.Clock()
                if permuted is None:  # the first case of an order pays for finding it
                    scores = scores or scores_of(material.model, batches)
                    orders = orders_of(order, channels, scores, given.seed)
                    permuted = two_four.permute_channels(material.model, batches[0], channels, orders)
                    kept = {name: share_kept(channels, score, orders) for name, score in scores.items()}
                    ordering = clock.read()
                run = {"order": order, "method": method, "kept": kept, "ordering": ordering}
                model = permuted
                if method != DENSE:
                    pruning = hub.Clock()
                    model, run["sparsity"], errors = hub.pruned(permuted, method, TWO_FOUR, batches)
                    run |= {"pruning": pruning.read(), "layer_errors": hub.in_order(model, errors)}
                found[order, method] = run | measure(model, material) | clock.read()
                records.write_runs(given.out, __doc__.split("\n")[0], settings, list(found.values()))
            show(found[order, method])


def show(run: dict[str, Any]) -> None:
    kept, size = run["kept"], run["bytes"]
    print(
        f"{run['order']}, {run['method']}: perplexity {run['perplexity']:.2f}, "
        f"in 4 bits {run['perplexity_4_bits']:.2f}; "
        f"2:4 keeps {kept[MAGNITUDE]:.2%} of Σ|w|, {kept[ACTIVATIONS]:.2%} of Σ|w|·‖x‖; "
        f"{size['float16'] / 1e6:.1f} MB in float16, {size['4 bits'] / 1e6:.1f} in 4 bits; "
        f"{run['processor_seconds']:.0f} s",
        flush=True,
    )


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.set_defaults(calibrate_on=[], device="cpu")  # what `hub.prepare` asks for besides
    parser.add_argument("--model", default=gguf.SMOLLM2, help="smollm2, or another of LLaMA's kind")
    parser.add_argument("--text", required=True, help="a file, or wikitext2 from the hub")
    parser.add_argument("--context", type=int, default=1024, help="tokens of a segment")
    parser.add_argument("--segments", type=int, default=8, help="of calibration data")
    parser.add_argument("--measured", type=int, default=16, help="segments measured, evenly spread")
    parser.add_argument("--seed", type=int, default=0, help="of the calibration data and of the drawn order")
    parser.add_argument("--orders", nargs="+", choices=ORDERS, default=list(ORDERS), metavar="ORDER")
    parser.add_argument("--only", nargs="+", choices=hub.METHODS, default=list(METHODS), metavar="METHOD")
    parser.add_argument("--threads", type=int, help="left out, torch's own choice")
    parser.add_argument("--out", type=Path, default=CHECKOUT / "figures" / "measured" / "06_smollm2.json")
    given = parser.parse_args(arguments)
    try:
        if given.threads is not None:
            check_at_least(1, threads=given.threads)
            torch.set_num_threads(given.threads)
        with records.locked(given.out):
            make(given)
    except (ValueError, OSError, ModuleNotFoundError) as error:
        sys.exit(f"{type(error).__name__}: {' '.join(str(error).split())}")


if __name__ == "__main__":
    main()
