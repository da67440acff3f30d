"""The decision helper: its rules, that the page computes the same, and its state."""

import itertools

import pytest
from node import computed

from pruning_lib.comparison import difference
from pruning_lib.teaching.widgets.decision_helper import ANY, CHOICES, LOSSES, PUBLISHED, START, DecisionHelper
from tests.comparison_runs import made_up, recorded
from tests.decision_rules import ELSEWHERE, advise, apart

EVIDENCE, RECORDED = made_up(), recorded()
ALL = [
    dict(zip(START, values, strict=True))
    for values in itertools.product(*CHOICES.values(), [ANY, *EVIDENCE["sparsities"]], LOSSES[1:3])
]


def named(found, place):
    return [advice.name for advice in found if advice.place == place]


def why(name, **chosen):
    return next(advice.why for advice in advise(EVIDENCE, **START | chosen) if advice.name == name)


@pytest.mark.parametrize("chosen", ALL[::29])
def test_ranking(chosen):
    found = advise(EVIDENCE, **chosen)
    assert sorted(advice.name for advice in found) == sorted(method["name"] for method in EVIDENCE["methods"])
    assert [advice.place for advice in found] == sorted((a.place for a in found), key=["fits", "loses", "out"].index)
    able = [advice for advice in found if advice.place != "out"]
    for advice in able:
        trains = chosen["budget"] != "none" and chosen["data"] == "train"
        dense = EVIDENCE["dense" if trains else "dense_cut"][0]
        assert (advice.place == "fits") == (advice.accuracy[0] >= dense - chosen["loss"] - 1e-9)
        if chosen["sparsity"] != ANY:
            assert apart(advice.sparsity, chosen["sparsity"]) <= EVIDENCE["near"]
    fits = [advice for advice in able if advice.place == "fits"]
    here = [advice for advice in fits if advice.basis != ELSEWHERE and advice.gain > 1]
    assert fits[: len(here)] == here  # then what was timed on other hardware, then what gains nothing
    assert [a.gain for a in here] == sorted((a.gain for a in here), reverse=True)
    assert all(bool(advice.why) == (advice.place == "out") for advice in found)


def test_at_any_sparsity_each_method_stands_where_it_gains_most_within_the_loss():
    for chosen in (chosen for chosen in ALL if chosen["sparsity"] == ANY):
        there = [advise(EVIDENCE, **chosen | {"sparsity": share}) for share in EVIDENCE["sparsities"]]
        for advice in (advice for advice in advise(EVIDENCE, **chosen) if advice.place != "out"):
            others = [one for found in there for one in found if one.name == advice.name and one.place != "out"]
            fits = [one for one in others if one.place == "fits"]
            assert advice.place == ("fits" if fits else "loses") or advice.name == "sss"
            assert all((one.gain, one.accuracy[0]) <= (advice.gain, advice.accuracy[0]) for one in fits)
            if advice.place == "loses":
                assert all(one.accuracy[0] <= advice.accuracy[0] for one in others)


def test_near_is_told_by_the_weights_that_are_left():
    assert apart(0.98, 0.99) == pytest.approx(2) == apart(0.99, 0.98)
    assert apart(0.5, 0.6) == pytest.approx(1.25)
    assert apart(0.9, 1.0) == float("inf")


def test_a_network_that_only_guesses_is_never_advised():
    worst = START | {"budget": "none", "sparsity": 0.99, "loss": 5.0}
    assert {advice.place for advice in advise(EVIDENCE, **worst)} == {"loses", "out"}


def test_who_drops_out_and_why():
    assert why("snip") == "needs training from scratch"
    assert why("snip", budget="full") == "" == why("snip", budget="full", sparsity=0.9)
    assert why("snip", budget="full", data="few") == "needs training from scratch"  # and there is nothing to train on
    assert why("sparsegpt", data="none") == "needs a few unlabeled samples to choose what goes"
    assert why("iterative", data="few") == "prunes in rounds of training: needs a budget for it"
    assert why("n_of_m", sparsity=0.9) == "exists as 2:4 and 4:8 only"
    assert why("n_of_m", sparsity=0.5) == ""
    assert why("sss", budget="full", sparsity=0.9) == "measured at 30, 40, 50, 60, 70 % only"


def test_without_training_the_accuracy_before_it_counts():
    at = START | {"sparsity": 0.9}
    (cut,) = (a for a in advise(EVIDENCE, **at | {"budget": "none"}) if a.name == "magnitude")
    (trained,) = (a for a in advise(EVIDENCE, **at) if a.name == "magnitude")
    assert cut.accuracy[0] == pytest.approx(trained.accuracy[0] - 27, abs=0.011)


def test_latency_depends_on_the_hardware():
    at_half = START | {"sparsity": 0.5, "goal": "latency", "loss": 2.0}
    basis = {
        hardware: {a.name: (a.gain, a.basis) for a in advise(EVIDENCE, **at_half | {"hardware": hardware})}
        for hardware in CHOICES["hardware"]
    }
    assert basis["cpu"]["magnitude"] == (1.0, "runs as dense")
    assert basis["cpu"]["filters"][1] == "measured" and basis["ampere"]["filters"][1] == "measured on a CPU"
    assert basis["cpu"]["n_of_m"] == (1.0, "no kernel")
    assert basis["ampere"]["n_of_m"] == basis["ampere"]["n_of_m_sparsegpt"] == (PUBLISHED["low"], "published")
    assert basis["ampere"]["magnitude"] == (1.0, "no kernel")
    assert basis["kernels"]["magnitude"] == (2.0, "at most")


