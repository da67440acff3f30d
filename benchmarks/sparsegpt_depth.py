"""Time and peak memory of pruning a randomly drawn causal model by SparseGPT, by its number of blocks.

    python benchmarks/sparsegpt_depth.py [--out figures/measured/05_depth.json] [--depths 6 12 24] [--width 1024]

Each depth runs in a process of its own, so that peaks do not mix. Time should be linear in the blocks, and what pruning
needs beside weights and calibration data should not grow with them.
"""

import argparse
import multiprocessing
import resource
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import torch

from pruning_lib.after_training import sparsegpt
from pruning_lib.files import CHECKOUT
from pruning_lib.reproduction.results import provenance, write_json
from pruning_lib.workbench import text
from pruning_lib.workbench.gpt import GPT, Config

HEAD = 64  # width of an attention head
LIMIT = 24 * 2**30  # bytes


def measure(depth: int, width: int, segments: int, length: int, threads: int) -> dict:
    """Prune a model of `depth` blocks to 50 %; run in a fresh process."""
    torch.set_num_threads(threads)
    model = GPT(Config(width=width, depth=depth, heads=width // HEAD, context=length)).eval()
    tokens = torch.randint(0, 256, (100 * length,), generator=torch.Generator().manual_seed(0))
    batches = list(text.windows(tokens, length, segments, seed=0).split(1))
    before = peak()
    start, cpu = time.perf_counter(), time.process_time()
    masks = sparsegpt.prune_model(model, batches, sparsity=0.5, progress=False)
    return {
        "depth": depth,
        "weights": masks.total,
        "sparsity": masks.sparsity,
        "seconds": time.perf_counter() - start,
        "cpu_seconds": time.process_time() - cpu,  # what a busy machine disturbs least
        "model_bytes": sum(parameter.numel() * parameter.element_size() for parameter in model.parameters()),
        "peak_bytes_before": before,
        "peak_bytes": peak(),
    }


def peak() -> int:
    """Largest resident memory of this process so far, in bytes (Linux counts in KiB, macOS in bytes)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=CHECKOUT / "figures" / "measured" / "05_depth.json")
    parser.add_argument("--depths", type=int, nargs="+", default=[6, 12, 24])
    parser.add_argument("--width", type=int, default=1024)
    parser.add_argument("--segments", type=int, default=8)
    parser.add_argument("--length", type=int, default=128, help="tokens of a segment")
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    runs = []
    for depth in given.depths:
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
            run = pool.submit(measure, depth, given.width, given.segments, given.length, given.threads).result()
        runs.append(run)
        print(
            f"{depth:3} blocks, {run['weights']:,} weights: {run['seconds']:.1f} s, {run['seconds'] / depth:.2f} s "
            f"and {run['cpu_seconds'] / depth:.2f} s of CPU a "
            f"block, peak {run['peak_bytes'] / 2**30:.2f} GiB (at most {LIMIT / 2**30:.0f}), "
            f"weights {run['model_bytes'] / 2**30:.2f} GiB"
        )
    torch.set_num_threads(given.threads)
    settings = {key: getattr(given, key) for key in ("width", "segments", "length", "threads")}
    record = {"about": __doc__.split("\n")[0]} | provenance() | {"settings": settings, "runs": runs}
    write_json(given.out, record)


if __name__ == "__main__":
    main()
