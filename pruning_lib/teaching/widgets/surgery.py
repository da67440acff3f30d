"""Surgery: two weights, the ellipses of constant error, and where magnitude, OBD and OBS go when they delete one."""

import math
from typing import NamedTuple

import anywidget
import numpy as np
import torch
import traitlets
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from pruning_lib.after_training import obs
from pruning_lib.teaching import palette
from pruning_lib.teaching.widgets.javascript import bundle, styles
from pruning_lib.teaching.widgets.still import still_figure

COLORS = {"kept": palette.KEPT, "updated": palette.UPDATED, "accent": palette.ACCENT, "muted": palette.MUTED}
COLORS |= {"good": palette.GOOD}
LIMITS = {"w1": (-2.0, 2.0), "w2": (-2.0, 2.0), "ratio": (1 / 16, 16.0), "correlation": (-0.95, 0.95)}
PRESETS = {
    "magnitude deletes the wrong weight": (1.2, 0.8, 1 / 4, 0.8),
    "all delete the same weight": (0.8, 1.4, 1.0, -0.7),
    "strong correlation: OBS is nearly free": (1.0, 1.6, 1.0, 0.95),
    "no correlation: OBS is OBD": (1.2, 0.8, 1 / 4, 0.0),
    "a round bowl: magnitude suffices": (0.8, 1.4, 1.0, 0.0),
}
PRESETS = {name: dict(zip(LIMITS, values, strict=True)) for name, values in PRESETS.items()}
START = next(iter(PRESETS.values()))
OF_METHOD = {"magnitude": (palette.UPDATED, "s", 10), "OBD": (palette.ACCENT, "^", 9), "OBS": (palette.KEPT, "o", 6)}


class Outcome(NamedTuple):
    """What one method does: it deletes the weight with the smaller score."""

    scores: tuple[float, float]  # abs(w_q), ½ h_qq w_q² or ½ w_q²/[H⁻¹]_qq
    deleted: int  # 0 or 1
    point: tuple[float, float]  # the weights afterwards
    error: float  # E there


def hessian(ratio: float, correlation: float) -> Tensor:
    """H (2, 2) with h₁₁/h₂₂ = `ratio`, h₁₁h₂₂ = 1 and h₁₂ = `correlation`·√(h₁₁h₂₂) = `correlation`."""
    h = math.sqrt(ratio)
    return torch.tensor([[h, correlation], [correlation, 1 / h]], dtype=torch.float64)


def outcomes(w1: float, w2: float, ratio: float, correlation: float) -> dict[str, Outcome]:
    """What magnitude, OBD and OBS (OBS-5) make of E(w) = ½(w − w*)ᵀH(w − w*), where w* = (w1, w2) is the minimum.

    Magnitude and OBD leave the other weight as it is, OBS moves it to the best place on the line w_q = 0. Of two
    equal scores the first weight is deleted. OBS's scores are 1 − ρ² times OBD's, ρ being the correlation: with two
    weights both always delete the same one, and only the other weight tells them apart.

    Returns
    -------
    dict : Outcome for each of "magnitude", "OBD" and "OBS"

    Raises
    ------
    ValueError : for an argument outside `LIMITS`.
    """
    for name, value in (("w1", w1), ("w2", w2), ("ratio", ratio), ("correlation", correlation)):
        check_limits(name, value)
    w, H = torch.tensor([w1, w2], dtype=torch.float64), hessian(ratio, correlation)
    H_inv = torch.linalg.inv(H)
    scores = {"magnitude": w.abs(), "OBD": 0.5 * H.diagonal() * w.square(), "OBS": obs.saliency(w, H_inv)}
    result = {}
    for name, score in scores.items():
        q = int(score[1] < score[0])
        point = obs.surgery(w, H_inv, q)[0] if name == "OBS" else w.clone()
        point[q] = 0
        error = 0.5 * (point - w) @ H @ (point - w)
        result[name] = Outcome(tuple(score.tolist()), q, tuple(point.tolist()), error.item())
    return result


def ellipse(w1: float, w2: float, ratio: float, correlation: float, error: float) -> Tensor:
    """Points (97, 2) of the closed line E(w) = `error`."""
    L = torch.linalg.cholesky(hessian(ratio, correlation))
    turn = torch.linspace(0, 2 * math.pi, 97, dtype=torch.float64)
    circle = math.sqrt(2 * error) * torch.stack([turn.cos(), turn.sin()])
    # ½ δwᵀLLᵀδw = error where Lᵀδw lies on a circle of radius √(2·error)
    shift = torch.linalg.solve_triangular(L.T, circle, upper=True)
    return torch.tensor([w1, w2], dtype=torch.float64) + shift.T


def check_limits(name: str, value: float) -> float:
    low, high = LIMITS[name]
    if not low <= value <= high:  # False for nan too
        raise ValueError(f"{name} is {value}, must be from {low:g} to {high:g}")
    return value