def test_one_image_and_many_are_two_goals():
    found = {
        goal: {a.name: a.gain for a in advise(RECORDED, **START | {"goal": goal, "sparsity": 0.95})}
        for goal in ("latency", "throughput")
    }
    (filters,) = (method for method in RECORDED["methods"] if method["name"] == "filters")
    (point,) = (point for point in filters["points"] if point["setting"] == 0.95)
    assert [found[goal]["filters"] for goal in found] == point["latency"] and len(set(point["latency"])) == 2


def test_nothing_fits_without_data_training_or_a_point():
    few = EVIDENCE | {"methods": [method for method in EVIDENCE["methods"] if method["name"] in ("n_of_m", "snip")]}
    assert {advice.place for advice in advise(few, sparsity=0.9)} == {"out"}


@pytest.mark.parametrize(
    ("name", "value"),
    [("hardware", "TPU"), ("budget", "much"), ("data", "all"), ("goal", "fame"), ("sparsity", 0.6), ("loss", 3.0)],
)
def test_bad_values_are_refused_at_the_start_and_later(name, value):
    with pytest.raises(ValueError, match=f"{name} is {value!r}, must be one of"):
        DecisionHelper(EVIDENCE, **{name: value})
    widget = DecisionHelper(EVIDENCE)
    with pytest.raises(ValueError, match=f"{name} is {value!r}"):
        setattr(widget, name, value)
    assert {key: getattr(widget, key) for key in START} == START


def test_state_follows_the_traits():
    widget = DecisionHelper(EVIDENCE, goal="bytes")
    widget.budget, widget.sparsity = "full", 0.98
    shown = START | {"goal": "bytes", "budget": "full", "sparsity": 0.98}
    assert {name: getattr(widget, name) for name in START} == shown


def test_what_the_evidence_cannot_tell_apart_from_the_first():
    at = START | {"goal": "accuracy", "sparsity": 0.98, "budget": "full", "loss": 2.0}
    found = [advice for advice in advise(RECORDED, **at) if advice.place == "fits"]
    by_name = {method["name"]: method["points"] for method in RECORDED["methods"]}
    pairs = {a.name: next(p for p in by_name[a.name] if p["setting"] == 0.98)["seeds"]["retrained"] for a in found}
    told = {name: difference(values, pairs["gradual"]).verdict == "lower" for name, values in pairs.items()}
    assert found[0].name == "gradual" and not found[0].tied
    assert {advice.name: not advice.tied for advice in found[1:]} == {
        name: told[name] for name in pairs if name != "gradual"
    }
    assert not told["iterative"] and told["snip"]


def test_timings_as_near_as_two_of_the_same_shapes_are_not_told_apart():
    first, second, *_ = advise(RECORDED, **START | {"budget": "full", "goal": "latency", "loss": 1.0})
    assert first.gain > second.gain * RECORDED["timing"][0] or second.tied or second.accuracy[0] < first.accuracy[0]
    vague = RECORDED | {"timing": [100.0, 1.0]}
    near = advise(vague, **START | {"budget": "full", "goal": "latency", "loss": 1.0})
    assert sum(a.tied for a in near) > sum(a.tied for a in advise(RECORDED, **START | {"budget": "full"}))


def test_a_loss_near_the_limit_is_left_open_by_few_seeds():
    found = advise(RECORDED, **START | {"goal": "accuracy", "sparsity": 0.95, "loss": 1.0, "budget": "full"})
    assert {advice.sure for advice in found if advice.place != "out"} == {True, False}


def test_without_a_timing_nothing_is_faster():
    untimed = EVIDENCE | {
        "methods": [m | {"points": [p | {"latency": []} for p in m["points"]]} for m in EVIDENCE["methods"]]
    }
    found = advise(untimed, **START | {"loss": 5.0})
    assert {(a.gain, a.basis) for a in found if a.place != "out"} == {(1, "not timed"), (1.0, "no kernel")}


@pytest.mark.parametrize("evidence", [EVIDENCE, RECORDED | {"timing": [1.1, 1.5]}], ids=["made up", "recorded"])
def test_javascript_gives_the_same_advice(tmp_path, evidence):
    expression = "given.settings.map((chosen) => advise(given.evidence, given.published, chosen))"
    settings = ALL if evidence is EVIDENCE else ALL[::7]
    given = {"evidence": evidence, "published": PUBLISHED, "settings": settings}
    answers = computed(tmp_path, "decision_helper", "advise", expression, given)
    for chosen, found in zip(settings, answers, strict=True):
        assert found == [advice._asdict() for advice in advise(evidence, **chosen)], chosen


def test_the_card_holds_texts_as_they_are(tmp_path):
    card = {
        "title": "Which?",
        "given": "a < b & c",
        "words": "<b>x",
        "Ranked": ["one", "<two>"],
        "Out": [],
        "about": "",
    }
    page = computed(tmp_path, "decision_helper", "cardPage", "cardPage(given)", card)
    assert "a &lt; b &amp; c" in page and "&lt;b>x" in page and "<li>&lt;two></li>" in page
    assert "<h2>Ranked</h2>" in page and "<h2>Out</h2>" not in page
