"""benchmarks/sss_controls.py on a tiny network: its draws, its cases, and that it goes on where it stopped."""

import json
import sys
from importlib import import_module

import pytest

from pruning_lib.files import CHECKOUT
from pruning_lib.reproduction import measured

SMALL = {"depth": 8, "width": 2, "epochs": 1, "batch_size": 256}


@pytest.fixture
def bench(monkeypatch):
    monkeypatch.syspath_prepend(CHECKOUT / "benchmarks")
    for name in ("sss_sweep", "sss_controls"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    module = import_module("sss_controls")
    monkeypatch.setattr(module.sss_sweep, "SETTINGS", module.sss_sweep.SETTINGS | SMALL)
    monkeypatch.setattr(module, "CONTROLS", module.CONTROLS | {"more_epochs": 1, "draws": 1, "gamma": 0.1})
    yield module
    for name in ("sss_sweep", "sss_controls"):
        sys.modules.pop(name)


@pytest.fixture
def network(bench, monkeypatch):
    monkeypatch.setattr(bench.sss_sweep, "SETTINGS", bench.sss_sweep.SETTINGS | {"depth": 20})
    return bench.fresh(bench.data.load("digits"), 0)


def test_random_draws_differ_and_share_at_most_one_block_with_the_own_set(bench, network):
    blocks = [f"stage{stage}.{number}" for stage in (1, 2, 3) for number in (0, 1, 2)]
    own = blocks[:4]
    drawn = bench.draws("random", network, own, seed=0)
    assert len(set(drawn)) == 45 and all(len(one) == 4 and len(set(one) & set(own)) <= 1 for one in drawn)
    assert drawn == bench.draws("random", network, own, seed=0) != bench.draws("random", network, own, seed=1)
    assert len(bench.draws("random", network, blocks[:5], seed=0)) == 5, "the four others and one of five"
    assert [bench.draws(kind, network, blocks, seed=0) for kind in ("random", "uniform", "matched")] == [[]] * 3


def test_uniform_draws_are_all_other_sets_and_matched_ones_those_of_nearly_its_parameters(bench, network):
    own, images = ["stage1.0", "stage3.1"], bench.data.load("digits")
    uniform, matched = (bench.draws(kind, network, own, seed=0) for kind in ("uniform", "matched"))
    assert len(set(uniform)) == len(uniform) == 35 and tuple(own) not in uniform

    def parameters(names):
        gated = bench.sss.add_gates(bench.copy.deepcopy(network), "block")
        return bench.size(bench.without(gated, names, images), images.test[0][:1])["parameters"]

    aim = parameters(own)
    assert set(matched) == {one for one in uniform if abs(parameters(one) - aim) <= 0.1 * aim} and 0 < len(matched) < 35


def test_all_cases_have_lost_as_many_blocks_and_a_second_start_makes_only_what_is_missing(bench, monkeypatch, tmp_path):
    def closes_one(images, level, gamma, seed):
        gated = bench.sss.add_gates(bench.fresh(images, seed), level)
        bench.sss.gates(gated)["stage2.0"].data.zero_()
        return gated, None

    monkeypatch.setattr(bench.sss_sweep, "with_gates", closes_one)
    monkeypatch.setattr(bench, "WITHIN", 1)
    out = tmp_path / "controls.json"
    monkeypatch.setattr(sys, "argv", ["sss_controls.py", "--out", str(out), "--seeds", "0"])
    bench.main()
    record = json.loads(out.read_text())
    runs = {run["case"]: run for run in record["runs"]}
    assert list(runs) == bench.cases() and runs["dense"]["blocks"] == []
    assert runs["linear"]["blocks"] == [] and runs["linear"]["macs"] == 10 * 8 * 8
    assert all(len(run["blocks"]) == 1 for case, run in runs.items() if case not in ("dense", "linear"))
    assert all(runs[f"matched blocks, draw 1{how}"]["macs"] for how in ("", ", closed slowly", ", from scratch"))
    for case in ("SSS", "same blocks", "same blocks, all epochs", "from scratch", "same blocks, closed slowly"):
        assert (
            runs[case]["blocks"] == ["stage2.0"] and runs[case]["macs"] == runs["SSS"]["macs"] < runs["dense"]["macs"]
        )

    record["runs"] = [run for run in record["runs"] if run["case"] != "same blocks"]
    out.write_text(json.dumps(record))
    monkeypatch.setattr(bench, "train_penalized", None)  # is there already
    bench.main()
    again = {run["case"]: run for run in json.loads(out.read_text())["runs"]}
    times = ("seconds", "commit", "dirty")
    assert {case: {name: value for name, value in run.items() if name not in times} for case, run in again.items()} == {
        case: {name: value for name, value in run.items() if name not in times} for case, run in runs.items()
    }


def test_gates_of_the_lost_blocks_fall_evenly_and_reach_zero_when_the_rate_decays(bench, monkeypatch):
    monkeypatch.setattr(bench.sss_sweep, "SETTINGS", bench.sss_sweep.SETTINGS | {"epochs": 4})
    images = bench.data.load("digits")
    gated = bench.sss.add_gates(bench.fresh(images, 0), "block")
    gates, seen = bench.sss.gates(gated), []
    watching = watched(bench.train_gated, lambda: seen.append(gates["stage2.0"].item()))
    monkeypatch.setattr(bench, "train_gated", watching)
    bench.train_closing(gated, ["stage2.0"], images, seed=0)
    steps = len(bench.sss_sweep.batches(images, 0, 0))
    assert seen[:2] == [1, pytest.approx(1 - 1 / (3 * steps))] and seen[3 * steps :] == [0] * steps
    assert seen == sorted(seen, reverse=True) and len(seen) == 4 * steps
    assert gates["stage1.0"].item() not in (0, 1), "the others learn"


def watched(train, look):
    def with_look(gated, images, seed, penalty):
        train(gated, images, seed, lambda: (penalty(), look())[0])

    return with_look


def test_the_record_is_complete():
    record = measured.read_record("03_sss_controls.json")
    draws = [f"random blocks, draw {number}" for number in range(1, record["settings"]["draws"] + 1)]
    fixed = ["dense", "linear", "SSS", "same blocks", "same blocks, all epochs", "from scratch", "penalty, then cut"]
    slowly = [f"{case}, closed slowly" for case in ["same blocks", *draws[:5]]]
    found = {(run["seed"], run["case"]) for run in record["runs"]}
    new = [f"{kind} blocks, draw {number}" for kind in ("matched", "uniform") for number in range(1, 11)]
    new += [f"{case}, {how}" for case in new[:5] for how in ("closed slowly", "from scratch")]
    none_left = {(6, case) for case in draws[5:]}  # five blocks closed: only five sets share at most one of them
    assert found == {(seed, case) for seed in range(8) for case in fixed + draws + slowly + new} - none_left
    assert not record["dirty"]


def test_on_mnist_each_draw_is_uniform_or_matched_and_as_few_images_are_seen_as_named(bench, monkeypatch):
    monkeypatch.setattr(bench, "CONTROLS", bench.MNIST_CONTROLS)
    names = bench.cases("mnist")
    assert len({*names}) == len(names) == 24 and not any(name.startswith("random") for name in names)
    images = bench.data.load("digits")
    few = bench.first(images, {"train_samples": 30, "test_samples": 20})
    assert [len(few.train[1]), len(few.test[0])] == [30, 20]
    assert len(bench.first(images, {}).train[1]) == len(images.train[1])
