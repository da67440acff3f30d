"""benchmarks/surgeon.py on few deletions."""

import importlib.util
import json

import pytest
import torch

from pruning_lib.after_training import obs
from pruning_lib.files import CHECKOUT
from pruning_lib.reproduction import measured


@pytest.fixture
def sweep(monkeypatch):
    spec = importlib.util.spec_from_file_location("surgeon_sweep", CHECKOUT / "benchmarks" / "surgeon.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    small = {"deletions": 4, "steps": 60, "trained_every": 2, "trained_steps": 5}
    monkeypatch.setattr(module, "SETTINGS", module.SETTINGS | small)
    return module


def test_the_curvature_is_that_of_the_rows(sweep):
    pair, _ = sweep.images()
    network = sweep.dense(0, pair, 5)
    names = [name for name, _ in network.named_parameters()]
    rows = obs.hessian(obs.jacobian_rows(network, pair[0], names), len(pair[0]))
    assert torch.allclose(sweep.curvature(network, pair[0]), rows, rtol=1e-10, atol=1e-12)


@pytest.mark.filterwarnings("ignore:the model is not at a minimum")
def test_four_ways_are_the_librarys(sweep):
    pair, unseen = sweep.images()
    network = sweep.dense(0, pair, 60)
    names = [name for name, _ in network.named_parameters()]
    for select, then, recompute in (
        ("obs", "follow", 1),
        ("obs", "once", None),
        ("obd", "stay", 1),
        ("magnitude", "stay", 1),
    ):
        steps = obs.steps(network, [pair], method=select, alpha=sweep.ALPHA, names=names, recompute=recompute)
        library = [deletion.error for _, (deletion, _) in zip(range(4), steps, strict=False)]
        assert sweep.curves(network, pair, unseen, select, then)["error"] == pytest.approx(library, abs=1e-6)


def test_newton_goes_to_the_minimum_of_the_bowl_without_the_weight(sweep):
    pair, unseen = sweep.images()
    network = sweep.dense(0, pair, 60)
    one = sweep.curves(network, pair, unseen, "magnitude", "newton")["error"]
    stay = sweep.curves(network, pair, unseen, "magnitude", "stay")["error"]
    assert one[-1] < stay[-1]


def test_training_in_between_leaves_the_deleted_at_zero(sweep):
    pair, _ = sweep.images()
    network = sweep.dense(0, pair, 5)
    keep = torch.ones(118).double().index_fill(0, torch.tensor([3, 70]), 0)
    torch.nn.utils.vector_to_parameters(sweep.vector(network) * keep, network.parameters())
    before = obs.squared_error(network, [pair]).item()
    sweep.train(network, pair, 5, keep)
    assert obs.squared_error(network, [pair]).item() < before
    assert (sweep.vector(network) == 0).nonzero().flatten().tolist() == [3, 70]


def test_a_minimum_reached_again_is_no_other_network(sweep, tmp_path, monkeypatch):
    dense = sweep.dense

    def turned(seed, pair, steps):  # seed 1 ends where seed 0 does, its hidden units exchanged and of the other sign
        network = dense(0 if seed == 1 else seed, pair, steps)
        if seed == 1:
            with torch.no_grad():
                for parameter in (network[0].weight, network[0].bias):
                    parameter.copy_(-parameter.flip(0))
                network[2].weight.copy_(-network[2].weight.flip(1))
        return network

    monkeypatch.setattr(sweep, "dense", turned)
    monkeypatch.setattr(sweep, "WAYS", [("magnitude", "stay")])
    assert [seed for seed, _ in sweep.different(3, sweep.images()[0])] == [0, 2, 3]
    out = tmp_path / "runs.json"
    assert {run["seed"] for run in sweep.make(out, 3)} == {0, 2, 3}
    assert {run["seed"] for run in sweep.make(out, 1)} == {0}
    assert {run["seed"] for run in json.loads(out.read_text())["runs"]} == {0}


def test_a_killed_sweep_goes_on_to_the_same_record(sweep, tmp_path, monkeypatch):
    monkeypatch.setattr(sweep, "WAYS", [("magnitude", "stay"), ("magnitude", "follow"), ("obs", "trained")])
    through, killed = tmp_path / "through.json", tmp_path / "killed.json"
    sweep.make(through, 2)
    calls, curves = [], sweep.curves

    def dies(*arguments):
        calls.append(arguments)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return curves(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(sweep, "curves", dies)
        with pytest.raises(KeyboardInterrupt):
            sweep.make(killed, 2)
    assert len(json.loads(killed.read_text())["runs"]) == 2
    runs = sweep.make(killed, 2)
    assert [run | {"seconds": 0} for run in runs] == [
        run | {"seconds": 0} for run in json.loads(through.read_text())["runs"]
    ]


def test_the_record_is_complete():
    spec = importlib.util.spec_from_file_location("surgeon_sweep", CHECKOUT / "benchmarks" / "surgeon.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    record = measured.read_record("04_surgeon.json")
    assert record["settings"] == module.SETTINGS and not record["dirty"]
    assert {module.run_key(run) for run in record["runs"]} == {
        (seed, *way) for seed in (0, 1, 2, 3, 6, 7, 9, 10, 11, 12) for way in module.WAYS
    }
    assert all(len(run["error"]) == len(run["unseen"]) == 100 for run in record["runs"])
