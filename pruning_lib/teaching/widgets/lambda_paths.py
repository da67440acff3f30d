"""λ paths explorer: a slider over recorded runs shows how γ closes gates, and what that costs and saves."""

import math
from collections.abc import Sequence
from typing import Any

import anywidget
import numpy as np
import traitlets
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from pruning_lib.checks import check_choice
from pruning_lib.teaching import palette
from pruning_lib.teaching.widgets.javascript import bundle, styles
from pruning_lib.teaching.widgets.still import still_figure

COLORS = {"kept": palette.KEPT, "updated": palette.UPDATED, "accent": palette.ACCENT, "muted": palette.MUTED}
NEEDED = ("gamma", "seed", "accuracy", "macs", "gates")
Runs = Sequence[dict[str, Any]]


class LambdaPaths(anywidget.AnyWidget):
    """λ of every gate over the epochs, what is closed at the end, accuracy and size, under a slider over γ.

    Parameters
    ----------
    runs : recorded runs of one network at one level, as dicts with "gamma", "seed", "accuracy" (share), "macs" (of the
        model after removal), "gates" (unit → number of gates) and, where the paths are to be shown, "scales": unit →
        [epoch][gate], the λ with exact zeros, epoch 0 being the start.
    dense : the run without gates that they are compared with: "accuracy" and "macs".
    gamma : the γ shown first; left out, the smallest
    seed : the run shown first, of those with "scales"; left out, the first

    The traits `gamma` and `seed` follow the page and may be set from Python. ValueError for runs that lack something,
    disagree on their gates, are given twice, have λ that are not finite, and for values not among the runs'.
    """

    _esm = bundle("lambda_paths.js")
    _css = styles()

    gamma = traitlets.Float().tag(sync=True)
    seed = traitlets.Int().tag(sync=True)
    runs = traitlets.List(read_only=True).tag(sync=True)
    dense = traitlets.Dict(read_only=True).tag(sync=True)
    palette = traitlets.Dict(COLORS, read_only=True).tag(sync=True)

    def __init__(self, runs: Runs, dense: dict[str, float], gamma: float | None = None, seed: int | None = None):
        runs = check_runs(runs)
        self._gammas, self._seeds = gammas(runs), seeds(runs)
        self.set_trait("runs", [{k: run[k] for k in (*NEEDED, "scales") if k in run} for run in runs])
        self.set_trait("dense", {key: dense[key] for key in ("accuracy", "macs")})
        super().__init__(
            gamma=self._gammas[0] if gamma is None else gamma, seed=self._seeds[0] if seed is None else seed
        )

    @traitlets.validate("gamma", "seed")
    def _check(self, proposal: dict):
        name, value = proposal["trait"].name, proposal["value"]
        return check_choice(name, value, self._gammas if name == "gamma" else self._seeds)


def check_runs(runs: Runs) -> list[dict[str, Any]]:
    runs = sorted(runs, key=lambda run: (run.get("gamma", 0), run.get("seed", 0)))
    if not runs:
        raise ValueError("runs is empty, must hold a run")
    for run in runs:
        where = f"run with gamma {run.get('gamma')}, seed {run.get('seed')}"
        if missing := [key for key in NEEDED if key not in run]:
            raise ValueError(f"{where} has no {', '.join(missing)}")
        if run["gates"] != runs[0]["gates"]:
            raise ValueError(f"{where} has gates {run['gates']}, must be those of the first, {runs[0]['gates']}")
        if sum((other["gamma"], other["seed"]) == (run["gamma"], run["seed"]) for other in runs) > 1:
            raise ValueError(f"{where} is given twice, must be given once")
        for unit, path in run.get("scales", {}).items():
            if any(len(row) != run["gates"].get(unit) or not all(map(math.isfinite, row)) for row in path):
                raise ValueError(f"{where}: scales of {unit!r} must hold {run['gates'].get(unit)} finite λ an epoch")
    for seed in seeds(runs):
        if lacking := set(gammas(runs)) - {run["gamma"] for run in runs if run["seed"] == seed and "scales" in run}:
            raise ValueError(f"seed {seed} has scales for some gamma only, lacks {sorted(lacking)}")
    if not seeds(runs):
        raise ValueError("no run has scales, must be at least one seed for every gamma")
    return runs


