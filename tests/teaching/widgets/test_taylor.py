"""What the Taylor widget accepts, computes and draws, and the same numbers in JavaScript."""

import copy
import json
import math

import numpy as np
import pytest
import torch
from node import computed

from pruning_lib.teaching.widgets.taylor import Taylor

T = [0.01 * 1.5**k for k in range(12)]


def curve(start: float, across: float, cubic: bool = True) -> dict[str, list[float]]:
    """E(x, y) = eˣ + ½y² + a·x·y around (start, 0) along (1, 1)/√2, with a = `across`."""
    h, result = 1 / math.sqrt(2), {"t": T}
    result["true"] = [
        math.exp(start + h * t) - math.exp(start) + (h * t) ** 2 / 2 + across * (start + h * t) * h * t for t in T
    ]
    result["first"] = [(math.exp(start) + across * start) * h * t for t in T]
    result["second"] = [((math.exp(start) + 1) / 2 + across) * (h * t) ** 2 for t in T]
    result["diagonal"] = [(math.exp(start) + 1) / 2 * (h * t) ** 2 for t in T]
    return result | ({"cubic": [math.exp(start) * (h * t) ** 3 / 6 for t in T]} if cubic else {})


POINTS = {
    "early": {"x = y": curve(0.0, 0.5), "no mixed term": curve(0.0, 0.0)},
    "late": {"x = y": curve(-4.0, 0.5), "no mixed term": curve(-4.0, 0.0)},
}


def sums(line) -> dict[str, list[float]]:
    """The series cut off: "first", "second", "diagonal" (first + second term by H's diagonal), maybe "cubic"."""
    result = {"first": line["first"]}
    result |= {key: [a + b for a, b in zip(line["first"], line[key], strict=True)] for key in ("second", "diagonal")}
    if "cubic" in line:
        result["cubic"] = [a + b for a, b in zip(result["second"], line["cubic"], strict=True)]
    return result


def remainders(line) -> dict[str, list[float]]:
    """ΔE − each of `sums`."""
    return {key: [e - value for e, value in zip(line["true"], cut, strict=True)] for key, cut in sums(line).items()}


def slope(t, values, index: int) -> float | None:
    """d log|values| / d log t between the neighbors of `index`; None where a logarithm is missing."""
    low, high = max(index - 1, 0), min(index + 1, len(t) - 1)
    if t[low] <= 0 or not values[low] or not values[high]:
        return None
    return math.log(abs(values[high] / values[low])) / math.log(t[high] / t[low])


def test_what_is_left_over_grows_as_its_order_says():
    left = remainders(POINTS["early"]["x = y"])
    for name, order in (("first", 2), ("second", 3), ("diagonal", 2), ("cubic", 4)):
        assert slope(T, left[name], 1) == pytest.approx(order, abs=0.02), name
    without = sums(POINTS["late"]["no mixed term"])
    assert without["second"] == without["diagonal"]


def test_slope_needs_logarithms():
    assert slope([0.0, 1.0, 2.0], [0.0, 1.0, 8.0], 1) is None
    assert slope([0.0, 1.0, 2.0], [0.0, 1.0, -8.0], 2) == pytest.approx(3)
    assert slope([1.0, 2.0, 3.0], [0.0, 1.0, 8.0], 0) is None


def test_arrays_and_tensors_travel_as_lists():
    given = {"t": np.array(T), "true": torch.tensor(T), "first": tuple(T), "second": T, "diagonal": T}
    widget = Taylor({"end": {"line": given}})
    sent = widget.points["end"]["line"]
    assert sent["t"] == T and sent["first"] == T and sent["true"] == torch.tensor(T).tolist()
    assert json.loads(json.dumps(widget.points)) == widget.points
    assert (widget.point, widget.direction, widget.index) == ("end", "line", 11)


def test_the_last_point_and_first_direction_are_shown_first():
    widget = Taylor(POINTS, index=3)
    assert (widget.point, widget.direction, widget.index) == ("late", "x = y", 3)
    widget.point, widget.direction, widget.index = "early", "no mixed term", 0
    assert (widget.point, widget.direction, widget.index) == ("early", "no mixed term", 0)


