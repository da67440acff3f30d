"""benchmarks/two_four_retraining.py in its smallest size."""

import dataclasses
import importlib.util
import json

import pytest
import torch

from pruning_lib.acceleration import two_four
from pruning_lib.files import CHECKOUT
from pruning_lib.reproduction import measured
from pruning_lib.workbench import data, models

SCRIPT = CHECKOUT / "benchmarks" / "two_four_retraining.py"


@pytest.fixture
def sweep(monkeypatch):
    spec = importlib.util.spec_from_file_location("two_four_retraining", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    images = data.load("digits")
    train, test = (tuple(part[:count] for part in pair) for pair, count in ((images.train, 200), (images.test, 40)))
    few = dataclasses.replace(images, train=train, test=test)
    monkeypatch.setattr(module.data, "load", lambda name: few)
    monkeypatch.setattr(module, "SETTINGS", module.SETTINGS | {"epochs": 1, "calibration": 128, "drawn": 2})
    return module


def test_started_again_it_makes_the_missing_seeds_only(sweep, tmp_path, monkeypatch):
    out = tmp_path / "06.json"
    sweep.make(out, [0])
    first = json.loads(out.read_text())["runs"]
    run_of, made = sweep.run_of, []
    monkeypatch.setattr(sweep, "run_of", lambda images, seed: made.append(seed) or run_of(images, seed))
    runs = sweep.make(out, [0, 1])
    assert made == [1] and runs[0] == first[0] and [run["seed"] for run in runs] == [0, 1]
    assert {*runs[0]["retrained"]} == {"dense", *sweep.masks_of(models.build("resnet", (1, 8, 8), 10, depth=8))}
    assert sweep.table(runs).count("\n") == len(runs[0]["pruned"]) + len(runs[0]["retrained"]) - 1


def test_zeros_stay_in_retraining(sweep, monkeypatch):
    images = sweep.data.load("digits")
    dense, seen = models.build("resnet", images.shape, 10, depth=8), []
    monkeypatch.setattr(sweep, "accuracy", lambda model, _: seen.append(model))
    for masks in sweep.masks_of(dense).values():
        sweep.retrained(dense, masks, images, seed=0)
        weights = dict(seen[-1].named_parameters())
        assert all((weights[name][~keep] == 0).all() for name, keep in masks.items())
        assert not any((weights[name] == dense.get_parameter(name)).all() for name in masks)


def test_refitted_keeps_magnitudes_mask_and_moves_what_stays(sweep):
    generator = torch.Generator().manual_seed(0)
    weight, mixing, x = (torch.randn(rows, 8, generator=generator) for rows in (6, 8, 40))
    x = x @ mixing
    fitted, keep = sweep.refitted(weight, 2 * x.T @ x / 40)
    assert (keep == two_four.best_mask(weight)).all() and (fitted[~keep] == 0).all()
    lost, moved = ((x @ (weight - one).T).square().sum() for one in (weight * keep, fitted))
    assert moved < 0.9 * lost


def test_the_record_is_of_these_settings():
    record = measured.read_record("06_retraining.json")
    spec = importlib.util.spec_from_file_location("two_four_retraining", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert record["settings"] == module.SETTINGS
    assert sorted(run["seed"] for run in record["runs"]) == list(range(5))
    rules = {"half", "2:4", "2:4 along the channels", "2:4, permuted", "half, SparseGPT", "2:4, SparseGPT"}
    assert all({*run["pruned"]} == {"dense", "2:4, Wanda", "2:4, refitted", *rules} for run in record["runs"])
    assert {(run["commit"], run["dirty"]) for run in record["runs"]} == {(record["commit"], False)}
