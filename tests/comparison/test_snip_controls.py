"""The controls of benchmarks/snip_controls.py: what each of them takes from SNIP, and what it leaves."""

import importlib.util
import json
import sys

import pytest
import torch

from pruning_lib.files import CHECKOUT
from pruning_lib.reproduction import measured
from pruning_lib.structure import prunable
from pruning_lib.workbench import data

SPARSITY, NAME = 0.95, "lenet_300_100"


@pytest.fixture(scope="module")
def bench():
    spec = importlib.util.spec_from_file_location("snip_controls", CHECKOUT / "benchmarks" / "snip_controls.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def made(bench):
    """By control: the masks of a seed, and the weights that are trained."""
    images, found = data.load("digits"), {}
    for control, choose in bench.CONTROLS.items():
        model = bench.fresh(images, NAME, 0)
        masks = choose(model, images, SPARSITY, 0)
        found[control] = masks, {name: weight.detach() for name, weight in prunable(model).items()}
    return found


def test_all_keep_the_same_number(made):
    counts = {control: masks.kept for control, (masks, _) in made.items()}
    total = made["snip"][0].total
    assert counts.pop("random") == pytest.approx(0.05 * total, abs=2)  # rounded in each of three layers
    assert counts.pop("init_layer") == pytest.approx(0.05 * total, abs=2)
    assert set(counts.values()) == {round(total * (1 - SPARSITY))}


def values(made, control):
    masks, weights = made[control]
    return {name: weights[name][mask].sort().values for name, mask in masks.items()}


def test_what_is_taken_from_snip(made):
    masks, weights = made["snip"]
    assert made["redrawn"][0] == masks
    assert not any(torch.equal(made["redrawn"][1][name], weight) for name, weight in weights.items())
    for control in ("shuffled", "shares"):
        assert made[control][0].per_layer() == masks.per_layer() and made[control][0] != masks
    for name, mask in made["counts"][0].items():
        assert all(torch.equal(mask.sum(dim), masks[name].sum(dim)) for dim in (0, 1))
        assert not torch.equal(mask, masks[name])
    for control in ("shares", "counts"):
        assert all(torch.equal(made[control][1][name], weight) for name, weight in weights.items())
    for name, kept in values(made, "snip").items():
        assert torch.equal(values(made, "shuffled")[name], kept)
        assert not torch.equal(values(made, "shares")[name], kept)
    sizes = [values(made, control)["fc1.weight"].abs().mean() for control in ("snip", "shares")]
    assert sizes[0] > 1.2 * sizes[1]  # SNIP likes large weights


@pytest.mark.parametrize("control", ["snip", "redrawn", "random", "init_shares", "counts"])
def test_rescaled_has_the_signal_of_the_dense_network(bench, control):
    images = data.load("digits")
    dense, own, rescaled = (bench.fresh(images, NAME, 0) for _ in range(3))
    masks = bench.pruned(own, images, control, SPARSITY, 0)
    assert bench.pruned(rescaled, images, f"{control}, rescaled", SPARSITY, 0) == masks
    assert bench.signal(own, images) < 0.5 * bench.signal(dense, images)
    assert bench.signal(rescaled, images) == pytest.approx(bench.signal(dense, images), rel=0.1)
    for name, weight in prunable(rescaled).items():
        assert torch.equal(weight != 0, masks[name])


def test_a_killed_sweep_goes_on(bench, tmp_path, monkeypatch, capsys):
    """Here and in the benchmark the same run is in the record once, whatever is interrupted."""
    out = tmp_path / "record.json"
    monkeypatch.setattr(bench, "SPARSITIES", bench.SPARSITIES | {"digits": {NAME: (SPARSITY,)}})
    monkeypatch.setattr(bench, "KINDS", {"digits": [*bench.KINDS["mnist"], "random, rescaled"]})
    small = bench.SETTINGS["digits"] | {"epochs": 1, "rounds": 3}
    monkeypatch.setattr(bench, "SETTINGS", {"digits": small})
    monkeypatch.setattr(sys, "argv", ["snip_controls.py", "--data", "digits", "--out", str(out), "--seeds", "0"])
    run_cell, left = bench.run_cell, 4

    def killed(*cell):
        nonlocal left
        left -= 1
        if left < 0:
            raise KeyboardInterrupt
        return run_cell(*cell)

    monkeypatch.setattr(bench, "run_cell", killed)
    with pytest.raises(KeyboardInterrupt):
        bench.main()
    first = json.loads(out.read_text())["runs"]
    assert len(first) == 4
    left = 100
    bench.main()
    runs = json.loads(out.read_text())["runs"]
    assert runs[:4] == first and [bench.key(run) for run in runs] == bench.cells("digits", [NAME], [0])
    assert left == 100 - (len(runs) - 4)
    for run in runs[1:]:
        assert all(0 <= run["connected"][name] <= run["left"][name] for name in run["left"]) and run["accuracy"] > 0.05
    assert "synflow" in capsys.readouterr().out
    monkeypatch.setattr(bench, "SETTINGS", {"digits": small | {"epochs": 2}})
    with pytest.raises(ValueError, match="holds runs with settings"):
        bench.main()


def test_the_record_of_the_digits_is_complete(bench):
    record = measured.read_record("02_controls_digits.json")
    assert record["settings"] == bench.SETTINGS["digits"] and not record["dirty"]
    assert set(map(bench.key, record["runs"])) == set(bench.cells("digits", [NAME], range(5)))
