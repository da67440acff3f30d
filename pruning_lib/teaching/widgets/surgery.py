"""Surgery: two weights, the ellipses of constant error, and where magnitude, OBD and OBS go when they delete one."""

import math
from typing import NamedTuple

import torch
import traitlets
from torch import Tensor

from pruning_lib.after_training import obs
from pruning_lib.teaching.widgets.javascript import Drawn, check_range

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
        check_range(name, value, *LIMITS[name])
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


class Surgery(Drawn):
    """Two weights at the minimum of a quadratic error: which one each method deletes, where it leaves the other.

    Parameters
    ----------
    w1, w2 : the trained weights w*, from −2 to 2
    ratio : h₁₁/h₂₂, from 1/16 to 16; h₁₁h₂₂ = 1
    correlation : ρ = h₁₂/√(h₁₁h₂₂), from −0.95 to 0.95

    All are traits that follow the sliders and may be set from Python; other values raise ValueError. The default is
    the first of `PRESETS`, which the page offers by name. What is shown is `outcomes` of the four.
    """

    w1 = traitlets.Float(START["w1"]).tag(sync=True)
    w2 = traitlets.Float(START["w2"]).tag(sync=True)
    ratio = traitlets.Float(START["ratio"]).tag(sync=True)
    correlation = traitlets.Float(START["correlation"]).tag(sync=True)
    limits = traitlets.Dict(LIMITS, read_only=True).tag(sync=True)
    presets = traitlets.Dict(PRESETS, read_only=True).tag(sync=True)

    @traitlets.validate("w1", "w2", "ratio", "correlation")
    def _check(self, proposal: dict):
        name = proposal["trait"].name
        return check_range(name, proposal["value"], *LIMITS[name])

    def outcomes(self) -> dict[str, Outcome]:
        """What the widget shows now."""
        return outcomes(self.w1, self.w2, self.ratio, self.correlation)
