"""Least squares on SparseGPT's mask: the library's refit against a plain loop of one float64 Cholesky solve per row.

    python benchmarks/refit.py [--rounds 3] [--threads 1] [--sizes 768x768 2048x2048] [--skip speed hard memory]

Both in turns in one process, 50 % pruned, correlated inputs; medians and the median ratio of the pairs, with what it
should be at least. Of the plain loop `--plain-rows` rows are solved and their seconds multiplied by rows / plain rows
(also for the library's exact solution); the library fits all rows. The excess is the layer error over that of the
plain loop on those rows. Peak memory in a process of its own, weight and Hessian included (Linux only).
"""

import argparse
import math
import statistics
import sys
import time
import warnings
from functools import partial

import torch
from sparsegpt import in_a_process, layer, peak_of, seconds
from torch import Tensor

from pruning_lib.after_training import sparsegpt
from pruning_lib.after_training.conjugate_gradients import descend
from pruning_lib.after_training.reconstruction import Hessian, refit

AT_LEAST = {"768x768": 5, "2048x2048": 10, "4096x4096": 20}  # rows x columns
WIDTH, ROWS = 512, 128  # of the hard layers
GOALS = {"50 %": {"sparsity": 0.5}, "90 %": {"sparsity": 0.9}, "2:4": {"n_m": (2, 4)}}


def plain_loop(weight: Tensor, hessian: Tensor, keep: Tensor) -> Tensor:
    W, H = weight.double(), hessian.double()
    targets, fitted = W @ H, torch.zeros_like(W)
    for row, M in enumerate(keep):
        L = torch.linalg.cholesky(H[M][:, M])
        fitted[row, M] = torch.cholesky_solve(targets[row, M, None], L)[:, 0]
    return fitted


def errors(weight: Tensor, fitted: Tensor, hessian: Tensor) -> Tensor:
    """Of each row, in float64."""
    D = weight.double() - fitted.double()
    return (D @ hessian.double()).mul_(D).sum(1)


def speed(sizes: list[str], rounds: int, plain_rows: int) -> None:
    print(f"{'layer':>10} {'plain':>9} {'exact':>9} {'refit':>8} {'ratio':>6} least worst", end="")
    print(f"{'excess: SparseGPT':>18} {'refit':>8} {'max of rows':>13} {'steps':>6}")
    for size in sizes:
        weight, hessian = layer(*map(int, size.split("x")))
        start, keep = sparsegpt.prune_weight(weight, hessian, sparsity=0.5)
        few = slice(0, plain_rows)
        times, share = [], len(weight) / len(weight[few])
        for _ in range(rounds + 1):
            tick = time.perf_counter()
            expected = plain_loop(weight[few], hessian, keep[few])
            plain = (time.perf_counter() - tick) * share
            exact = seconds(lambda: refit(weight[few], hessian, keep[few], tolerance=0)) * share  # noqa: B023
            tick = time.perf_counter()
            fitted = refit(weight, hessian, keep, start=start)
            times.append((plain, exact, time.perf_counter() - tick))
        plain, exact, fast = (statistics.median(column) for column in zip(*times[1:], strict=True))
        ratios = [a / c for a, _, c in times[1:]]
        least = errors(weight[few], expected, hessian)
        began, ended = (errors(weight[few], each[few], hessian) for each in (start, fitted))
        steps = descend(weight[few], hessian, keep[few], start[few], 0.001).steps.double().mean()
        print(
            f"{size:>10} {plain:8.2f}s {exact:8.2f}s {fast:7.2f}s {statistics.median(ratios):6.1f} "
            f"{AT_LEAST.get(size, 1):5} {min(ratios):5.1f} {(began.sum() / least.sum() - 1):17.1%} "
            f"{(ended.sum() / least.sum() - 1):8.3%} {(ended / least - 1).max():13.3%} {steps:6.1f}",
            flush=True,
        )


def hard_layers() -> dict[str, tuple[Tensor, Tensor]]:
    """A weight and a Hessian that are hard for conjugate gradients, by what is hard."""
    generator = torch.Generator().manual_seed(3)

    def drawn(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    mixing = torch.eye(WIDTH) + drawn(WIDTH, WIDTH) / math.sqrt(WIDTH)
    chain = drawn(4 * WIDTH, WIDTH)
    for j in range(1, WIDTH):
        chain[:, j] = 0.99 * chain[:, j - 1] + math.sqrt(1 - 0.99**2) * chain[:, j]
    outlier = drawn(4 * WIDTH, WIDTH) @ mixing
    outlier[:, WIDTH // 3] *= 100
    inputs = {
        "fewer samples than columns": drawn(int(0.6 * WIDTH), WIDTH) @ mixing,
        "AR(1), 0.99": chain,
        "one column times 100": outlier,
        "means of 30 deviations": drawn(4 * WIDTH, WIDTH) @ mixing + 30 * drawn(1, WIDTH),
        "spectrum down to 1e-6": drawn(4 * WIDTH, WIDTH) * torch.logspace(0, -3, WIDTH) @ drawn(WIDTH, WIDTH),
    }
    weight = drawn(ROWS, WIDTH) / math.sqrt(WIDTH)
    return {name: (weight, Hessian(WIDTH).add(X).matrix) for name, X in inputs.items()}


def hard() -> None:
    """How far the steps come, how many rows are left to Cholesky, and the excess of the whole."""
    for name, (weight, hessian) in hard_layers().items():
        for goal, options in GOALS.items():
            start, keep = sparsegpt.prune_weight(weight, hessian, **options)
            least = errors(weight, refit(weight.double(), hessian.double(), keep, tolerance=0), hessian)
            found = descend(weight, hessian, keep, start, 0.001)
            undone = (~(found.excess <= 0.001)).sum()
            with warnings.catch_warnings(record=True) as caught:
                fitted = refit(weight, hessian, keep, start=start)
            ended = errors(weight, fitted, hessian)
            print(
                f"{name:>27} {goal:>5}: {found.steps.double().mean():5.1f} steps, {undone:3} of {ROWS} rows undone; "
                f"refit: excess {ended.sum() / least.sum() - 1:7.3%}, of a row up to {(ended / least - 1).max():7.3%}, "
                f"{len(caught)} warnings",
                flush=True,
            )


def memory(sizes: list[str]) -> None:
    for size in sizes:
        peak, least = in_a_process(__file__, "--peak-of", size)
        print(
            f"{size:>10}: SparseGPT + refit, peak {peak / least:5.2f} times weight plus Hessian (at most 3)", flush=True
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--plain-rows", type=int, default=48)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--sizes", nargs="+", default=list(AT_LEAST), help="rows x columns")
    parser.add_argument("--skip", nargs="*", default=[], choices=["speed", "hard", "memory"])
    parser.add_argument("--peak-of", help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.peak_of:
        refitted = partial(sparsegpt.prune_weight, sparsity=0.5, refit=True)
        peak_of(options.peak_of, lambda weight, hessians: refitted(weight, hessians[0]))
        return
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, float32")
    if "speed" not in options.skip:
        speed(options.sizes, options.rounds, options.plain_rows)
    if "hard" not in options.skip:
        hard()
    if "memory" not in options.skip and sys.platform == "linux":
        memory(options.sizes)


if __name__ == "__main__":
    main()
