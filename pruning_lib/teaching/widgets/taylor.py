"""Taylor: how far the first, second and third term of the error's Taylor series reach from a point (OBS-1)."""

import itertools
import math
from collections.abc import Mapping, Sequence

import anywidget
import numpy as np
import traitlets
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pruning_lib.checks import check_choice
from pruning_lib.teaching import palette
from pruning_lib.teaching.widgets.javascript import bundle, styles
from pruning_lib.teaching.widgets.still import still_figure

NEEDED = ("t", "true", "first", "second", "diagonal")
COLORS = {"kept": palette.KEPT, "updated": palette.UPDATED, "accent": palette.ACCENT, "good": palette.GOOD}
COLORS |= {"cubic": palette.SERIES[3], "muted": palette.MUTED}
STYLES = {  # color, line, mark, filled, label; "true" first, then what `sums` gives
    "true": (palette.KEPT, "-", "o", True, "true ΔE"),
    "first": (palette.GOOD, ":", "D", False, "first order"),
    "second": (palette.UPDATED, "--", "s", False, "second order"),
    "diagonal": (palette.ACCENT, "-.", "^", False, "second order, diagonal H"),
    "cubic": (palette.SERIES[3], (0, (4, 2, 1, 2, 1, 2)), "o", False, "third order"),
}
Curve = Mapping[str, Sequence[float]]
Points = Mapping[str, Mapping[str, Curve]]


class Taylor(anywidget.AnyWidget):
    """The error along a line against its Taylor series: curves, the terms at a distance t, what is left over.

    Parameters
    ----------
    points : points of expansion by name, in order (say after 10, 100 and all steps of training), each a dict of
        directions by name, each a dict of equally long lists:
        "t", distances ‖δw‖ ≥ 0, rising; "true", E(w + δw) − E(w); "first", the term (∂E/∂w)ᵀδw; "second", the term
        ½ δwᵀHδw; "diagonal", the same with H's diagonal only, as in OBD; and, for all or none, "cubic", the third
        term. The terms are given one by one, not summed. Arrays and tensors of one axis serve as lists.
    point, direction : what is shown first; left out, the last point and the first direction
    index : which of the distances is shown first; left out, the middle one

    These three are traits that follow the page and may be set from Python.

    Raises
    ------
    ValueError : for points that differ in their directions, curves that lack something, have a name that is not
        known, differ in length or are not finite, for t that are negative or do not rise, and for a choice that is
        not there; at the start and later.
    """

    _esm = bundle("taylor.js")
    _css = styles()

    point = traitlets.Unicode().tag(sync=True)
    direction = traitlets.Unicode().tag(sync=True)
    index = traitlets.Int().tag(sync=True)
    points = traitlets.Dict(read_only=True).tag(sync=True)
    palette = traitlets.Dict(COLORS, read_only=True).tag(sync=True)

    def __init__(
        self, points: Points, point: str | None = None, direction: str | None = None, index: int | None = None
    ):
        self.set_trait("points", check_points(points))
        point, direction, index = defaults(self.points, point, direction, index)
        super().__init__(point=point, direction=direction, index=index)

    @traitlets.validate("point", "direction", "index")
    def _check(self, proposal: dict):
        return check_shown(self.points, proposal["trait"].name, proposal["value"])


def check_points(points: Points) -> dict[str, dict[str, dict[str, list[float]]]]:
    """`points` as plain lists, or ValueError as `Taylor` tells."""
    if not points or not all(points.values()):
        raise ValueError(f"points is {dict(points)}, must hold a point, and each point a direction")
    result = {
        point: {
            direction: check_curve(f"points[{point!r}][{direction!r}]", curve) for direction, curve in lines.items()
        }
        for point, lines in points.items()
    }
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


def check_curve(where: str, curve: Curve) -> dict[str, list[float]]:
    if missing := [key for key in NEEDED if key not in curve]:
        raise ValueError(f"{where} has no {', '.join(missing)}")
    if unknown := sorted(set(curve) - {*NEEDED, "cubic"}):
        raise ValueError(f"{where} has {', '.join(unknown)}, must have {', '.join(NEEDED)} and may have cubic")
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


def defaults(points: Points, point: str | None, direction: str | None, index: int | None) -> tuple[str, str, int]:
    lines = next(iter(points.values()))
    point = list(points)[-1] if point is None else point
    direction = next(iter(lines)) if direction is None else direction
    return point, direction, len(next(iter(lines.values()))["t"]) // 2 if index is None else index


def check_shown(points: Points, name: str, value: str | int) -> str | int:
    lines = next(iter(points.values()))
    if name != "index":
        return check_choice(name, value, points if name == "point" else lines)
    last = len(next(iter(lines.values()))["t"]) - 1
    if not 0 <= value <= last:
        raise ValueError(f"index is {value}, must be from 0 to {last}")
    return value


def sums(curve: Curve) -> dict[str, list[float]]:
    """The series cut off: "first", "second", "diagonal" (first + second term by H's diagonal), maybe "cubic"."""
    first = list(curve["first"])
    result = {"first": first}
    result |= {k: [a + b for a, b in zip(first, curve[k], strict=True)] for k in ("second", "diagonal")}
    if "cubic" in curve:
        result["cubic"] = [a + b for a, b in zip(result["second"], curve["cubic"], strict=True)]
    return result


