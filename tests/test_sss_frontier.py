"""benchmarks/sss_frontier.py: what its rows are, and that it goes on where it stopped; on a few digits."""

import importlib.util
import json
import sys
from dataclasses import replace

import pytest
import torch

from pruning_lib.during_training import slimming, sss
from pruning_lib.files import CHECKOUT
from pruning_lib.workbench import data, training

SCRIPT = CHECKOUT / "benchmarks" / "sss_frontier.py"
SMALL = {"depth": 8, "width": 4, "epochs": 2, "batch_size": 32}


@pytest.fixture
def bench(monkeypatch):
    spec = importlib.util.spec_from_file_location("sss_frontier", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "sss_frontier", module)  # its dataclass looks itself up there
    spec.loader.exec_module(module)
    for name in ("SHARES", "GAMMAS"):  # the lists themselves, which METHODS holds too
        found = getattr(module, name)
        for tried in [found] if name == "SHARES" else found.values():
            del tried[1:]
    module.SHARES[0] = 0.5
    module.GAMMAS["channel"][0] = module.GAMMAS["block"][0] = 3.0  # closes all at once
    module.SETTINGS.update(SMALL)
    monkeypatch.setattr(module, "RECALIBRATION", 2)
    return module


@pytest.fixture
def case(bench, tmp_path):
    images = data.load("digits")
    images = replace(images, train=tuple(part[:64] for part in images.train))
    return bench.Case(images, tuple(part[:32] for part in images.test), dict(bench.SETTINGS), tmp_path, seed=1)


def run(bench, monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["sss_frontier.py", "--data", "digits", "--validation", "1300", *arguments])
    bench.main()


def test_augmented_images_are_moved_and_mirrored_each_by_itself(bench):
    images = torch.arange(1.0, 1 + 50 * 2 * 3 * 4).view(50, 2, 3, 4)
    made = bench.augmented(images, 1, torch.Generator().manual_seed(0))
    assert made.shape == images.shape and made.is_contiguous()
    seen = set()
    for image, one in zip(images, made, strict=True):
        padded = torch.nn.functional.pad(image, (1, 1, 1, 1))
        places = [
            (down, right, mirror)
            for down in range(3)
            for right in range(3)
            for mirror in (False, True)
            if torch.equal(one.flip(2) if mirror else one, padded[:, down : down + 3, right : right + 4])
        ]
        assert len(places) == 1
        seen.add(places[0])
    assert len(seen) > 10


def test_batches_differ_between_epochs_and_are_the_same_again(case):
    first, again, other = (torch.cat([inputs for inputs, _ in case.batches(epoch)]) for epoch in (0, 0, 1))
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_learning_rate_rises_and_falls_to_zero(case):
    rate = case.rate(20)
    rates = [rate(epoch) for epoch in range(20)]
    peak = max(range(20), key=rates.__getitem__)
    assert peak in (3, 4) and rates[:peak] == sorted(rates[:peak]) and rates[peak:] == sorted(rates[peak:])[::-1]
    assert max(rates) <= case.settings["peak_lr"] and 0 < rates[-1] < 0.05 * case.settings["peak_lr"]


def test_every_method_has_its_rows_and_a_stopped_sweep_goes_on(bench, monkeypatch, tmp_path, capsys):
    out = tmp_path / "record.json"
    arguments = ("--out", str(out), "--work", str(tmp_path / "work"), "--seeds", "0")
    whole = dict(bench.METHODS)

    def stopped(case, setting, runs):
        raise KeyboardInterrupt

    bench.METHODS["slimming"] = stopped, whole["slimming"][1]
    with pytest.raises(KeyboardInterrupt):
        run(bench, monkeypatch, *arguments)
    before = json.loads(out.read_text())["runs"]
    bench.METHODS.update(whole)
    run(bench, monkeypatch, *arguments, "--list")
    assert f"{len(before)} runs done, 3 missing" in capsys.readouterr().out
    run(bench, monkeypatch, *arguments)
    record = json.loads(out.read_text())
    assert record["runs"][: len(before)] == before
    assert record["settings"]["train_samples"] == 137 and record["settings"]["epochs"] == 2
    rows = {row["method"]: row for row in record["runs"]}
    assert list(rows) == list(bench.METHODS)
    for row in rows.values():
        assert 0 <= row["validation"] <= 1 and 0 <= row["accuracy"] <= 1
        assert 0 < row["macs"] <= rows["dense"]["macs"] and 0 < row["parameters"] <= rows["dense"]["parameters"]
        assert {name for taken in row["latency"].values() for name in taken} == {"seconds", "dense"}
    for name in ("filters_cut", "filters_recalibrated", "filters"):
        assert rows[name]["macs"] == rows["filters"]["macs"] < rows["dense"]["macs"]
    assert rows["filters_cut"]["accuracy"] != rows["filters_recalibrated"]["accuracy"]
    for level in ("channel", "block"):
        found, scratch = rows[f"sss_{level}"], rows[f"scratch_{level}"]
        assert found["closed"] and found["macs"] == scratch["macs"] < rows["dense"]["macs"]
        assert found["parameters"] == scratch["parameters"]
        zeros = {name: [i for i, value in enumerate(scale) if value == 0] for name, scale in found["scales"].items()}
        assert {name: indices for name, indices in zeros.items() if indices} == found["closed"]
    assert rows["slimming"]["gamma"] == bench.GAMMAS["slimming"][0]
    assert all(value != 0 for scale in rows["slimming_penalized"]["scales"].values() for value in scale)
    assert rows["slimming"]["cpu_seconds"] > rows["slimming_penalized"]["cpu_seconds"]