@pytest.mark.parametrize(("name", "value"), [("point", "never"), ("direction", "up"), ("index", -1), ("index", len(T))])
def test_bad_choices_are_refused_at_the_start_and_later(name, value):
    with pytest.raises(ValueError, match=f"{name} is {value!r}, must be"):
        Taylor(POINTS, **{name: value})
    widget = Taylor(POINTS)
    before = getattr(widget, name)
    with pytest.raises(ValueError, match=f"{name} is {value!r}, must be"):
        setattr(widget, name, value)
    assert getattr(widget, name) == before


def changed(**changes) -> dict:
    points = copy.deepcopy(POINTS)
    line = points["late"]["x = y"] | changes
    points["late"]["x = y"] = {key: values for key, values in line.items() if values is not None}
    return points


WHERE = r"points\['late'\]\['x = y'\]"


@pytest.mark.parametrize(
    ("points", "message"),
    [
        ({}, "points is {}, must hold a point"),
        ({"end": {}}, "each point a direction"),
        (POINTS | {"end": {"x = y": curve(0, 0)}}, r"'end' has directions \['x = y'\], must be those of 'early'"),
        (changed(true=None, second=None), f"{WHERE} has no true, second"),
        (changed(third=T), f"{WHERE} has third, must have t, true, first, second, diagonal and may have cubic"),
        (changed(cubic=None), f"{WHERE} has 12 t and the keys .* must be as in the first: 12 t"),
        (changed(**{key: T[:5] for key in POINTS["late"]["x = y"]}), f"{WHERE} has 5 t and .* must be as in the first"),
        (changed(first=T[1:]), f"{WHERE} has 11 values of first, must have one for each of 12 t"),
        (changed(second=[*T[1:], math.nan]), f"{WHERE}: second contains nan, must be finite"),
        (changed(t=[*T[1:], 0.02]), f"{WHERE}: t is .*, must rise"),
        (changed(t=[-1.0, *T[1:]]), f"{WHERE}: t is .*, must rise, from 0"),
        (changed(t=[1.0]), f"{WHERE} has 1 t, must have at least 2"),
    ],
)
def test_bad_points_are_refused(points, message):
    with pytest.raises(ValueError, match=message):
        Taylor(points)


def test_javascript_computes_the_same(tmp_path):
    zero = {"t": [0.0, 1.0, 2.0], "true": [0.0, 1.0, 5.0]} | {key: [0.0] * 3 for key in ("first", "second", "diagonal")}
    lines = [zero, curve(-1.0, 0.3, cubic=False), *POINTS["early"].values()]
    expression = "given.map((line) => [sums(line), remainders(line), SLOPES])"
    expression = expression.replace("SLOPES", "line.t.map((_, i) => slope(line.t, remainders(line).second, i))")
    answers = computed(tmp_path, "taylor", "remainders, slope, sums", expression, lines)
    for line, (cut, left, slopes) in zip(lines, answers, strict=True):
        assert cut == sums(line) and left == remainders(line)
        for index, found in enumerate(slopes):
            expected = slope(line["t"], remainders(line)["second"], index)
            assert found == (None if expected is None else pytest.approx(expected))


def test_terms_and_what_they_leave_over(tmp_path):
    line = POINTS["early"]["x = y"]
    exact = {"t": [0.0, 1.0, 2.0], "true": [0.0, 1.0, 4.0], "first": [0.0] * 3, "second": [0.0, 1.0, 4.0]}
    exact["diagonal"] = [0.0, 0.5, 2.0]
    found = computed(tmp_path, "taylor", "termsAt", "given.map((one) => termsAt(...one))", [[line, 4], [exact, 0]])
    expected = [line[key][4] for key in ("true", "first", "second", "cubic")]
    assert [one["value"] for one in found[0]] == [*expected, remainders(line)["cubic"][4], line["diagonal"][4]]
    assert [one["filled"] for one in found[0]] == [True] * 5 + [False]
    assert [one["name"] for one in found[1]] == ["ΔE", "first", "second", "rest", "diagonal"]  # no third term


def test_sizes_on_logarithmic_axes_leave_out_what_has_no_logarithm(tmp_path):
    exact = {"t": [0.0, 1.0, 2.0], "true": [0.0, 1.0, 4.0], "first": [0.0] * 3, "second": [0.0, 1.0, 4.0]}
    exact["diagonal"] = [0.0, 0.5, 2.0]
    found = computed(tmp_path, "taylor", "remainders, sizes", "sizes(given.t, remainders(given))", exact)
    assert found["second"] == [None] * 3 and found["first"] == [None, 1, 4]