def remainders(curve: Curve) -> dict[str, list[float]]:
    """ΔE − each of `sums`. Near the point, the one of the second order grows as t³, as long as rounding is smaller."""
    return {k: [e - value for e, value in zip(curve["true"], cut, strict=True)] for k, cut in sums(curve).items()}


def slope(t: Sequence[float], values: Sequence[float], index: int) -> float | None:
    """d log|values| / d log t between the neighbors of `index`; None where a logarithm is missing."""
    low, high = max(index - 1, 0), min(index + 1, len(t) - 1)
    if t[low] <= 0 or not values[low] or not values[high]:
        return None
    return math.log(abs(values[high] / values[low])) / math.log(t[high] / t[low])


def static_figure(
    points: Points, point: str | None = None, direction: str | None = None, index: int | None = None
) -> Figure:
    """The three panels of `Taylor` as a still figure; arguments and errors as there."""
    points = check_points(points)
    point, direction, index = defaults(points, point, direction, index)
    for name, value in (("point", point), ("direction", direction), ("index", index)):
        check_shown(points, name, value)
    curve = points[point][direction]
    with still_figure(10, 5.6) as figure:
        axes = figure.subplot_mosaic("CR;CT", width_ratios=(1.15, 1))
        draw_curves(axes["C"], curve, index)
        axes["C"].set_title(f"{point}, direction: {direction}", fontsize="medium")
        draw_remainders(axes["R"], curve, index)
        draw_terms(axes["T"], curve, index)
    return figure


def draw_lines(panel: Axes, t: Sequence[float], lines: Mapping[str, Sequence[float]], index: int) -> None:
    """Lines with a mark now and then, and a larger one at `index`."""
    for name, values in lines.items():
        color, dash, mark, filled, label = STYLES[name]
        look = {"color": color, "marker": mark, "markerfacecolor": color if filled else "none"}
        every = max(1, len(t) // 7)
        panel.plot(t, values, linestyle=dash, markersize=4, markevery=every, label=label, **look)
        panel.plot(t[index], values[index], markersize=5 if filled else 8, **look)
    panel.axvline(t[index], color=palette.MUTED, linewidth=0.8)


def draw_curves(panel: Axes, curve: Curve, index: int) -> None:
    """ΔE and the series cut off; where a cut-off series runs far away, the panel ends."""
    lines = {"true": curve["true"]} | sums(curve)
    low, high = min(0, *curve["true"]), max(0, *curve["true"])
    span = high - low or 1
    every = np.concatenate(list(lines.values())).clip(low - 0.6 * span, high + 0.6 * span)
    margin = 0.06 * (every.max() - every.min() or 1)
    draw_lines(panel, curve["t"], lines, index)
    panel.set(xlim=(0, curve["t"][-1]), ylim=(every.min() - margin, every.max() + margin))
    panel.set(xlabel="distance t = ‖δw‖", ylabel="ΔE")
    panel.legend(fontsize="small", frameon=False)


def draw_remainders(panel: Axes, curve: Curve, index: int) -> None:
    """Over t on logarithmic axes, each |ΔE − series| is nearly a line; dotted, slope 3 through the second order's."""
    left, t = remainders(curve), np.array(curve["t"])
    shown = {name: np.where((np.abs(v) > 0) & (t > 0), np.abs(v), np.nan) for name, v in left.items()}
    draw_lines(panel, t, shown, index)
    panel.set(xscale="log", yscale="log", xlabel="t", ylabel="|ΔE − series|")
    here, limits = abs(left["second"][index]), panel.get_ylim()
    if here and t[index]:
        on = t > 0
        panel.plot(
            t[on],
            here * (t[on] / t[index]) ** 3,
            color=palette.MUTED,
            linewidth=2.5,
            zorder=1,
            linestyle=":",
            label="slope 3",
        )
    panel.set_ylim(limits)
    measured = slope(curve["t"], left["second"], index)
    if measured is not None:
        panel.set_title(f"dotted: slope 3; second order here: {measured:.2f}", fontsize="small")


def draw_terms(panel: Axes, curve: Curve, index: int) -> None:
    """ΔE at `index`, each term, and what the terms leave over."""
    names = ["true", "first", "second", *(["cubic"] if "cubic" in curve else [])]
    values = [curve[name][index] for name in names]
    colors = [STYLES[name][0] for name in names]
    rest = remainders(curve)["cubic" if "cubic" in curve else "second"][index]
    labels = [{"true": "ΔE", "cubic": "third"}.get(name, name) for name in names]
    place = range(len(names) + 2)
    values, colors = [*values, rest, curve["diagonal"][index]], [*colors, palette.MUTED, palette.ACCENT]
    bars = panel.bar(place, values, color=colors, width=0.6)
    bars[-1].set(facecolor="none", edgecolor=palette.ACCENT, linewidth=1.5)
    panel.bar_label(bars, [f"{value:.2g}" for value in values], color=palette.MUTED, fontsize="small")
    panel.set_xticks(place, [*labels, "rest", "diagonal"])
    panel.axhline(0, color=palette.MUTED, linewidth=0.8)
    panel.margins(y=0.18)
    panel.set_title(f"terms at t = {curve['t'][index]:.3g}; outlined: second with H's diagonal only", fontsize="small")