def gammas(runs: Runs) -> list[float]:
    return sorted({run["gamma"] for run in runs})


def seeds(runs: Runs) -> list[int]:
    return sorted({run["seed"] for run in runs if "scales" in run})


def open_at_end(run: dict[str, Any]) -> dict[str, int]:
    """Number of gates that are not zero at the end, by unit."""
    return {unit: sum(value != 0 for value in path[-1]) for unit, path in run["scales"].items()}


def static_figure(
    runs: Runs, dense: dict[str, float], shown: Sequence[float] | None = None, seed: int | None = None
) -> Figure:
    """λ over the epochs for some γ side by side (`shown`; left out, three), then accuracy and MACs over all γ."""
    runs = check_runs(runs)
    known = gammas(runs)
    shown = [known[0], known[len(known) // 2], known[-1]] if shown is None else list(shown)
    for gamma in shown:
        check_choice("shown", gamma, known)
    seed = check_choice("seed", seeds(runs)[0] if seed is None else seed, seeds(runs))
    with still_figure(11, 6) as figure:
        above, below = figure.subfigures(2, 1, height_ratios=(1.25, 1))
        panels = above.subplots(1, len(shown), squeeze=False, sharey=True)[0]
        for panel, gamma in zip(panels, shown, strict=True):
            draw_paths(panel, next(r for r in runs if (r["gamma"], r["seed"]) == (gamma, seed)))
        panels[0].set_ylabel("λ")
        left, right = below.subplots(1, 2)
        draw_over_gamma(left, runs, "accuracy", 100, dense["accuracy"], "test accuracy, %")
        draw_over_gamma(right, runs, "macs", 1e-3, dense["macs"], "MACs, thousands")
    return figure


def draw_paths(panel: Axes, run: dict[str, Any]) -> None:
    """Open gates: solid lines. Closed ones: dashed, with an empty square where they reached zero for good."""
    paths = [np.array(path) for path in run["scales"].values()]  # (epochs + 1, gates) each
    paths = np.concatenate(paths, axis=1)
    many = paths.shape[1] > 20
    for path in paths.T:
        if path[-1] != 0:
            panel.plot(path, color=palette.KEPT, linewidth=0.7 if many else 1.5, alpha=0.5 if many else 0.9)
            continue
        end = len(path) - int((path[::-1] != 0).argmax()) if path.any() else 0
        panel.plot(path[: end + 1], color=palette.ACCENT, linestyle="--", linewidth=0.5 if many else 1.5, alpha=0.6)
        panel.plot(end, 0, "s", color=palette.ACCENT, markerfacecolor="none", markersize=3 if many else 6)
    closed = int((paths[-1] == 0).sum())
    panel.axhline(0, color=palette.MUTED, linewidth=0.8)
    panel.set_xlim(0, len(paths) - 1)
    panel.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    panel.set_title(f"γ = {run['gamma']:g}, seed {run['seed']}: {closed} of {paths.shape[1]} closed", fontsize="medium")
    panel.set_xlabel("epoch (blue: open; orange, dashed: closes)", fontsize="small")


def draw_over_gamma(panel: Axes, runs: Runs, key: str, unit: float, dense: float, label: str) -> None:
    """Every run a point, the mean of the seeds a line, the dense network a dashed one."""
    known = gammas(runs)
    values = [[unit * run[key] for run in runs if run["gamma"] == gamma] for gamma in known]
    panel.plot(range(len(known)), [np.mean(v) for v in values], color=palette.KEPT, label="mean of the seeds")
    for place, several in enumerate(values):
        panel.plot([place] * len(several), several, "o", color=palette.KEPT, markerfacecolor="none")
    panel.axhline(unit * dense, color=palette.MUTED, linestyle="--", label="dense")
    panel.set(xlabel="γ", ylabel=label, xticks=range(len(known)), xticklabels=[f"{gamma:g}" for gamma in known])
    panel.legend(fontsize="small", frameon=False)
