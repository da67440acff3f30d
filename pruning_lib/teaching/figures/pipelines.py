"""Picture of TAX-6: the three times to prune, as pipelines, with the sparsity over time beside each."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pruning_lib.checks import check_choice
from pruning_lib.taxonomy import TIMES
from pruning_lib.teaching.figures.style import FONT_SIZE, INK, draw_box, new_figure
from pruning_lib.teaching.palette import ACCENT, GOOD, KEPT, MUTED

STEPS = {
    "before": ["random $W_0$", "prune:\n$M = m(W_0)$", "train $W \\odot M$\nwith $M$ fixed"],
    "during": ["random $W_0$", "train and prune\ntogether:\n$W_t,\\ M_t$", "$f(x;\\ W_T \\odot M_T)$"],
    "after": ["random $W_0$", "train to $W_T$", "prune:\n$M = m(W_T)$", "retrain\n$W \\odot M$"],
}
COLORS = {"random": MUTED, "prune": ACCENT, "train": KEPT, "retrain": KEPT, "$f(x;\\": GOOD}


def pipelines(times: Sequence[str] = TIMES) -> Figure:
    """A row of boxes for each of `times`; the curves on the right say in terms of sparsity what the boxes say."""
    figure = new_figure(11, 0.4 + 1.55 * len(times))
    axes = figure.subplots(len(times), 2, width_ratios=[4, 1.15], squeeze=False)
    for time, (boxes, curve) in zip(times, axes, strict=True):
        draw_pipeline(boxes, time, STEPS[check_choice("time", time, TIMES)])
        draw_sparsity(curve, time)
    axes[-1, 1].set_xlabel("training", fontsize=FONT_SIZE, color=INK)
    return figure


def draw_pipeline(ax: Axes, time: str, steps: list[str]) -> None:
    ax.set(xlim=(-0.9, 8.3), ylim=(-0.6, 1.0))
    ax.axis("off")
    ax.text(-0.9, 0, f"{time}\ntraining", fontsize=FONT_SIZE + 2, fontweight="bold", va="center", color=INK)
    for index, text in enumerate(steps):
        x = 1.35 + 2 * index
        draw_box(ax, (x, 0), (1.55, 0.95), text, COLORS[text.split()[0].rstrip(":")])
        if index:
            arrow = {"arrowstyle": "-|>", "color": INK, "linewidth": 1.3}
            ax.annotate("", (x - 0.8, 0), (x - 1.2, 0), arrowprops=arrow)
    if time == "after":
        first, second = 1.35 + 2 * 2, 1.35 + 2 * 3
        arrow = {"arrowstyle": "-|>", "color": MUTED, "connectionstyle": "arc3,rad=0.35", "linestyle": "--"}
        ax.annotate("", (first, 0.5), (second, 0.5), arrowprops=arrow)
        ax.text((first + second) / 2, 0.92, "iterative", ha="center", fontsize=FONT_SIZE - 1, color=INK)


def draw_sparsity(ax: Axes, time: str) -> None:
    t = np.linspace(0, 1, 200)
    curves = {
        "before": [np.full_like(t, 0.9)],
        "during": [0.9 * (1 - (1 - np.clip(t / 0.8, 0, 1)) ** 3)],
        "after": [np.where(t < 0.5, 0, 0.9), np.select([t < 0.5, t < 0.65, t < 0.8], [0, 0.5, 0.75], 0.9)],
    }
    for style, curve in zip(("-", "--"), curves[time], strict=False):
        ax.plot(t, curve, style, color=ACCENT if style == "-" else MUTED, linewidth=1.8)
    ax.set(xlim=(0, 1), ylim=(-0.05, 1.05), xticks=[], yticks=[0, 1], yticklabels=["0", "1"])
    ax.set_ylabel("sparsity", fontsize=FONT_SIZE, color=INK)
    ax.spines[["top", "right"]].set_visible(False)
