"""Advice on records small enough to compute by hand."""

import pytest

from pruning_lib.comparison.advice import Contrast, advise
from pruning_lib.comparison.variants import EVERY

TIMED = {
    "runs": [
        {"batch": 1, "latency": {"dense": [2.0, 1.0], "filters 0.9": [3.0, 0.5]}},
        {"batch": 8, "latency": {"dense": [2.0, 1.2], "filters 0.9": [3.0, 0.4]}},
    ]
}
LANGUAGE = {
    "runs": [
        {"method": "sparsegpt", "pattern": "50 %", "perplexity": 4.125},
        {"method": "magnitude", "pattern": "50 %", "perplexity": 5.25},
    ]
}


def run(variant, setting, seed, **values):
    return {"variant": variant, "setting": setting, "seed": seed, **values}


def test_difference_in_points_over_the_seeds_that_both_have():
    runs = [run("filters", 0.9, seed, accuracy=0.9 + 0.01 * seed) for seed in range(3)]
    runs += [run("dense", 0.0, seed, accuracy=0.9) for seed in range(2)]
    found = Contrast("filters", "dense", 0.9, against=0.0).difference(runs)
    assert (found.mean, found.n) == (pytest.approx(0.5), 2)
    assert found.high == pytest.approx(0.5 + 12.706204736 * 0.5)  # Student's t, one degree of freedom; s_d/√2 = 0.5


def test_as_cut_and_patterns():
    runs = [run("n_of_m", [2, 4], seed, pruned_accuracy=0.8, accuracy=0.9) for seed in range(2)]
    runs += [run("dense_twice", 0.0, seed, pruned_accuracy=0.7, accuracy=0.9) for seed in range(2)]
    contrast = Contrast("n_of_m", "dense_twice", (2, 4), "pruned_accuracy", 0.0)
    assert contrast.difference(runs).mean == pytest.approx(10)
    assert contrast.label == f"2:4, as cut: {EVERY['n_of_m'].label} − {EVERY['dense_twice'].label}"


def test_every_number_comes_from_the_records():
    found = list(advise(TIMED, LANGUAGE))
    text = " ".join(advice.also for advice in found)
    assert "4.12 by SparseGPT, 5.25 by magnitude" in text and "2.00 for 1 image, 3.00 for 8 images" in text
    assert all(advice.when and advice.do and advice.changed_by and advice.contrasts for advice in found)
    assert {c.one for advice in found for c in advice.contrasts} <= set(EVERY)
