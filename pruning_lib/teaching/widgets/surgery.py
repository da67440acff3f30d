"""Surgery: two weights, the ellipses of constant error, and where magnitude, OBD and OBS go when they delete one."""

import traitlets

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


class Surgery(Drawn):
    """Two weights at the minimum of a quadratic error: which one each method deletes, where it leaves the other.

    Parameters
    ----------
    w1, w2 : the trained weights w*, from −2 to 2
    ratio : h₁₁/h₂₂, from 1/16 to 16; h₁₁h₂₂ = 1
    correlation : ρ = h₁₂/√(h₁₁h₂₂), from −0.95 to 0.95

    All are traits that follow the sliders and may be set from Python; other values raise ValueError. The default is
    the first of `PRESETS`, which the page offers by name. Of E(w) = ½(w − w*)ᵀH(w − w*) each method deletes the weight
    with the smaller score: abs(w_q), ½ h_qq w_q² (OBD) or ½ w_q²/[H⁻¹]_qq (OBS-5), of equal ones the first. Magnitude
    and OBD leave the other weight as it is, OBS moves it to the best place on the line w_q = 0. OBS's scores are
    1 − ρ² times OBD's: both always delete the same weight, and only the other one tells them apart.
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
