"""Masks of a million scores, SNIP against one forward and backward pass, training with masks held against without.

Run: python benchmarks/masks_and_snip.py. Ratios are medians of pairs measured alternately in one run.
"""

import statistics
import time
from collections.abc import Callable

import torch
from torch.nn import functional as F

from pruning_lib.before_training import snip
from pruning_lib.structure import keep_largest, keep_n_of_m, prunable
from pruning_lib.workbench import models


def seconds(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def alternating(first: Callable, second: Callable, rounds: int) -> tuple[float, float]:
    """Median seconds of `second`, and median of the ratios second/first over pairs."""
    pairs = [(seconds(first), seconds(second)) for _ in range(rounds + 2)][2:]
    return statistics.median(b for _, b in pairs), statistics.median(b / a for a, b in pairs)


def masks() -> None:
    scores = {"a": torch.rand(600, 1000), "b": torch.rand(400, 1000)}
    tied = {name: torch.randint(0, 3, score.shape).float() for name, score in scores.items()}
    for name, run in {
        "keep_largest, 90 %": lambda: keep_largest(scores, 0.9),
        "keep_largest, 90 %, many ties": lambda: keep_largest(tied, 0.9),
        "keep_largest, 50 %, per layer": lambda: keep_largest(scores, 0.5, scope="layer"),
        "keep_n_of_m, 2:4": lambda: keep_n_of_m(scores, 2, 4),
    }.items():
        times = [seconds(run) for _ in range(15)]
        print(f"{name:32} 1,000,000 scores: {1000 * statistics.median(times):6.1f} ms (at most 50)")


def sensitivity() -> None:
    from torchvision.models import resnet50

    model, inputs, targets = resnet50(weights=None), torch.randn(8, 3, 224, 224), torch.arange(8)

    def plain() -> None:
        weights = list(prunable(model).values())
        torch.autograd.grad(F.cross_entropy(model(inputs), targets), weights)

    scored, ratio = alternating(plain, lambda: snip.sensitivity(model, [(inputs, targets)]), rounds=5)
    print(f"snip.sensitivity, ResNet-50, batch 8: {scored:.2f} s, {ratio:.2f} times one pass (at most 1.3)")


def holding() -> None:
    inputs, targets = torch.randn(100, 1, 28, 28), torch.randint(0, 10, (100,))

    def trainer(held: bool) -> Callable[[], None]:
        model = models.lenet5()
        optimizer = torch.optim.SGD(model.parameters(), 0.01, momentum=0.9, weight_decay=5e-4)
        if held:
            keep_largest({name: w.detach().abs() for name, w in prunable(model).items()}, 0.9).hold(model)

        def steps() -> None:
            for _ in range(10):
                optimizer.zero_grad()
                F.cross_entropy(model(inputs), targets).backward()
                optimizer.step()

        return steps

    held, ratio = alternating(trainer(False), trainer(True), rounds=15)
    print(f"LeNet-5, batch 100, masks held: {100 * held:.1f} ms a step, {ratio:.3f} times without (at most 1.15)")


if __name__ == "__main__":
    torch.manual_seed(0)
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads")
    masks()
    sensitivity()
    holding()
