"""benchmarks/monks.py on a small part of its grid."""

import importlib.util
import itertools
import json
import sys

import pytest
import torch

from pruning_lib.after_training import obs
from pruning_lib.files import CHECKOUT
from pruning_lib.reproduction import measured
from pruning_lib.workbench import monks

SCRIPT = CHECKOUT / "benchmarks" / "monks.py"


@pytest.fixture(scope="module")
def sweep():
    spec = importlib.util.spec_from_file_location("monks_sweep", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def trained(sweep):
    task = monks.load(2)
    return task, sweep.learned(task, 0, 0.01)[0]


@pytest.fixture
def small(sweep, monkeypatch):
    """Two ways, one pair of settings, one seed of each kind: eight runs."""
    monkeypatch.setattr(sweep, "SELECT", ("magnitude", "obs"))
    monkeypatch.setattr(sweep, "THEN", ("stay", "readjust"))
    one = {"decays": [0.01], "alphas_over_decay": [1], "tuning_seeds": [100], "starts": 1}
    monkeypatch.setattr(sweep, "SETTINGS", sweep.SETTINGS | one)
    return {2: monks.load(2)}


@pytest.mark.parametrize(("method", "then"), [("obs", "readjust"), ("obd", "stay"), ("magnitude", "stay")])
def test_three_of_the_nine_ways_are_the_librarys(sweep, trained, method, then):
    task, network = trained
    before = [parameter.clone() for parameter in network.parameters()]
    train, test, _ = sweep.curves(network, task, method, then, 0.01, 0.01)
    names = [name for name, _ in network.named_parameters()]
    library = [
        (round(169 * monks.accuracy(left, task.train)), round(432 * monks.accuracy(left, task.test)))
        for _, left in obs.steps(network, [task.train], method=method, alpha=0.01, names=names)
    ]
    assert (train[0], test[0]) == (169, 432) and len(train) == 39
    assert list(zip(train, test, strict=True))[1:] == library[:-1]
    assert all(torch.equal(a, b) for a, b in zip(before, network.parameters(), strict=True))


def test_retraining_goes_to_a_minimum_with_the_deleted_at_zero(sweep, monkeypatch):
    task = monks.xor()
    network = monks.network(task, seed=1)
    monks.minimize(network, task.train, 0.001)
    zeros, norms = [], []
    minimize = monks.minimize

    def watched(model, pair, decay):
        norms.append(minimize(model, pair, decay))
        zeros.append(sum(int((parameter == 0).sum()) for parameter in model.parameters()))

    monkeypatch.setattr(monks, "minimize", watched)
    sweep.curves(network, task, "magnitude", "retrain", 0.001, 0.001)
    assert zeros == list(range(1, 9)) and max(norms) < 1e-6


def test_settings_are_chosen_on_training_cases_that_were_held_out(sweep):
    task = monks.load(3)
    half = sweep.held_out(task, seed=7)
    both = torch.cat([half.train[0], half.test[0]])
    assert len(both) == 122 and len(half.test[0]) == 30 and len(both.unique(dim=0)) == 122
    place = (both @ task.train[0].T == 6).nonzero()[:, 1]
    assert torch.equal(torch.cat([half.train[1], half.test[1]]), task.train[1][place])


def test_the_best_mean_is_chosen(sweep):
    runs = [
        {"cases": "held out", "problem": 1, "select": "obs", "then": "stay", "seed": None}
        | {"decay": decay, "alpha_over_decay": times, "scores": [0.5, 0.9 if (decay, times) == (0.003, 10) else 0.6]}
        for decay, times in sweep.grid("obs", "stay")
    ]
    assert sweep.chosen(runs, 1, "obs", "stay") == (0.003, 10)
    assert [times for _, times in sweep.grid("magnitude", "retrain")] == [None] * 4


def test_a_killed_sweep_goes_on_to_the_same_record(sweep, small, tmp_path, monkeypatch):
    whole, killed = tmp_path / "whole.json", tmp_path / "killed.json"
    sweep.make(small, whole, [0])
    calls, pruned_run = [], sweep.pruned_run

    def dies(*arguments):
        calls.append(arguments)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return pruned_run(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(sweep, "pruned_run", dies)
        with pytest.raises(KeyboardInterrupt):
            sweep.make(small, killed, [0])
    assert len(json.loads(killed.read_text())["runs"]) == 4 + 2
    monkeypatch.setattr(sweep, "tuning_run", lambda *arguments: pytest.fail("made before"))
    runs = sweep.make(small, killed, [0])
    assert [run | {"seconds": 0} for run in runs] == [
        run | {"seconds": 0} for run in json.loads(whole.read_text())["runs"]
    ]
    assert sweep.table(runs).count("\n") == 7


def test_a_data_folder_that_vanished_leaves_the_record(sweep, tmp_path, monkeypatch, capsys):
    record = tmp_path / "record.json"
    record.write_text("{}")
    monkeypatch.setattr(sys, "argv", ["monks.py", "--data", str(tmp_path / "gone"), "--out", str(record)])
    with pytest.raises(SystemExit):
        sweep.main()
    assert "gone has neither monks-1.train.csv nor monks-1.train, must have one of them" in capsys.readouterr().err
    assert record.read_text() == "{}"


def test_the_fewest_weights_at_an_accuracy(sweep):
    run = {"test_right": [419, 420, 425, 420, 100]}
    assert sweep.test_accuracies(run)[:2] == [97.0, 97.2]
    assert sweep.fewest_weights(run, 97.2) == 2
    assert sweep.fewest_weights(run, 100) == float("inf")


def test_the_record_is_whole_and_its_settings_are_those_that_were_chosen(sweep):
    record = measured.read_record("04_monks.json")
    runs = record["runs"]
    assert record["settings"] == sweep.SETTINGS
    assert {(run["commit"], run["dirty"]) for run in runs} == {(record["commit"], False)}
    arms = list(itertools.product((1, 2, 3), sweep.SELECT, sweep.THEN))
    pruned = {sweep.run_key(run) for run in runs if run["cases"] != sweep.TUNING}
    assert pruned == {
        (cases, *arm, *sweep.chosen(runs, *arm), seed)
        for cases, arm, seed in itertools.product(sweep.SETTINGS["cases"], arms, range(10))
    }
    sizes = {1: 58, 2: 39, 3: 39}
    assert all(len(run["test_right"]) == sizes[run["problem"]] for run in runs if run["cases"] != sweep.TUNING)


def test_each_setting_has_its_runs(sweep, tmp_path, monkeypatch):
    tried = list(itertools.product(sweep.SETTINGS["decays"], sweep.SETTINGS["alphas_over_decay"]))
    record = measured.read_record("04_settings.json")
    assert record["settings"] == sweep.SETTINGS and not record["dirty"]
    assert sorted(map(sweep.run_key, record["runs"])) == sorted(
        (sweep.EVERY, 1, select, "readjust", *pair, seed)
        for select, pair, seed in itertools.product(("magnitude", "obs"), tried, range(10))
    )
    # where a setting was tuned, its run is the sweep's
    tuned = {
        (run["select"], run["seed"]): run
        for run in measured.read_record("04_monks.json")["runs"]
        if (run["cases"], run["problem"], run["then"]) == ("drawn", 1, "readjust")
    }
    same = [
        run["test_right"] == known["test_right"]
        for run in record["runs"]
        for known in [tuned[run["select"], run["seed"]]]
        if (run["decay"], run["alpha_over_decay"]) == (known["decay"], known["alpha_over_decay"])
    ]
    assert len(same) == 20 and all(same)
    made = []
    monkeypatch.setattr(sweep, "pruned_run", lambda networks, *key: made.append(key) or {"seconds": 0})
    path = tmp_path / "settings.json"
    sweep.make_settings(path, [0])
    assert sorted(key[4:6] for key in made) == sorted(2 * tried)
    sweep.make_settings(path, [0])
    assert len(made) == 24
