"""Picture of TAX-6: the three times to prune, on one small layer, with the sparsity over time beside each."""

from collections.abc import Sequence

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from pruning_lib.after_training.retraining import schedule
from pruning_lib.checks import check_choice
from pruning_lib.structure import keep_largest
from pruning_lib.taxonomy import TIMES
from pruning_lib.teaching.figures import style
from pruning_lib.teaching.palette import MUTED

SIZE, _STEP, SPARSITY = 6, 9.4, 0.75
_SUBSCRIPTS = "₀₁₂₃"
Stage = tuple[str, Tensor, bool]  # what is done, the mask after it, whether it changed the weights


@style.in_style
def pipelines(times: Sequence[str] = TIMES) -> Figure:
    """A row of small layers for each of `times`: what is there at first, and after each stage.

    The layer is linear and really trained, to compute what another with random weights does; masks are by magnitude.
    """
    figure = style.new_figure(style.WIDTH, 0.5 + 1.5 * len(times))
    axes = figure.subplots(len(times), 2, width_ratios=[5, 1], squeeze=False)
    for time, (layers, curve) in zip(times, axes, strict=True):
        _draw_stages(layers, time, STAGES[check_choice("time", time, TIMES)]())
        _draw_sparsity(curve, time)
    axes[-1, 1].set_xlabel("training")
    style.draw_legend(figure, "kept", "pruned", "updated")
    return figure


def before() -> list[Stage]:
    W = _random_layer()
    keep = _largest(W, SPARSITY)
    return [
        ("random W₀", torch.ones_like(keep), False),
        ("prune:\nM = choose(W₀; D)", keep, False),
        ("train W ⊙ M,\nM fixed", keep, True),
    ]


def during() -> list[Stage]:
    W = _random_layer()
    keep = torch.ones_like(W, dtype=torch.bool)
    stages = [("random W₀", keep, False)]
    for round, sparsity in enumerate(schedule("gradual", SPARSITY, 3), start=1):
        W = _trained(W, keep)
        keep = _largest(W * keep, sparsity)
        text = "done:\nf(x; W ⊙ M)" if round == 3 else f"train and prune\nW{_SUBSCRIPTS[round]}, M{_SUBSCRIPTS[round]}"
        stages.append((text, keep, True))
    return stages


def after() -> list[Stage]:
    dense = torch.ones(SIZE, SIZE, dtype=torch.bool)
    keep = _largest(_trained(_random_layer(), dense), SPARSITY)
    return [
        ("random W₀", dense, False),
        ("train W", dense, True),
        ("prune:\nM = choose(W; D)", keep, False),
        ("retrain\nW ⊙ M", keep, True),
    ]


STAGES = {"before": before, "during": during, "after": after}


def _random_layer(seed: int = 0) -> Tensor:
    return torch.randn(SIZE, SIZE, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _trained(W: Tensor, keep: Tensor, steps: int = 10, lr: float = 0.1) -> Tensor:
    """Gradient descent on ‖WX − W*X‖² with XXᵀ = I, where the gradient of a weight is its distance from W*."""
    target = _random_layer(seed=1)
    for _ in range(steps):
        W = W - lr * (W - target) * keep
    return W


def _largest(W: Tensor, sparsity: float) -> Tensor:
    return keep_largest({"w": W.abs()}, sparsity)["w"]


def _draw_stages(ax: Axes, time: str, stages: list[Stage]) -> None:
    style.as_drawing(ax, (-8.2, 3 * _STEP + SIZE + 1.2), (SIZE + 3.4, -2.6))
    ax.plot([-8.1, -8.1], [0, SIZE], color=style.TIME_COLORS[time], linewidth=4, solid_capstyle="butt")
    ax.text(-7.4, SIZE / 2, f"{time}\ntraining", fontsize=style.TITLE, fontweight="bold", va="center")
    for index, (text, keep, changed) in enumerate(stages):
        left = index * _STEP
        style.place_weights(ax, keep, (left, 0), updated=keep if changed else None)
        ax.text(left + SIZE / 2, SIZE + 0.6, text, ha="center", va="top", fontsize=style.SMALL)
        if index:
            style.arrow(ax, (left - _STEP + SIZE + 0.3, SIZE / 2), (left - 0.3, SIZE / 2))
    if time == "after":
        ends = (3 * _STEP + SIZE / 2, -0.2), (2 * _STEP + SIZE / 2, -0.2)
        style.arrow(ax, *ends, MUTED, connectionstyle="arc3,rad=0.25", linestyle="--")
        ax.text(2.5 * _STEP + SIZE / 2, -1.75, "iterative", ha="center", va="bottom", fontsize=style.SMALL)


def _draw_sparsity(ax: Axes, time: str) -> None:
    """The schedules of `after_training.retraining`, as they are used at this time."""
    if time == "before":
        ax.plot([0, 1], [SPARSITY, SPARSITY], color=style.TIME_COLORS[time], linewidth=2)
    elif time == "during":
        sparsities = [0, *schedule("gradual", SPARSITY, 40), SPARSITY]
        ax.plot([*np.linspace(0, 0.8, 41), 1], sparsities, color=style.TIME_COLORS[time], linewidth=2)
    else:
        ax.plot([0, 0.5, 0.5, 1], [0, 0, SPARSITY, SPARSITY], color=style.TIME_COLORS[time], linewidth=2)
        rounds = schedule("iterative", SPARSITY, 3)
        ax.step([0.5, 0.65, 0.8, 1], [*rounds, SPARSITY], "--", where="post", color=MUTED, linewidth=1.6)
    ax.set(xlim=(0, 1.02), ylim=(-0.06, 1.05), xticks=[], yticks=[0, 1])
    style.plain_axes(ax, "", "sparsity")
