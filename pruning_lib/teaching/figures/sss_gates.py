"""Picture of SSS-8: gates that close while a residual network trains, and the blocks that they leave."""

import json
from pathlib import Path
from typing import Any

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pruning_lib.files import CHECKOUT
from pruning_lib.teaching.figures import style
from pruning_lib.teaching.palette import ACCENT, KEPT, MUTED

_SWEEP = CHECKOUT / "figures" / "measured" / "03_sss_sweep.json"
_GAMMA, _SEED = 0.2, 0  # the run whose gates are followed


@style.in_style
def sss_gates(path: Path = _SWEEP) -> Figure:
    """Recorded runs of sparse structure selection on digits, λ on blocks: one followed, and one for each γ."""
    record = json.loads(path.read_text(encoding="utf-8"))
    runs = [run for run in record["runs"] if run["level"] == "block" and run["seed"] == _SEED]
    figure = style.new_figure(style.WIDTH, 3.7)
    left, right = figure.subplots(1, 2, width_ratios=[1, 1.25])
    (followed,) = (run for run in runs if run["gamma"] == _GAMMA)
    _draw_gates(left, followed)
    _draw_blocks(right, runs)
    style.draw_legend(figure, "kept", "pruned")
    return figure


def _draw_gates(ax: Axes, run: dict[str, Any]) -> None:
    """λ of every block after every epoch."""
    ax.axhline(0, color=MUTED, linewidth=1)
    for block, values in run["scales"].items():
        closed = block in run["closed"]
        scales = [value for (value,) in values]
        line = {"color": ACCENT, "linestyle": "--"} if closed else {"color": KEPT}
        ax.plot(scales, linewidth=1.8, label="closes" if closed else "stays open", **line)
    by_name = dict(zip(*reversed(ax.get_legend_handles_labels()), strict=True))  # one entry for all that close
    ax.legend(by_name.values(), by_name, fontsize=style.SMALL, loc="upper right")
    ax.set_xlim(0, len(scales) - 1)
    title = f"γ = {run['gamma']}: {len(run['closed'])} of {len(run['scales'])} close"
    style.plain_axes(ax, "epoch", "λ of a block", title)


def _draw_blocks(ax: Axes, runs: list[dict[str, Any]]) -> None:
    """A line of blocks for every γ, gone where the gate closed; accuracy after they were taken out, and MACs left."""
    names = list(runs[0]["gates"])
    dense = max(run["macs"] for run in runs)
    stages = sorted({name.split(".")[0] for name in names})
    size = len(names) // len(stages)
    for line, run in enumerate(runs):
        y = 1.3 * line
        keep = torch.tensor([[name not in run["closed"] for name in names]])
        right, _ = style.place_weights(ax, keep, (0, y), block=(1, size))
        ax.text(-0.5, y + 0.5, f"{run['gamma']:g}", ha="right", va="center")
        for x, value in ((right + 2.2, run["accuracy_removed"]), (right + 4.7, run["macs"] / dense)):
            ax.text(x, y + 0.5, f"{value:.0%}", ha="right", va="center")
    for x, text in ((-0.5, "γ"), (right + 2.2, "test\nacc."), (right + 4.7, "MACs\nleft")):
        ax.text(x, -0.35, text, ha="right", va="bottom", fontsize=style.SMALL)
    for index in range(len(stages)):
        center = index * (size + style.GAP) + size / 2
        ax.text(center, -0.35, f"stage {index + 1}", ha="center", va="bottom", fontsize=style.SMALL)
    style.as_drawing(ax, (-2, right + 4.9), (y + 1.2, -1.7))
    ax.set_title("blocks that stay, a run for every γ")