def test_the_gamma_of_slimming_is_the_best_on_validation_images(bench, case):
    bench.GAMMAS["slimming"][:] = [0.001, 0.1]
    rows = [
        {"method": "slimming_penalized", "seed": seed, "setting": gamma, "recalibrated": [value]}
        for seed, gamma, value in ((1, 0.001, 0.2), (1, 0.1, 0.3), (0, 0.001, 0.9))
    ]
    assert bench.slimmed(case, 0.5, rows)["gamma"] == 0.1


def test_trained_networks_are_read_again_and_others_refused(bench, case):
    model, spent = case.trained("half", 1)
    again, read = case.trained("half", 1)
    assert read == spent
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in model.state_dict().items())
    with pytest.raises(ValueError, match=r"other arguments \(epochs is 2, was 1\)"):
        case.trained("half", 2)


@pytest.mark.parametrize("level", ["channel", "block"])
def test_gates_train_as_the_library_trains_them(bench, case, level):
    ours, theirs = (sss.add_gates(case.fresh(), level) for _ in range(2))
    case.train("ours", ours, 3, gamma=3.0)
    sss.train_gates(
        theirs, case.batches, gamma=3.0, lr=case.rate(3), epochs=3, seed=0, weight_decay=5e-4, progress=False
    )
    assert sss.closed(theirs)
    for name, value in theirs.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], value, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("level", [None, "channel"])
def test_training_that_is_stopped_ends_as_if_it_was_not(bench, case, level, monkeypatch):
    whole, stopped, gone_on = (sss.add_gates(case.fresh(), level) if level else case.fresh() for _ in range(3))
    case.train("whole", whole, 3, gamma=0.01)
    batches = type(case).batches

    def until_the_last(self, epoch):
        if epoch == 2:
            raise KeyboardInterrupt
        return batches(self, epoch)

    with monkeypatch.context() as patch:
        patch.setattr(type(case), "batches", until_the_last)
        with pytest.raises(KeyboardInterrupt):
            case.train("stopped", stopped, 3, gamma=0.01)
    asked = []
    monkeypatch.setattr(type(case), "batches", lambda self, epoch: asked.append(epoch) or batches(self, epoch))
    case.train("stopped", gone_on, 3, gamma=0.01)
    assert asked == [2]
    for name, value in whole.state_dict().items():
        torch.testing.assert_close(gone_on.state_dict()[name], value, rtol=0, atol=0)


def test_a_shape_in_which_nothing_closed_is_the_dense_network(bench, case):
    nothing = {"method": "sss_block", "setting": 3.0, "seed": 1, "closed": {}}
    row, dense = bench.from_scratch("block", case, 3.0, [nothing]), bench.dense(case, None, [])
    assert row["accuracy"] == dense["accuracy"] and row["seconds"] == dense["seconds"]


def test_filters_go_only_where_gates_and_scales_sit(bench, case):
    net = case.fresh()
    small = bench.without_filters(net, 0.5, case.example)
    sizes = {name: len(module.weight) for name, module in small.named_modules() if isinstance(module, torch.nn.Conv2d)}
    whole = {name: len(module.weight) for name, module in net.named_modules() if isinstance(module, torch.nn.Conv2d)}
    inside = sss.gates(sss.add_gates(net, "channel")).keys()
    assert inside == slimming.scales(net).keys()
    assert sizes == {name: size // 2 if name in inside else size for name, size in whole.items()}


def test_recalibrated_norms_hold_the_statistics_of_the_images(bench, case):
    net = case.fresh()
    count = bench.RECALIBRATION * case.settings["batch_size"]
    bench.recalibrate_(net, case)
    inputs = case.images.train[0][:count]
    with torch.no_grad():
        outputs = [net.conv(batch) for batch in inputs.split(case.settings["batch_size"])]
    torch.testing.assert_close(net.norm.running_mean, torch.cat(outputs).mean((0, 2, 3)), rtol=1e-4, atol=1e-6)
    assert net.norm.momentum == 0.1 and training.evaluate(net, case.validation)[1] > 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--validation", "0"], "validation is 0, must be from 1 to 1436"),
        (["--validation", "1437"], "validation is 1437, must be from 1 to 1436"),
        (["--epochs", "1"], "epochs is 1, must be at least 2"),
        (["--width", "0"], "width is 0"),
        (["--data", "cifar11"], "data is 'cifar11'"),
        (["--data", "imagefolder:/nowhere"], "/nowhere/train is not there"),
        (["--seeds", "-1"], "seeds"),
    ],
)
def test_bad_input_is_refused_in_one_line(bench, monkeypatch, tmp_path, arguments, message):
    with pytest.raises(SystemExit) as refused:
        run(bench, monkeypatch, "--out", str(tmp_path / "r.json"), "--work", str(tmp_path), *arguments)
    assert message in str(refused.value) and "\n" not in str(refused.value)
    assert not (tmp_path / "r.json").exists()


def test_a_record_of_other_settings_is_refused(bench, monkeypatch, tmp_path):
    out = tmp_path / "record.json"
    bench.METHODS = {"dense_half": bench.METHODS["dense_half"]}
    run(bench, monkeypatch, "--out", str(out), "--work", str(tmp_path), "--seeds", "0")
    with pytest.raises(SystemExit, match="holds runs with settings"):
        run(bench, monkeypatch, "--out", str(out), "--work", str(tmp_path), "--seeds", "0", "--epochs", "4")
