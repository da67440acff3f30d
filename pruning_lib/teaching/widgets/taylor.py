"""Taylor: how far the first, second and third term of the error's Taylor series reach from a point (OBS-1)."""

import itertools
import math
from collections.abc import Mapping, Sequence

import traitlets

from pruning_lib.checks import check_choice
from pruning_lib.teaching.widgets.javascript import Drawn, check_range

_NEEDED = ("t", "true", "first", "second", "diagonal")
Curve = Mapping[str, Sequence[float]]
Points = Mapping[str, Mapping[str, Curve]]


class Taylor(Drawn):
    """The error along a line against its Taylor series: curves, the terms at a distance t, what is left over.

    Parameters
    ----------
    points : points of expansion by name, in order (say after 10, 100 and all steps of training), each a dict of
        directions by name, each a dict of equally long lists:
        "t", distances ‖δw‖ ≥ 0, rising; "true", E(w + δw) − E(w); "first", the term (∂E/∂w)ᵀδw; "second", the term
        ½ δwᵀHδw; "diagonal", the same with H's diagonal only, as in OBD; and, for all or none, "cubic", the third
        term. The terms are given one by one, not summed. Arrays and tensors of one axis serve as lists.
    point, direction : what is shown first; left out, the last point and the first direction
    index : which of the distances is shown first; left out, the last one

    These three are traits that follow the page and may be set from Python.

    Raises
    ------
    ValueError : for points that differ in their directions, curves that lack something, have a name that is not
        known, differ in length or are not finite, for t that are negative or do not rise, and for a choice that is
        not there; at the start and later.
    """

    point = traitlets.Unicode().tag(sync=True)
    direction = traitlets.Unicode().tag(sync=True)
    index = traitlets.Int().tag(sync=True)
    points = traitlets.Dict(read_only=True).tag(sync=True)

    def __init__(self, points: Points, **shown: str | int):
        self.set_trait("points", _check_points(points))
        self._directions = next(iter(self.points.values()))
        direction, curve = next(iter(self._directions.items()))
        self._last = len(curve["t"]) - 1
        usual = {"point": list(self.points)[-1], "direction": direction, "index": self._last}
        super().__init__(**usual | shown)

    @traitlets.validate("point", "direction", "index")
    def _check(self, proposal: dict):
        name, value = proposal["trait"].name, proposal["value"]
        if name != "index":
            return check_choice(name, value, self.points if name == "point" else self._directions)
        return check_range(name, value, 0, self._last)


def _check_points(points: Points) -> dict[str, dict[str, dict[str, list[float]]]]:
    """`points` as plain lists, or ValueError as `Taylor` tells."""
    if not points or not all(points.values()):
        raise ValueError(f"points is {dict(points)}, must hold a point, and each point a direction")
    result = {}
    for point, lines in points.items():
        where = f"points[{point!r}]"
        result[point] = {name: _check_curve(f"{where}[{name!r}]", curve) for name, curve in lines.items()}
    first_point, first_lines = next(iter(result.items()))
    first = next(iter(first_lines.values()))
    for point, lines in result.items():
        if list(lines) != list(first_lines):
            raise ValueError(
                f"{point!r} has directions {list(lines)}, must be those of {first_point!r}, {list(first_lines)}"
            )
        for direction, curve in lines.items():
            if len(curve["t"]) != len(first["t"]) or set(curve) != set(first):
                found, expected = (f"{len(one['t'])} t and the keys {sorted(one)}" for one in (curve, first))
                raise ValueError(f"points[{point!r}][{direction!r}] has {found}, must be as in the first: {expected}")
    return result


def _check_curve(where: str, curve: Curve) -> dict[str, list[float]]:
    if missing := [key for key in _NEEDED if key not in curve]:
        raise ValueError(f"{where} has no {', '.join(missing)}")
    if unknown := sorted(set(curve) - {*_NEEDED, "cubic"}):
        raise ValueError(f"{where} has {', '.join(unknown)}, must have {', '.join(_NEEDED)} and may have cubic")
    curve = {key: [float(value) for value in values] for key, values in curve.items()}
    t = curve["t"]
    if len(t) < 2:
        raise ValueError(f"{where} has {len(t)} t, must have at least 2")
    for key, values in curve.items():
        if len(values) != len(t):
            raise ValueError(f"{where} has {len(values)} values of {key}, must have one for each of {len(t)} t")
        if bad := [value for value in values if not math.isfinite(value)]:
            raise ValueError(f"{where}: {key} contains {bad[0]}, must be finite")
    if t[0] < 0 or any(later <= earlier for earlier, later in itertools.pairwise(t)):
        raise ValueError(f"{where}: t is {t}, must rise, from 0 or more")
    return curve
