"""Time and memory of the inverse Hessian (OBS-12), growth in weights and samples, and exactness against inversion.

    python benchmarks/obs.py [--threads 2] [--rounds 3] [--large]

Growth is predicted from the operation count of the recursion in blocks of b rows, rows·(4n² + 3bn), and measured; the
medians of several rounds are compared. `--large` adds 5,000 weights from 1,000 samples × 10 outputs (about 10¹²
operations), rows of the network included: at most 60 s and 2 GiB of memory on two cores.
"""

import argparse
import resource
import statistics
import time

import torch
from torch import nn

from pruning_lib.after_training import obs
from pruning_lib.structure import prunable

BLOCK = 256


def seconds(run) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def operations(n: int, rows: int) -> float:
    return rows * (4 * n**2 + 3 * BLOCK * n)


def growth(rounds: int) -> None:
    cases = [(n, 2048) for n in (500, 1000, 2000)] + [(1000, rows) for rows in (1024, 2048, 4096)]
    measured = {case: [] for case in cases}
    data = {case: torch.randn(case[1], case[0], dtype=torch.float64) for case in cases}
    for _ in range(rounds):  # in turns, so that a busy machine slows all alike
        for case in cases:
            measured[case].append(seconds(lambda case=case: obs.inverse_hessian(data[case], 1e-6, block=BLOCK)))
    for title, base, others in (("weights", cases[0], cases[1:3]), ("rows", cases[3], cases[4:])):
        time_of = {case: statistics.median(measured[case]) for case in (base, *others)}
        print(f"growth in {title}: {base[0]:,} weights, {base[1]:,} rows take {time_of[base]:.3f} s")
        for case in others:
            predicted, ratio = operations(*case) / operations(*base), time_of[case] / time_of[base]
            print(
                f"  {case[0]:>5,} weights, {case[1]:>5,} rows: {time_of[case]:.3f} s, {ratio:.2f} times "
                f"(predicted {predicted:.2f}); {operations(*case) / time_of[case] / 1e9:.0f} GFLOP/s"
            )


def exactness() -> None:
    n, rows = 300, 900
    X = torch.randn(rows, n, dtype=torch.float64)
    for alpha in (1e-8, 1e-6, 1e-4, 1e-2):
        inverse = torch.linalg.inv(X.T @ X / rows + alpha * torch.eye(n, dtype=torch.float64))
        errors = [(obs.inverse_hessian(X, alpha, block=block) - inverse).abs().max().item() for block in (1, BLOCK)]
        print(f"alpha {alpha:.0e}: off torch.linalg.inv by {errors[0]:.1e} row by row, {errors[1]:.1e} in blocks")


def large() -> None:
    model = nn.Sequential(nn.Linear(64, 68, bias=False), nn.Tanh(), nn.Linear(68, 10, bias=False))
    weights, inputs = sum(weight.numel() for weight in prunable(model).values()), torch.randn(1000, 64)
    list(obs.jacobian_rows(model, inputs[:1]))  # the first use of torch.func imports a lot
    before, cpu = peak(), time.process_time()
    taken = seconds(lambda: obs.inverse_hessian(obs.jacobian_rows(model, inputs), 1e-6, samples=1000))
    print(
        f"{weights:,} weights, 1,000 samples × 10 outputs: {taken:.1f} s (at most 60; all threads together "
        f"{time.process_time() - cpu:.1f} s of CPU), peak memory {peak():.2f} GiB (at most 2; {before:.2f} before)"
    )


def peak() -> float:
    """Largest resident memory of this process so far, in GiB (Linux counts in KiB)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--large", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads")
    if options.large:
        large()  # first: the peak of memory is that of the process
    exactness()
    growth(options.rounds)
