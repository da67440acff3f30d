"""benchmarks/snip_table.py: its ways differ in one thing each, and the choice of a checkpoint is seen."""

import importlib.util

import pytest

from pruning_lib.files import CHECKOUT
from pruning_lib.workbench import data


@pytest.fixture(scope="module")
def bench():
    spec = importlib.util.spec_from_file_location("snip_table", CHECKOUT / "benchmarks" / "snip_table.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_each_way_differs_from_the_reference_in_one_thing(bench):
    differing = {
        name: {option for option, value in way.items() if value != bench.REFERENCE[option]}
        for name, way in bench.WAYS.items()
    }
    assert differing == {
        "reference": set(),
        "no_penalty": {"weight_decay"},
        "shifted": {"shift"},
        "long": {"epochs", "milestones"},
    }


def test_a_run_holds_the_error_after_each_epoch(bench, monkeypatch):
    monkeypatch.setitem(bench.WAYS, "reference", bench.REFERENCE | {"epochs": 4})
    dense, pruned = (bench.run_cell(data.load("digits"), "reference", sparsity, 0) for sparsity in (0.0, 0.98))
    assert len(dense["errors"]) == len(pruned["errors"]) == 4
    assert dense["errors"][-1] < dense["errors"][0] and dense["errors"][-1] < pruned["errors"][-1]
    assert bench.key(pruned) == ("reference", 0.98, 0)


def test_the_table_tells_the_last_from_the_best_checkpoint(bench):
    def run(sparsity, seed, errors):
        return {"way": "shifted", "sparsity": sparsity, "seed": seed, "errors": errors}

    runs = [run(0.0, 0, [1.0] + [2.0] * 7), run(0.0, 1, [9.0] * 8), run(0.95, 0, [3.0] * 7 + [4.0])]
    runs.append({"way": "shifted", "sparsity": 0.98, "seed": 0, "errors": [], "failed": "loss is nan"})
    rows = {row[:24].strip(): row[24:].split() for row in bench.table(runs).splitlines()}
    assert rows["paper"] == ["1.7", "1.6", "2.4", "-0.1", "0.7"]
    assert rows["shifted, last"] == ["5.50", "±", "4.95", "4.00", "2.00"]
    assert rows["shifted, best of 7"] == ["5.50", "±", "4.95", "3.00", "1.00"]
    assert rows["shifted, best of all"] == ["5.00", "±", "5.66", "3.00", "2.00"]
    assert rows["long, last"] == []
