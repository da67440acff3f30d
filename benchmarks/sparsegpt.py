"""SparseGPT against the textbook loop: seconds in turns, memory at its peak, growth with width.

    python benchmarks/sparsegpt.py [--rounds 5] [--threads 2] [--sizes 768x768 2048x2048] [--skip growth memory]

Both prune the same layer in turns in one process, so that a busy machine slows both; medians and the median ratio of
the pairs are printed, with what the ratio should be at least. Memory is measured in a process of its own per size, as
what the largest resident set grows by, weight and Hessian included, in a second run: buffers that the math library
keeps are there by then. (Linux only; every tensor is mapped by itself, so that what is freed is gone.)
"""

import argparse
import math
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from baselines import textbook_sparsegpt as textbook
from torch import Tensor

from pruning_lib.after_training import sparsegpt
from pruning_lib.after_training.reconstruction import Hessian

SIZES = ["768x768", "3072x768", "768x3072", "2048x2048", "4096x4096"]  # rows x columns
GOALS = {"50 %": {"sparsity": 0.5}, "2:4": {"n_m": (2, 4)}}
AT_LEAST = {("768x768", "50 %"): 4, ("3072x768", "50 %"): 4, ("2048x2048", "50 %"): 3, ("4096x4096", "50 %"): 3}
WIDTHS = [512, 768, 1024, 1536, 2048, 3072]


def layer(rows: int, columns: int) -> tuple[Tensor, Tensor]:
    """A weight and the Hessian of correlated inputs, float32."""
    torch.manual_seed(0)
    mixing = torch.eye(columns) + torch.randn(columns, columns) / math.sqrt(columns)
    hessian = Hessian(columns)
    for _ in range(4):
        hessian.add(torch.randn(columns, columns) @ mixing)
    return torch.randn(rows, columns) / math.sqrt(columns), hessian.matrix


def seconds(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def speed(sizes: list[str], rounds: int) -> None:
    print(f"{'layer':>12} {'goal':>5} {'textbook':>10} {'library':>10} {'ratio':>6}  least   worst pair")
    for size in sizes:
        weight, hessian = layer(*map(int, size.split("x")))
        for goal, options in GOALS.items():
            pairs = [
                (
                    seconds(lambda: textbook.prune_weight(weight, hessian, **options)),  # noqa: B023
                    seconds(lambda: sparsegpt.prune_weight(weight, hessian, **options)),  # noqa: B023
                )
                for _ in range(rounds + 1)
            ][1:]
            slow, fast = (statistics.median(times) for times in zip(*pairs, strict=True))
            ratios = [a / b for a, b in pairs]
            least = AT_LEAST.get((size, goal), 2 if goal == "2:4" else 1)
            print(
                f"{size:>12} {goal:>5} {slow:9.3f}s {fast:9.3f}s {statistics.median(ratios):6.2f}  {least:>5}   "
                f"{min(ratios):10.2f}",
                flush=True,
            )


def growth(rounds: int) -> None:
    """Exponent of time over width for square layers; d_row · d_col³ of separate inverses would be 4."""
    times = []
    for width in WIDTHS:
        weight, hessian = layer(width, width)
        run = [seconds(lambda: sparsegpt.prune_weight(weight, hessian, sparsity=0.5)) for _ in range(rounds + 1)]  # noqa: B023
        times.append(statistics.median(run[1:]))
        print(f"width {width:>5}: {times[-1]:8.3f} s")
    # least squares of log seconds over log width, over all widths and over the larger half
    for part in (slice(None), slice(len(WIDTHS) // 2, None)):
        x, y = torch.tensor(WIDTHS[part]).double().log(), torch.tensor(times[part]).double().log()
        slope = ((x - x.mean()) * (y - y.mean())).sum() / (x - x.mean()).square().sum()
        print(f"time grows as width^{slope.item():.2f} from {WIDTHS[part][0]} on (cubic when products dominate)")


def memory(sizes: list[str]) -> None:
    for size in sizes:
        for goal in GOALS:
            peak, least = in_a_process(__file__, "--peak-of", size, goal)
            print(f"{size:>12} {goal:>5}: peak {peak / least:5.2f} times weight plus Hessian (at most 3)", flush=True)


def in_a_process(*command: str) -> list[float]:
    """The numbers that a script prints, in a process of its own where every tensor is mapped by itself."""
    mapped = os.environ | {"MALLOC_MMAP_THRESHOLD_": "65536", "OMP_NUM_THREADS": str(torch.get_num_threads())}
    done = subprocess.run([sys.executable, *command], stdout=subprocess.PIPE, text=True, check=True, env=mapped)
    return [float(number) for number in done.stdout.split()]


def peak_of(size: str, prune: Callable[[Tensor, list[Tensor]], object]) -> None:
    """Print the peak in bytes, weight and Hessian included, and the bytes of these two.

    The Hessian is handed over in a list, so that it is gone once `prune` takes it out and is done with it.
    """
    rows, columns = map(int, size.split("x"))
    for run in ("warm up", "measure"):
        if run == "measure":
            Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew from here
        before = resident("VmRSS")
        weight, hessians = torch.randn(rows, columns), [torch.eye(columns)]
        hessians[0][0, 1] = hessians[0][1, 0] = 0.5
        prune(weight, hessians)
        peak = resident("VmHWM") - before
        del weight, hessians
    print(peak, 4 * columns * (rows + columns))


def resident(key: str) -> int:
    """Bytes of the resident set now (VmRSS) or at its peak (VmHWM)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(key))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--sizes", nargs="+", default=SIZES, help="rows x columns")
    parser.add_argument("--skip", nargs="*", default=[], choices=["speed", "memory", "growth"])
    parser.add_argument("--peak-of", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.peak_of:
        size, goal = options.peak_of
        peak_of(size, lambda weight, hessians: sparsegpt.prune_weight(weight, hessians[0], **GOALS[goal]))
        return
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, float32")
    if "speed" not in options.skip:
        speed(options.sizes, options.rounds)
    if "memory" not in options.skip and sys.platform == "linux":
        memory(options.sizes)
    if "growth" not in options.skip:
        growth(options.rounds)


if __name__ == "__main__":
    main()