class Surgery(anywidget.AnyWidget):
    """Two weights at the minimum of a quadratic error: which one each method deletes, where it leaves the other.

    Parameters
    ----------
    w1, w2 : the trained weights w*, from −2 to 2
    ratio : h₁₁/h₂₂, from 1/16 to 16; h₁₁h₂₂ = 1
    correlation : ρ = h₁₂/√(h₁₁h₂₂), from −0.95 to 0.95

    All are traits that follow the sliders and may be set from Python; other values raise ValueError. The default is
    the first of `PRESETS`, which the page offers by name. What is shown is `outcomes` of the four.
    """

    _esm = bundle("surgery.js")
    _css = styles()

    w1 = traitlets.Float().tag(sync=True)
    w2 = traitlets.Float().tag(sync=True)
    ratio = traitlets.Float().tag(sync=True)
    correlation = traitlets.Float().tag(sync=True)
    limits = traitlets.Dict(LIMITS, read_only=True).tag(sync=True)
    presets = traitlets.Dict(PRESETS, read_only=True).tag(sync=True)
    palette = traitlets.Dict(COLORS, read_only=True).tag(sync=True)

    def __init__(
        self,
        w1: float = START["w1"],
        w2: float = START["w2"],
        ratio: float = START["ratio"],
        correlation: float = START["correlation"],
    ):
        super().__init__(w1=w1, w2=w2, ratio=ratio, correlation=correlation)

    @traitlets.validate("w1", "w2", "ratio", "correlation")
    def _check(self, proposal: dict):
        return check_limits(proposal["trait"].name, proposal["value"])

    def outcomes(self) -> dict[str, Outcome]:
        """What the widget shows now."""
        return outcomes(self.w1, self.w2, self.ratio, self.correlation)


def static_figure(
    w1: float = START["w1"],
    w2: float = START["w2"],
    ratio: float = START["ratio"],
    correlation: float = START["correlation"],
) -> Figure:
    """The three panels of `Surgery` as a still figure; arguments and errors as there."""
    result = outcomes(w1, w2, ratio, correlation)
    with still_figure(10, 5.6) as figure:
        axes = figure.subplot_mosaic("PE;PS", width_ratios=(1.25, 1))
        draw_plane(axes["P"], (w1, w2, ratio, correlation), result)
        draw_errors(axes["E"], result)
        draw_scores(axes["S"], result)
        figure.suptitle(
            "E rises from w*; where OBS ends, the smallest ellipse touches the thick line", fontsize="medium"
        )
        figure.legend(fontsize="small", frameon=False, loc="outside lower center", ncols=4)
    return figure


def draw_plane(panel: Axes, surface: tuple[float, float, float, float], result: dict[str, Outcome]) -> None:
    """Ellipses of constant error, both constraint lines, and each method's way to its point."""
    w = surface[:2]
    half = max(2.4, *(1.15 * abs(x) for one in result.values() for x in one.point))
    for k in range(1, 8):
        panel.plot(*ellipse(*surface, 0.16 * k**2).T, color=palette.MUTED, linewidth=0.7, alpha=0.6)
    q = result["OBS"].deleted
    for line, deleted in ((panel.axvline, 0), (panel.axhline, 1)):
        line(0, color=palette.MUTED, linewidth=3 if deleted == q else 1)
    for name, (color, mark, size) in OF_METHOD.items():
        one = result[name]
        fill = color if name == "OBS" else "none"
        label = f"{name}: $w_{one.deleted + 1}$ deleted, E = {one.error:.3g}"
        if one.error:
            line = "-" if name == "OBS" else "--"
            panel.plot(*ellipse(*surface, one.error).T, color=color, linewidth=1.4, linestyle=line)
        panel.plot(*zip(w, one.point, strict=True), color=color, linewidth=1.4)
        panel.plot(*one.point, mark, color=color, markerfacecolor=fill, markersize=size, mew=1.6, ls="", label=label)
    panel.plot(*w, "D", color=palette.GOOD, markerfacecolor="none", markersize=8, mew=1.6, label="trained weights w*")
    panel.set(xlim=(-half, half), ylim=(-half, half), xlabel="$w_1$", ylabel="$w_2$", aspect="equal")


def draw_errors(panel: Axes, result: dict[str, Outcome]) -> None:
    """E after the deletion, by method."""
    names = list(OF_METHOD)
    errors = [result[name].error for name in names]
    bars = panel.bar(names, errors, color=[OF_METHOD[name][0] for name in names], width=0.6)
    panel.bar_label(bars, [f"{error:.3g}" for error in errors], color=palette.MUTED)
    panel.set_ylabel("E after the deletion")
    panel.margins(y=0.15)


def draw_scores(panel: Axes, result: dict[str, Outcome]) -> None:
    """What each method compares, both weights side by side; the smaller one, which is deleted, filled."""
    for place, (name, (color, *_)) in enumerate(OF_METHOD.items()):
        one = result[name]
        shares = np.array(one.scores) / (max(one.scores) or 1)
        for q, share in enumerate(shares):
            fill = color if q == one.deleted else "none"
            bar = panel.bar(place + 0.4 * q - 0.2, share, width=0.34, facecolor=fill, edgecolor=color, linewidth=1.5)
            panel.bar_label(bar, [f"w{'₁₂'[q]}: {one.scores[q]:.3g}"], padding=2, color=palette.MUTED, fontsize="small")
    panel.set_xticks(range(3), ["$|w_q|$", "OBD: $½h_{qq}w_q^2$", "OBS: $½w_q^2/[H^{-1}]_{qq}$"])
    panel.set_ylabel("score, share of larger")
    panel.set_ylim(0, 1.2)
    panel.set_title("filled: the smaller score, deleted", fontsize="small")
