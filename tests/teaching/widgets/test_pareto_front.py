"""The Pareto front: that the page computes front, best and differences as Python does, and its state."""

import pytest
from node import computed

from pruning_lib.comparison import difference, pareto
from pruning_lib.teaching.widgets.pareto_front import LIMITS, START, ParetoFront, costs_of
from tests.comparison_runs import made_up, recorded

EVIDENCE = recorded()
UNTIMED = EVIDENCE | {"batches": [], "methods": made_up()["methods"][:3]}
UNTIMED["methods"] = [m | {"points": [p | {"latency": []} for p in m["points"]]} for m in UNTIMED["methods"]]
COSTS = costs_of({"one": EVIDENCE})
NAMES = "pointsOf, front, within"


def points_of(evidence, cost):
    """(name, method, cost in % of dense, accuracy, seeds) of what was measured at that cost."""
    less = {"weights": lambda p: 1 / (1 - p["sparsity"]), "bytes": lambda p: p["bytes"], "macs": lambda p: p["macs"]}
    for batch, number in enumerate(evidence["batches"]):
        less[f"seconds {number}"] = lambda p, batch=batch: p["latency"][batch]
    of = less.get(cost, lambda p: None)
    return [
        (p["name"], method["name"], 100 / of(p), p["retrained"][0], p["seeds"]["retrained"])
        for method in evidence["methods"]
        for p in method["points"]
        if of(p)
    ]


@pytest.mark.parametrize("cost", COSTS)
def test_the_front_is_pythons(tmp_path, cost):
    points = points_of(EVIDENCE, cost)
    expression = "front(pointsOf(given, COST).filter((p) => p.cost !== null)).map((p) => p.name)".replace(
        "COST", f"'{cost}'"
    )
    found = computed(tmp_path, "pareto_front", NAMES, expression, EVIDENCE)
    ours = [points[place][0] for place in pareto([(cost, accuracy) for _, _, cost, accuracy, _ in points])]
    assert sorted(found) == sorted(ours) and 0 < len(found) < len(points)


@pytest.mark.parametrize("cost", COSTS)
def test_best_and_differences_are_pythons(tmp_path, cost):
    expression = (
        f"given.limits.map((limit) => within(pointsOf(given.evidence, '{cost}'), limit, given.evidence.student))"
    )
    given = {"evidence": EVIDENCE, "limits": LIMITS}
    empty = []
    for limit, found in zip(LIMITS, computed(tmp_path, "pareto_front", NAMES, expression, given), strict=True):
        cheap = [point for point in points_of(EVIDENCE, cost) if point[2] <= limit + 1e-9]
        empty.append(not cheap)
        if not cheap:
            assert found == {"best": None, "others": []}
            continue
        most = max(point[3] for point in cheap)
        (best,) = (point for point in cheap if point[0] == found["best"]["name"])
        assert best[3] == most
        assert {o["point"]["method"]["name"] for o in found["others"]} == {p[1] for p in cheap} - {best[1]}
        for other in found["others"]:
            same = [point for point in cheap if point[1] == other["point"]["method"]["name"]]
            (own,) = (point for point in same if point[0] == other["point"]["name"])
            assert own[3] == max(point[3] for point in same)
            ours = difference(own[4], best[4])
            assert [other["difference"][key] for key in ("mean", "low", "high")] == pytest.approx(ours[:3], abs=1e-3)
    assert not all(empty)


def test_fewer_than_two_shared_seeds_tell_nothing(tmp_path):
    expression = "[paired(given[0], given[1], {}), mayMatch(paired(given[0], given[1], {}))]"
    given = [{"0": 97.0, "1": 98.0}, {"1": 90.0, "2": 91.0}]
    assert computed(tmp_path, "pareto_front", "paired, mayMatch", expression, given) == [None, True]


def test_what_was_not_timed_has_no_seconds(tmp_path):
    expression = "pointsOf(given, 'seconds 64').filter((p) => p.cost === null).map((p) => p.name)"
    found = computed(tmp_path, "pareto_front", NAMES, expression, EVIDENCE)
    assert "n:m magnitude 2:4" in found and "magnitude at 90 %" not in found
    every = [p["name"] for m in UNTIMED["methods"] for p in m["points"]]
    assert sorted(computed(tmp_path, "pareto_front", NAMES, expression, UNTIMED)) == sorted(every)


def test_costs_are_what_one_of_the_records_holds():
    assert list(COSTS) == ["weights", "bytes", "macs", "seconds 1", "seconds 64"]
    assert COSTS["seconds 1"] == "seconds for 1 image" and COSTS["seconds 64"] == "seconds for 64 images"
    assert list(costs_of({"one": UNTIMED})) == ["weights", "bytes", "macs"]


@pytest.mark.parametrize(
    ("name", "value"), [("record", "ResNet"), ("cost", "euros"), ("limit", 11.0), ("point", "SNIP at 90.1 %")]
)
def test_bad_values_are_refused_at_the_start_and_later(name, value):
    with pytest.raises(ValueError, match=f"{name} is {value!r}, must be one of"):
        ParetoFront({"LeNet-5": EVIDENCE}, **{name: value})
    widget = ParetoFront({"LeNet-5": EVIDENCE})
    with pytest.raises(ValueError, match=f"{name} is {value!r}"):
        setattr(widget, name, value)
    assert {key: getattr(widget, key) for key in START} == START and widget.record == "LeNet-5"


def test_no_record_is_refused():
    with pytest.raises(ValueError, match="records is empty"):
        ParetoFront({})


def test_state_follows_the_traits():
    widget = ParetoFront({"one": EVIDENCE, "two": UNTIMED}, record="two", cost="macs")
    widget.limit, widget.point = 30.0, "SNIP at 90 %"
    assert (widget.record, widget.cost, widget.limit, widget.point) == ("two", "macs", 30.0, "SNIP at 90 %")
