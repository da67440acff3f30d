"""What the perplexity slider accepts, sends and computes."""

import math

import pytest
from node import computed

from pruning_lib.teaching.widgets.perplexity_slider import PerplexitySlider

DENSE = {"pattern": "dense", "method": "dense", "sparsity": 0.0, "perplexity": 4.0}


def run(pattern: str, method: str, perplexity: float) -> dict:
    sparsity = 0.5 if ":" in pattern else float(pattern.split()[0]) / 100
    return {"pattern": pattern, "method": method, "sparsity": sparsity, "perplexity": perplexity, "seconds": 1.0}


RUNS = [run("50 %", "a", 8), run("50 %", "b", 5), run("80 %", "b", 7), run("80 %", "a", 60)]
RUNS += [run("2:4", "a", 9), run("2:4", "b", 6), DENSE]


def test_state_holds_the_dense_run_first_and_only_what_is_drawn():
    slider = PerplexitySlider(RUNS)
    assert [(one["pattern"], one["method"]) for one in slider.runs[:3]] == [
        ("dense", "dense"),
        ("50 %", "a"),
        ("50 %", "b"),
    ]
    assert set(slider.runs[1]) == {"pattern", "method", "sparsity", "perplexity"}
    assert list(slider.looks) == ["a", "b"]
    assert slider.looks["a"] != slider.looks["b"]
    assert slider.pattern == "50 %"
    slider.pattern = "2:4"
    assert slider.pattern == "2:4"


def test_a_pattern_that_no_run_has_is_refused_at_the_start_and_later():
    with pytest.raises(ValueError, match="pattern is '90 %'"):
        PerplexitySlider(RUNS, pattern="90 %")
    slider = PerplexitySlider(RUNS)
    with pytest.raises(ValueError, match="pattern is 'dense'"):
        slider.pattern = "dense"
    assert slider.pattern == "50 %"


@pytest.mark.parametrize(
    ("runs", "message"),
    [
        ([], "runs has 0 dense and 0 pruned"),
        (RUNS[:-1], "runs has 0 dense and 6 pruned"),
        ([*RUNS, DENSE], "runs has 2 dense"),
        ([DENSE], "and 0 pruned"),
        ([*RUNS, run("50 %", "a", 8)], "50 % has runs of a, b, a, must have one of each of a, b"),
        (RUNS[1:], "50 % has runs of b, must have one of each"),
        ([*RUNS, {"pattern": "90 %", "method": "a"}], "has no sparsity, perplexity"),
        ([*RUNS, run("60 %", "a", float("inf"))], "60 %, a: perplexity is inf, must be finite"),
        ([*RUNS, run("60 %", "a", 0.5)], "perplexity is 0.5"),
        ([*RUNS[:-1], RUNS[-1] | {"bits_per_byte": 2.0}], "bits_per_byte must be in all runs or in none"),
        ([DENSE, *(run("50 %", name, 5) for name in "abcdefg")], "methods a, b, c, d, e, f, g, must be at most 6"),
    ],
)
def test_bad_runs_are_refused(runs, message):
    with pytest.raises(ValueError, match=message):
        PerplexitySlider(runs)


def test_a_line_for_each_method_from_what_is_measured_and_n_of_m_apart(tmp_path):
    runs = PerplexitySlider([*RUNS, run("4:8", "a", 10), run("4:8", "b", 11)]).runs
    expression = '[curve(given, "a"), curve(given, "b"), given.slice(-4).map((run) => place(run, given))]'
    found = computed(tmp_path, "perplexity_slider", "curve, place", expression, runs)
    expected = [[50, 8], [80, 60]], [[50, 5], [80, 7]], [[46, 9], [46, 6], [42, 10], [42, 11]]
    assert found == [[[x, pytest.approx(math.log2(y))] for x, y in points] for points in expected]
