"""The models that the widget of notebook 05b runs: the trained GPT, dense and pruned, as whole numbers of few bytes.

    python benchmarks/packed_gpt.py [--out pruning_lib/workbench/checkpoints/byte_gpt_packed.safetensors]

The dense model's blocks are rounded to a grid of 2^4 values a row, jointly as in GPTQ (SparseGPT that prunes nothing);
its embeddings to 255 values. Magnitude then prunes this model. SparseGPT, and SparseGPT with refit, prune the float32
model, as in benchmarks/sparsegpt_language.py; what stays is rounded to the same grid, which goes on beyond its ends.
Each perplexity, before and after rounding, is kept in the file. Minutes on one thread; it writes at the end.
"""

import argparse
import copy
from pathlib import Path

import torch
from sparsegpt_language import CALIBRATION, pruned
from torch import Tensor

from pruning_lib.after_training import magnitude, sparsegpt
from pruning_lib.after_training.quantization import Grid
from pruning_lib.structure import prunable
from pruning_lib.workbench import language, text
from pruning_lib.workbench.packed_gpt import PACKED, pack

BITS = 4  # a fifth one would cost a third of a megabyte
SPARSITIES = (0.7, 0.8)


def grids(dense: language.GPT) -> dict[str, Tensor]:
    """The distance between neighboring values of every matrix's rows, (rows,)."""
    blocks = prunable(dense)
    return {
        name: Grid.of(value, BITS).scale if name in blocks else value.abs().amax(1) / 127
        for name, value in dense.state_dict().items()
        if value.ndim > 1
    }


def rounded(model: language.GPT, scales: dict[str, Tensor]) -> language.GPT:
    """A copy of `model` whose matrices are at the nearest values of their grids."""
    model = copy.deepcopy(model)
    for name, scale in scales.items():
        weight = model.get_parameter(name).data
        weight.copy_((weight / scale.unsqueeze(1)).round() * scale.unsqueeze(1))
    return model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=PACKED)
    given = parser.parse_args()
    torch.set_num_threads(1)
    exact, about = language.load_checkpoint()
    source = text.load(about["text"])
    windows = text.windows(source.train, CALIBRATION["length"], CALIBRATION["segments"], CALIBRATION["seed"])
    batches = list(windows.split(CALIBRATION["batch"]))
    scales = grids(exact)
    dense = copy.deepcopy(exact)
    sparsegpt.prune_model(dense, batches, sparsity=0.0, bits=BITS, progress=False)
    dense = rounded(dense, scales)
    models, bases, variants = {}, {}, []

    def add(
        name: str, method: str, sparsity: float, base: str | None, before: language.GPT, model: language.GPT
    ) -> None:
        models[name], bases[name] = model, base
        perplexity, packed = (language.perplexity(each, source.held_out) for each in (before, model))
        variant = {"name": name, "method": method, "sparsity": sparsity, "float32": perplexity, "perplexity": packed}
        variants.append(variant)
        print(f"{name}: perplexity {perplexity:.3f} in float32, {packed:.3f} as packed", flush=True)

    add("dense", "dense", 0.0, None, exact, dense)
    nearest = "dense"  # to what SparseGPT makes at the next sparsity
    for sparsity in SPARSITIES:
        after = copy.deepcopy(dense)
        magnitude.prune(after, sparsity, scope="layer").zero_(after)
        before, _ = pruned(exact, "magnitude", {"sparsity": sparsity}, batches)
        add(f"magnitude, {sparsity:.0%}", "magnitude", sparsity, "dense", before, after)
        for method in ("sparsegpt", "sparsegpt+refit"):
            before, _ = pruned(exact, method, {"sparsity": sparsity}, batches)
            name = f"{method}, {sparsity:.0%}"
            add(name, method, sparsity, nearest, before, rounded(before, scales))
            nearest = name if method == "sparsegpt" else nearest
    settings = {"bits": BITS, "calibration": CALIBRATION, "held_out_sha256": text.digest(source.held_out)}
    packed = pack(models, scales, bases, {"variants": variants, "settings": settings})
    packed.save(given.out)
    for name, part in packed.parts.items():
        print(f"{name}: {len(part):,} bytes")
    print(f"{given.out}: {given.out.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
