"""Lasso explorer: ISTA and APG on a lasso of two variables whose step, penalty, momentum and shape the reader sets."""

from collections.abc import Sequence

import traitlets

from pruning_lib.checks import check_choice
from pruning_lib.teaching.widgets.javascript import Drawn, check_range

STEPS = 60  # iterations of each method
METHODS = {
    "apg": "APG: accelerated proximal gradient",
    "ista": "ISTA: the same without momentum",
    "subgradient": "subgradient: no prox either",
}
LIMITS = {
    "eta": (0.05, 2.5),
    "gamma": (0.0, 1.0),
    "momentum": (0.0, 0.99),
    "condition": (1.0, 256.0),
    "angle": (-90.0, 90.0),
}
START = {"eta": 1.0, "gamma": 0.24, "momentum": 0.9, "growing": True, "condition": 32.0, "angle": 40.0}
PRESETS = {
    "a long valley, step 1/L": {},
    "step too large: ISTA diverges": {"eta": 2.2, "gamma": 0.0, "method": "ista"},
    "momentum needs smaller steps: only APG diverges": {"eta": 1.45, "gamma": 0.05, "growing": False},
    "too much momentum: APG overshoots": {"momentum": 0.97, "growing": False},
    "no prox: the path never rests on an axis": {"eta": 0.5, "gamma": 0.5, "method": "subgradient"},
    "a round bowl: one step is enough": {"condition": 1.0, "method": "ista"},
    "a high price: both coordinates close": {"gamma": 1.0},
}
PRESETS = {name: START | {"method": "apg"} | changes for name, changes in PRESETS.items()}


class LassoExplorer(Drawn):
    """Walk down F(x) = ½(x − c)ᵀH(x − c) + γ‖x‖₁ by ISTA and APG, and see each step as the minimum of a parabola.

    H has the curvature L = 1 along v₁ and 1/condition along v₂. The browser computes everything, as `proximal.ista` and
    `proximal.apg` do. Without its penalty F is ½‖Ax − b‖² with A = H^½ and b = Ac.

    Parameters
    ----------
    center, start : c and x_0, two numbers from −3 to 3 each
    t : iterations done, from 0 to `STEPS`
    method : whose step is drawn in detail, a key of `METHODS`; "subgradient" has no prox
    eta : step η in units of 1/L, from 0.05 to 2.5
    gamma : penalty γ, from 0 to 1
    growing, momentum : APG's momentum is (t − 2)/(t + 1) (SSS-5), or else the constant `momentum`, from 0 to 0.99
    condition : κ, the larger curvature of H by the smaller, from 1 to 256
    angle : of v₁ with the first axis, in degrees, from −90 to 90

    All but `center` and `start` are traits that follow the page and may be set from Python; other values raise
    ValueError. `PRESETS` holds the examples that the page offers by name.
    """

    t = traitlets.Int(12).tag(sync=True)
    method = traitlets.Unicode("apg").tag(sync=True)
    eta = traitlets.Float(START["eta"]).tag(sync=True)
    gamma = traitlets.Float(START["gamma"]).tag(sync=True)
    growing = traitlets.Bool(START["growing"]).tag(sync=True)
    momentum = traitlets.Float(START["momentum"]).tag(sync=True)
    condition = traitlets.Float(START["condition"]).tag(sync=True)
    angle = traitlets.Float(START["angle"]).tag(sync=True)
    center = traitlets.List(read_only=True).tag(sync=True)
    start = traitlets.List(read_only=True).tag(sync=True)
    steps = traitlets.Int(STEPS, read_only=True).tag(sync=True)
    methods = traitlets.Dict(METHODS, read_only=True).tag(sync=True)
    limits = traitlets.Dict(LIMITS, read_only=True).tag(sync=True)
    presets = traitlets.List(list(PRESETS.items()), read_only=True).tag(sync=True)  # a saved dict would be sorted

    def __init__(
        self,
        center: Sequence[float] = (1.058, 0.43),
        start: Sequence[float] = (-1.0, 2.0),
        **shown: float | bool | str,
    ):
        for name, point in (("center", center), ("start", start)):
            if len(point) != 2:
                raise ValueError(f"{name} has {len(point)} numbers, must have 2")
            self.set_trait(name, [check_range(name, float(value), -3, 3) for value in point])
        super().__init__(**shown)

    @traitlets.validate("t", "method", *LIMITS)
    def _check(self, proposal: dict):
        name, value = proposal["trait"].name, proposal["value"]
        if name == "method":
            return check_choice(name, value, METHODS)
        return check_range(name, value, *LIMITS.get(name, (0, STEPS)))
