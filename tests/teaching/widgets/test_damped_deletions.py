"""What the widget of α and deletions accepts and hands over, and what JavaScript reads out of it."""

import json
import math

import pytest
import torch
from node import computed

from pruning_lib.teaching.widgets.damped_deletions import DampedDeletions

ALPHAS = [1e-3, 1e-2]
TABLE = torch.tensor([[0.2, 0.25, 0.9, 0.5], [0.2, 0.3, 0.4, 0.5]])


def method(table=TABLE, **changed) -> dict:
    return {"error": table, "unseen": table + 0.1, "moved": 10 * (table - 0.2)} | changed


METHODS = {"OBS": method(), "magnitude": method(torch.tensor([[0.2, 0.26, 0.6, 0.5]]))}


def test_tables_travel_as_rows_in_the_order_given():
    widget = DampedDeletions(ALPHAS, METHODS)
    assert [one["name"] for one in widget.methods] == ["OBS", "magnitude"]
    assert widget.methods[0]["error"] == [[0.2, 0.25, 0.9, 0.5], [0.2, 0.3, 0.4, 0.5]]
    assert widget.methods[1]["unseen"] == [[0.3, 0.36, 0.7, 0.6]]
    assert json.loads(json.dumps(widget.methods)) == widget.methods
    assert (widget.alpha, widget.deleted) == (1e-2, 0)
    assert DampedDeletions(ALPHAS, {"OBS": method(TABLE / 3)}).methods[0]["error"][0][0] == 0.066667


@pytest.mark.parametrize(("name", "value"), [("alpha", 2e-3), ("deleted", -1), ("deleted", 4)])
def test_bad_choices_are_refused_at_the_start_and_later(name, value):
    with pytest.raises(ValueError, match=f"{name} is {value!r}, must be"):
        DampedDeletions(ALPHAS, METHODS, **{name: value})
    widget = DampedDeletions(ALPHAS, METHODS)
    before = getattr(widget, name)
    with pytest.raises(ValueError, match=f"{name} is {value!r}, must be"):
        setattr(widget, name, value)
    assert getattr(widget, name) == before


@pytest.mark.parametrize(
    ("alphas", "methods", "message"),
    [
        ([1e-3], METHODS, r"alphas is \[0.001\], must be at least two numbers > 0, rising"),
        ([0.0, 1e-3], METHODS, "must be at least two numbers > 0, rising"),
        ([1e-2, 1e-3], METHODS, "must be at least two numbers > 0, rising"),
        (ALPHAS, {}, "methods holds 0, must hold 1 to 4"),
        (ALPHAS, dict.fromkeys("abcde", method()), "methods holds 5, must hold 1 to 4"),
        (ALPHAS, {"OBS": {"error": TABLE}}, "OBS has error, must have error, unseen, moved"),
        (ALPHAS, {"OBS": method(extra=TABLE)}, "OBS has error, unseen, moved, extra, must have"),
        ([*ALPHAS, 0.1], METHODS, r"OBS: error has shape \(2, 4\), must be 1 or 3 rows of at least 2"),
        (ALPHAS, {"OBS": method(unseen=TABLE[:1])}, r"OBS: unseen has shape \(1, 4\), must be"),
        (ALPHAS, {"OBS": method(error=TABLE[0])}, r"OBS: error has shape \(4,\), must be"),
        (ALPHAS, {"OBS": method(TABLE[:, :1])}, r"OBS: error has shape \(2, 1\), must be"),
        (ALPHAS, {"OBS": method(moved=math.nan * TABLE)}, "OBS: moved must be finite"),
        (ALPHAS, {"OBS": method(), "other": method(TABLE[:, 1:])}, r"are \[3, 4\] long, must be of one length"),
    ],
)
def test_bad_tables_are_refused(alphas, methods, message):
    with pytest.raises(ValueError, match=message):
        DampedDeletions(alphas, methods)


def test_javascript_finds_the_same_rows_and_the_least_error(tmp_path):
    methods = DampedDeletions(ALPHAS, METHODS).methods
    each = "[standings(linesAt(given, k), at), winner(standings(linesAt(given, k), at))]"
    expression = f"[0, 1].map((k) => [0, 1, 2].map((at) => {each}))"
    found = computed(tmp_path, "damped_deletions", "linesAt, standings, winner", expression, methods)
    for k, at in ((k, at) for k in (0, 1) for at in (0, 1, 2)):
        rows = [k, 0]  # magnitude has one row, for all α
        expected = [
            {key: value if key == "name" else value[row][at] for key, value in one.items()}
            for one, row in zip(methods, rows, strict=True)
        ]
        standing, best = found[k][at]
        assert standing == expected
        alike = len({one["unseen"] for one in expected}) == 1
        assert best == (None if alike else min(expected, key=lambda one: one["unseen"]))  # the first of equals
    assert [found[k][2][1]["name"] for k in (0, 1)] == ["magnitude", "OBS"]


def test_the_range_of_errors_leaves_room_above_an_empty_network(tmp_path):
    found = computed(
        tmp_path, "damped_deletions", "errorRange", "errorRange(given)", DampedDeletions(ALPHAS, METHODS).methods
    )
    assert found == pytest.approx([0.2 - 0.1 * 0.4, 0.6 + 0.25 * 0.4])  # the least error is 0.2, an empty one's 0.6
