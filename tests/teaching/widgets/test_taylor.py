"""What the Taylor widget accepts, computes and draws, and the same numbers in JavaScript."""

import copy
import json
import math
import shutil
import subprocess

import numpy as np
import pytest
import torch

from pruning_lib.teaching.widgets.javascript import bundle
from pruning_lib.teaching.widgets.taylor import Taylor, remainders, slope, static_figure, sums

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
    assert (widget.point, widget.direction, widget.index) == ("end", "line", 6)


def test_the_last_point_and_first_direction_are_shown_first():
    widget = Taylor(POINTS, index=3)
    assert (widget.point, widget.direction, widget.index) == ("late", "x = y", 3)
    widget.point, widget.direction, widget.index = "early", "no mixed term", 0
    assert (widget.point, widget.direction, widget.index) == ("early", "no mixed term", 0)


@pytest.mark.parametrize(("name", "value"), [("point", "never"), ("direction", "up"), ("index", -1), ("index", len(T))])
def test_bad_choices_are_refused_at_the_start_and_later(name, value):
    for call in (Taylor, static_figure):
        with pytest.raises(ValueError, match=f"{name} is {value!r}, must be"):
            call(POINTS, **{name: value})
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
    for call in (Taylor, static_figure):
        with pytest.raises(ValueError, match=message):
            call(points)


def test_figure_shows_the_curves_and_terms():
    line = POINTS["early"]["x = y"]
    curves, left, terms = static_figure(POINTS, "early", index=4).axes
    drawn = {one.get_label(): list(one.get_ydata()) for one in curves.lines}
    assert drawn["true ΔE"] == line["true"] and drawn["second order"] == sums(line)["second"]
    drawn = {one.get_label(): one.get_ydata() for one in left.lines}
    assert drawn["second order"] == pytest.approx(np.abs(remainders(line)["second"]))
    assert drawn["slope 3"][4] == pytest.approx(abs(remainders(line)["second"][4]))
    assert drawn["slope 3"][1] / drawn["slope 3"][0] == pytest.approx(1.5**3)
    expected = [line[key][4] for key in ("true", "first", "second", "cubic")]
    assert [bar.get_height() for bar in terms.patches] == [*expected, remainders(line)["cubic"][4], line["diagonal"][4]]


def test_figure_of_a_series_that_is_exact_and_starts_at_zero():
    line = {"t": [0.0, 1.0, 2.0], "true": [0.0, 1.0, 4.0], "first": [0.0] * 3, "second": [0.0, 1.0, 4.0]}
    _, left, terms = static_figure({"end": {"line": line | {"diagonal": [0.0, 0.5, 2.0]}}}, index=0).axes
    drawn = {one.get_label(): one.get_ydata() for one in left.lines}
    assert np.isnan(drawn["second order"]).all() and drawn["first order"][1:].tolist() == [1, 4]
    assert len(terms.patches) == 5  # no third term


NODE = """
import { readFileSync } from "node:fs";
import { remainders, slope, sums } from "./taylor.mjs";
const lines = JSON.parse(readFileSync(0));
const slopes = (line) => line.t.map((_, i) => slope(line.t, remainders(line).second, i));
console.log(JSON.stringify(lines.map((line) => [sums(line), remainders(line), slopes(line)])));
"""


def test_javascript_computes_the_same(tmp_path):
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed: the browser test compares the texts only")
    (tmp_path / "taylor.mjs").write_text(bundle("taylor.js"), encoding="utf-8")
    (tmp_path / "compare.mjs").write_text(NODE, encoding="utf-8")
    zero = {"t": [0.0, 1.0, 2.0], "true": [0.0, 1.0, 5.0]} | {key: [0.0] * 3 for key in ("first", "second", "diagonal")}
    lines = [zero, curve(-1.0, 0.3, cubic=False), *POINTS["early"].values()]
    command, given = [node, "compare.mjs"], json.dumps(lines)
    answered = subprocess.run(
        command, input=given, cwd=tmp_path, capture_output=True, text=True, check=True, timeout=60
    )
    for line, (cut, left, slopes) in zip(lines, json.loads(answered.stdout), strict=True):
        assert cut == sums(line) and left == remainders(line)
        for index, found in enumerate(slopes):
            expected = slope(line["t"], remainders(line)["second"], index)
            assert found == (None if expected is None else pytest.approx(expected))
