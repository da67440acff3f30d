import json

import pytest

from pruning_lib.comparison import VARIANTS, by_seed, difference
from pruning_lib.comparison.evidence import described, evidence
from tests.comparison_runs import latency, made_up, runs, timed


def point(found, name, setting):
    (method,) = (method for method in found["methods"] if method["name"] == name)
    return next(point for point in method["points"] if point["setting"] == setting)


def test_numbers_are_means_over_seeds():
    found = made_up()
    here = point(found, "magnitude", 0.9)
    values = [100 * run["accuracy"] for run in runs() if (run["variant"], run["setting"]) == ("magnitude", 0.9)]
    assert here["retrained"] == [round(sum(values) / 3, 2), 0.1, 3]
    assert here["cut"][0] == pytest.approx(here["retrained"][0] - 27, abs=0.011)
    # CSR takes twice the bytes of what is kept, a bitmap those bytes and 1/32 of the dense ones: the smaller counts.
    assert here["bytes"] == pytest.approx(1 / (0.1 + 1 / 32), abs=0.01)
    assert point(found, "magnitude", 0.98)["bytes"] == pytest.approx(1 / 0.04)
    assert here["macs"] == 10
    assert point(found, "filters", 0.9)["bytes"] == 10  # no indices
    assert point(found, "snip", 0.9)["cut"] is None


def test_latency_is_that_of_the_form_one_would_take():
    found = made_up()
    assert point(found, "magnitude", 0.5)["latency"] == [1, 1]  # CSR would be slower, nobody has to take it
    assert point(found, "magnitude", 0.9)["latency"] == pytest.approx([1 / 0.95] * 2, abs=0.01)
    assert point(found, "filters", 0.9)["latency"] == pytest.approx([1 / 0.55] * 2, abs=0.01)
    assert point(found, "n_of_m", [2, 4])["latency"] == [None, None]


def test_the_page_can_pair_seeds_as_python_does():
    found = made_up()
    one, other = (point(found, name, 0.9)["seeds"]["retrained"] for name in ("magnitude", "snip"))
    ours = difference(one, other)
    whole = difference(*({s: 100 * a for s, a in by_seed(runs(), n, 0.9).items()} for n in ("magnitude", "snip")))
    assert ours.mean == pytest.approx(whole.mean, abs=1e-4) and set(one) == {"0", "1", "2"}
    assert found["student"] == {"2": pytest.approx(12.706, abs=1e-3), "3": pytest.approx(4.303, abs=1e-3)}
    assert point(found, "snip", 0.9)["seeds"]["cut"] == {} and set(found["seeds"]["dense_cut"]) == {"0", "1", "2"}


def test_a_record_in_words():
    settings = {"model": "lenet5", "data": "mnist", "train_samples": 4000, "dense_epochs": 5, "retrain_epochs": 4}
    record = {"settings": settings, "runs": [{"seed": seed} for seed in (0, 1, 1)]}
    assert described(record) == "LeNet-5 on MNIST, 4,000 training images, 9 epochs in all, 2 seeds"


def test_points_have_names():
    names = [point["name"] for method in made_up()["methods"] for point in method["points"]]
    assert len(set(names)) == len(names)
    assert {"gradual magnitude at 90 %", "n:m magnitude 2:4", "SSS, channels at 40 %"} <= set(names)


def test_timing_is_as_sure_as_two_timings_of_the_same_shapes_agree():
    slower = latency() | {"small 0.9": [0.01, 1.2 * latency()["filters 0.9"][1]]}
    found = evidence(runs(), [{"batch": 8, "latency": slower}], "")
    assert (found["batches"], found["timing"], found["unpruned"]["seconds"]) == ([8], [1.2], [0.001])
    assert evidence(runs(), [], "")["timing"] == [] == evidence(runs(), [], "")["unpruned"]["seconds"]


def test_every_variant_but_the_dense_ones_is_there_and_all_is_json():
    found = json.loads(json.dumps(made_up()))
    assert [method["name"] for method in found["methods"]] == [n for n in VARIANTS if not n.startswith("dense")]
    assert found["sparsities"] == [0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99]


def test_what_failed_is_left_out():
    broken = [run for run in runs() if run["variant"] != "sss"]
    broken += [{"variant": "sss", "setting": 0.01, "seed": 0, "failed": "loss is nan", "seconds": 1.0}]
    assert "sss" not in {method["name"] for method in evidence(broken, timed(), "")["methods"]}
