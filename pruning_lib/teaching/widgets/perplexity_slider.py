"""Perplexity slider: recorded runs of a pruned language model, method beside method, under a slider over sparsities."""

import math
from collections.abc import Sequence
from typing import Any

import anywidget
import traitlets
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator, ScalarFormatter

from pruning_lib.checks import check_choice
from pruning_lib.teaching import palette
from pruning_lib.teaching.widgets.javascript import bundle, styles
from pruning_lib.teaching.widgets.still import still_figure

COLORS = {"kept": palette.KEPT, "accent": palette.ACCENT, "muted": palette.MUTED}
NEEDED = ("pattern", "method", "sparsity", "perplexity")
MARKS = (("circle", "o"), ("square", "s"), ("diamond", "D"), ("triangle", "^"))
Runs = Sequence[dict[str, Any]]


class PerplexitySlider(anywidget.AnyWidget):
    """Bits per byte over sparsity for every method, and the perplexities at the pattern that the slider is at.

    Parameters
    ----------
    runs : dicts with "pattern" ("50 %", "2:4", …), "method", "sparsity" and "perplexity" (others are left out); one of
        them with pattern "dense", and of every other pattern one for every method, four methods at most. The slider
        has the patterns in their order.
    pattern : shown first; left out, the first

    The trait `pattern` follows the page and may be set from Python. ValueError for runs that lack something, for
    perplexities that are not finite and at least 1, and for values not among the runs'.
    """

    _esm = bundle("perplexity_slider.js")
    _css = styles()

    pattern = traitlets.Unicode().tag(sync=True)
    runs = traitlets.List(read_only=True).tag(sync=True)
    looks = traitlets.Dict(read_only=True).tag(sync=True)  # method → [color, marker]
    palette = traitlets.Dict(COLORS, read_only=True).tag(sync=True)

    def __init__(self, runs: Runs, pattern: str | None = None):
        runs = check_runs(runs)
        self._patterns = patterns(runs)
        self.set_trait("runs", [{key: run[key] for key in NEEDED} for run in runs])
        looks = zip(methods(runs), palette.SERIES, MARKS, strict=False)
        self.set_trait("looks", {method: [color, mark] for method, color, (mark, _) in looks})
        super().__init__(pattern=self._patterns[0] if pattern is None else pattern)

    @traitlets.validate("pattern")
    def _check(self, proposal: dict):
        return check_choice("pattern", proposal["value"], self._patterns)


def check_runs(runs: Runs) -> list[dict[str, Any]]:
    """`runs` with the dense one first; ValueError unless they are complete."""
    for run in runs:
        if missing := [key for key in NEEDED if key not in run]:
            raise ValueError(f"run {run} has no {', '.join(missing)}")
        if not (math.isfinite(run["perplexity"]) and run["perplexity"] >= 1):
            where = f"{run['pattern']}, {run['method']}"
            raise ValueError(f"{where}: perplexity is {run['perplexity']}, must be finite and at least 1")
    dense = [run for run in runs if run["pattern"] == "dense"]
    pruned = [run for run in runs if run["pattern"] != "dense"]
    if len(dense) != 1 or not pruned:
        raise ValueError(f"runs has {len(dense)} dense and {len(pruned)} pruned, must have one dense and some pruned")
    if len(names := methods(runs)) > len(MARKS):
        raise ValueError(f"runs has methods {', '.join(names)}, must be at most {len(MARKS)}")
    for pattern in patterns(runs):
        found = [run["method"] for run in pruned if run["pattern"] == pattern]
        if sorted(found) != sorted(names):
            raise ValueError(f"{pattern} has runs of {', '.join(found)}, must have one of each of {', '.join(names)}")
    return dense + pruned


def patterns(runs: Runs) -> list[str]:
    return list(dict.fromkeys(run["pattern"] for run in runs if run["pattern"] != "dense"))


def methods(runs: Runs) -> list[str]:
    return list(dict.fromkeys(run["method"] for run in runs if run["pattern"] != "dense"))


def static_figure(runs: Runs, most: float | None = None) -> Figure:
    """Perplexity over sparsity for every method, n:m patterns beside it; `most` ends the axis."""
    runs = check_runs(runs)
    dense = runs[0]["perplexity"]
    with still_figure(10, 3.8) as figure:
        curves, groups = figure.subplots(1, 2, sharey=True, width_ratios=(1.5, 1))
        of_group = [pattern for pattern in patterns(runs) if ":" in pattern]
        for method, color, (_, mark) in zip(methods(runs), palette.SERIES, MARKS, strict=False):
            mine = {run["pattern"]: run for run in runs if run["method"] == method}
            points = [(0, dense)]
            points += [(100 * run["sparsity"], run["perplexity"]) for name, run in mine.items() if ":" not in name]
            curves.plot(*zip(*points, strict=True), color=color, marker=mark, markersize=5, label=method)
            groups.plot(of_group, [mine[name]["perplexity"] for name in of_group], mark, color=color, label=method)
        for panel in (curves, groups):
            panel.axhline(dense, color=palette.MUTED, linestyle="--", linewidth=1, label="dense")
            panel.spines[["top", "right"]].set_visible(False)
        curves.set_yscale("log", base=2)
        highest = most or 1.1 * max(run["perplexity"] for run in runs)
        curves.set(ylim=(0.9 * dense, highest), xlabel="sparsity, %", ylabel="perplexity per byte")
        curves.yaxis.set_major_locator(
            FixedLocator([value for value in (4, 5, 6, 8, 11, 16, 32, 64) if value < highest])
        )
        curves.yaxis.set_major_formatter(ScalarFormatter())
        curves.yaxis.set_minor_locator(NullLocator())
        groups.set(xlabel="n of every m stay: 50 % each", xlim=(-0.5, len(of_group) - 0.5))
        curves.legend(frameon=False, fontsize="small")
    return figure
