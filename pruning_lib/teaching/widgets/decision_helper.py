"""Decision helper: what you have and want in; methods ranked by recorded numbers out, and why others drop out."""

import textwrap
from typing import Any

import anywidget
import traitlets
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pruning_lib.teaching import palette
from pruning_lib.teaching.widgets.decision_rules import (
    ANY,
    CHOICES,
    LOSSES,
    PUBLISHED,
    START,
    TIMES_LESS,
    Advice,
    advise,
    check,
    unpruned,
)
from pruning_lib.teaching.widgets.javascript import bundle, styles
from pruning_lib.teaching.widgets.still import still_figure

COLORS = {"kept": palette.KEPT, "updated": palette.UPDATED, "accent": palette.ACCENT, "muted": palette.MUTED}
RULES = {"choices": CHOICES, "losses": LOSSES, "published": PUBLISHED, "timesLess": TIMES_LESS}


class DecisionHelper(anywidget.AnyWidget):
    """Choose what you have and what you want: the methods that fit, ranked, with the evidence, and why others do not.

    Parameters
    ----------
    evidence : from `pruning_lib.comparison.evidence`
    hardware, budget, data, goal, sparsity, loss : shown first; see `decision_rules.advise`

    All but `evidence` are traits that follow the page and may be set from Python; other values raise ValueError.
    """

    _esm = bundle("decision_helper.js")
    _css = styles("decision_helper.css")

    hardware = traitlets.Unicode().tag(sync=True)
    budget = traitlets.Unicode().tag(sync=True)
    data = traitlets.Unicode().tag(sync=True)
    goal = traitlets.Unicode().tag(sync=True)
    sparsity = traitlets.Float().tag(sync=True)
    loss = traitlets.Float().tag(sync=True)
    evidence = traitlets.Dict(read_only=True).tag(sync=True)
    rules = traitlets.Dict(RULES, read_only=True).tag(sync=True)
    palette = traitlets.Dict(COLORS, read_only=True).tag(sync=True)

    def __init__(self, evidence: dict[str, Any], **chosen: Any):
        self.set_trait("evidence", evidence)
        super().__init__(**(START | chosen))

    @traitlets.validate("hardware", "budget", "data", "goal", "sparsity", "loss")
    def _check(self, proposal: dict):
        check(self.evidence, {proposal["trait"].name: proposal["value"]})
        return proposal["value"]

    def advice(self) -> list[Advice]:
        """What the widget shows now."""
        return advise(self.evidence, **{name: getattr(self, name) for name in START})


def static_figure(evidence: dict[str, Any], **chosen: Any) -> Figure:
    """The ranking of `DecisionHelper` as a still figure; arguments and errors as there."""
    chosen = START | chosen
    found = advise(evidence, **chosen)
    ranked = [advice for advice in found if advice.place != "out"]
    dropped = [f"{label(evidence, advice.name)}: {advice.why}" for advice in found if advice.place == "out"]
    height = 1.5 + 0.34 * len(ranked) + 0.2 * len(dropped)
    with still_figure(9.5, height) as figure:
        upper, lower = figure.subfigures(2, height_ratios=(1.2 + 0.34 * len(ranked), 0.1 + 0.2 * len(dropped)))
        for part in (upper, lower):
            part.patch.set_alpha(0)
        left, right = upper.subplots(1, 2, sharey=True)
        draw_accuracy(left, evidence, ranked, chosen)
        draw_gain(right, ranked, chosen["goal"])
        words = " · ".join(CHOICES[name][chosen[name]] for name in CHOICES)
        sparsity = "any" if chosen["sparsity"] == ANY else f"{100 * chosen['sparsity']:.0f} %"
        upper.suptitle(f"{words}\n{sparsity} sparsity", fontsize="medium", color=palette.MUTED)
        text = "\n".join(textwrap.shorten(line, 120, placeholder="…") for line in dropped)
        lower.text(0.01, 0.95, text, va="top", fontsize="small", color=palette.MUTED)
    return figure


def label(evidence: dict[str, Any], name: str) -> str:
    return next(method["label"] for method in evidence["methods"] if method["name"] == name)


def look(advice: Advice) -> tuple[str, str]:
    """Color and marker: filled circle where it fits, square where it loses too much."""
    return (palette.KEPT, "o") if advice.place == "fits" else (palette.UPDATED, "s")


def draw_accuracy(panel: Axes, evidence: dict[str, Any], ranked: list[Advice], chosen: dict[str, Any]) -> None:
    """Mean and standard deviation of every method, best advice on top, and the dense network as a line."""
    for row, advice in enumerate(ranked):
        (mean, sd, _), (color, mark) = advice.accuracy, look(advice)
        panel.errorbar(mean, row, xerr=sd, color=color, marker=mark, capsize=3)
    panel.axvline(
        unpruned(evidence, chosen["budget"], chosen["data"])[0], color=palette.MUTED, linestyle=":", linewidth=1
    )
    at = [f" at {100 * advice.sparsity:.3g} %" if chosen["sparsity"] == ANY else "" for advice in ranked]
    names = [label(evidence, advice.name) + where for advice, where in zip(ranked, at, strict=True)]
    panel.set_yticks(range(len(ranked)), names)
    points = f"{chosen['loss']:g} {'point' if chosen['loss'] == 1 else 'points'}"
    panel.set(xlabel=f"test accuracy, % (dotted: dense; squares lose more than {points})")
    panel.set_ylim(max(1, len(ranked)) - 0.5, -0.5)


def draw_gain(panel: Axes, ranked: list[Advice], goal: str) -> None:
    """What each gains for the goal, with how that is known."""
    if goal == "accuracy":
        panel.set_visible(False)
        return
    for row, advice in enumerate(ranked):
        hatch = "" if advice.basis in ("measured", "counted") else "//"
        panel.barh(row, advice.gain, color=look(advice)[0], height=0.5, hatch=hatch, edgecolor="white")
        panel.annotate(
            f" {advice.gain:g} {advice.basis}", (advice.gain, row), va="center", fontsize="small", color=palette.MUTED
        )
    panel.axvline(1, color=palette.MUTED, linestyle=":", linewidth=1)
    panel.margins(x=0.4)
    panel.set(xlabel=f"against dense, {TIMES_LESS[goal]}")
