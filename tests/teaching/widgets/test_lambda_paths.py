"""What the λ paths explorer accepts, sends and computes."""

import copy

import pytest
from node import computed

from pruning_lib.teaching.widgets.lambda_paths import LambdaPaths

DENSE = {"accuracy": 0.97, "macs": 1000, "seconds": 3.0}
GATES = {"a": 1, "b": 2}


def run(gamma: float, seed: int = 0, paths: bool = True) -> dict:
    scales = {"a": [[1.0], [0.0], [0.5]], "b": [[1.0, 1.0], [0.5, 1.2], [0.0, 1.1]]}
    extra = {"scales": scales} if paths else {}
    return {"gamma": gamma, "seed": seed, "accuracy": 0.9, "macs": 800, "gates": GATES, "losses": [1]} | extra


RUNS = [run(0.1), run(0.0), run(0.0, seed=1, paths=False), run(0.1, seed=1, paths=False)]


def test_state_is_sorted_and_holds_only_what_is_drawn():
    explorer = LambdaPaths(RUNS, DENSE)
    assert [(r["gamma"], r["seed"]) for r in explorer.runs] == [(0.0, 0), (0.0, 1), (0.1, 0), (0.1, 1)]
    assert set(explorer.runs[0]) == {"gamma", "seed", "accuracy", "macs", "gates", "scales"}
    assert explorer.dense == {"accuracy": 0.97, "macs": 1000}
    assert (explorer.gamma, explorer.seed) == (0.0, 0)
    explorer.gamma = 0.1
    assert explorer.gamma == 0.1


@pytest.mark.parametrize(("name", "value"), [("gamma", 0.05), ("seed", 1), ("seed", 7)])
def test_values_that_no_run_has_are_refused_at_the_start_and_later(name, value):
    with pytest.raises(ValueError, match=f"{name} is {value}"):
        LambdaPaths(RUNS, DENSE, **{name: value})
    explorer = LambdaPaths(RUNS, DENSE)
    with pytest.raises(ValueError, match=f"{name} is {value}"):
        setattr(explorer, name, value)
    assert (explorer.gamma, explorer.seed) == (0.0, 0)


def changed(**changes) -> list[dict]:
    return [*copy.deepcopy(RUNS[1:]), {key: value for key, value in (RUNS[0] | changes).items() if value is not None}]


@pytest.mark.parametrize(
    ("runs", "message"),
    [
        ([], "runs is empty"),
        (changed(macs=None), "gamma 0.1, seed 0 has no macs"),
        (changed(gates={"a": 1}), "must be those of the first"),
        ([*RUNS, run(0.1)], "gamma 0.1, seed 0 is given twice"),
        (changed(scales={"a": [[1.0, 2.0]]}), "scales of 'a' must hold 1 finite λ an epoch"),
        (changed(scales={"a": [[float("nan")]]}), "scales of 'a' must hold 1 finite"),
        (changed(scales={"c": [[1.0]]}), "scales of 'c'"),
        (changed(scales=None), r"seed 0 has scales for some gamma only, lacks \[0.1\]"),
        ([run(0.1, paths=False)], "no run has scales"),
    ],
)
def test_bad_runs_are_refused(runs, message):
    with pytest.raises(ValueError, match=message):
        LambdaPaths(runs, DENSE)


def test_a_path_ends_where_it_is_zero_for_good(tmp_path):
    # the second was zero for a while and is open at the end; the last was closed from the start
    paths = [[1.0, 0.5, 0.0], [1.0, 0.0, 0.5], [1.0, 1.2, 1.1], [1.0, 0.0, 0.3, 0.0, 0.0], [0.0, 0.0]]
    assert computed(tmp_path, "lambda_paths", "closing", "given.map(closing)", paths) == [2, -1, -1, 3, 0]


def test_the_largest_jump_is_found_but_for_the_first_epoch(tmp_path):
    scales = {"a": [[1.0], [3.0], [0.0], [0.75]], "b": [[1.0, 1.0], [0.5, 0.25], [0.75, 0.0], [0.0, 0.5]]}
    runs = [{"scales": scales}, {"scales": {"a": [[1.0], [3.0]]}}]
    found = computed(tmp_path, "lambda_paths", "jump", "given.map(jump)", runs)
    assert found == [{"rise": 0.75, "name": "a", "epoch": 3, "from": 0.0, "to": 0.75}, {"rise": 0}]
