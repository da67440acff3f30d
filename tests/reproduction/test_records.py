import copy
import json
import math
import subprocess
import sys

import pytest

from pruning_lib.reproduction import records

SETTINGS = {"lr": 0.1, "data": "digits"}
RUNS = [{"seed": 0, "seconds": 1.5, "γ": 0.2}, {"seed": 1, "seconds": 2.0, "γ": 0.3}]


def test_what_is_saved_is_found_again(tmp_path):
    path = tmp_path / "record.json"
    assert records.runs_in(path, SETTINGS) == []
    records.write_runs(path, "An experiment.", SETTINGS, copy.deepcopy(RUNS))
    assert records.runs_in(path, SETTINGS) == [run | records.commit_at_start() for run in RUNS]
    record = json.loads(path.read_text(encoding="utf-8"))
    assert (record["about"], record["seconds"], record["settings"]) == ("An experiment.", 3.5, SETTINGS)
    assert {"versions", "device", "date", "commit", "dirty"} <= record.keys()


def test_other_settings_are_refused(tmp_path):
    path = tmp_path / "record.json"
    records.write_runs(path, "An experiment.", SETTINGS, copy.deepcopy(RUNS))
    with pytest.raises(ValueError, match="settings .*0.1.* must be .*0.2.*: move it away"):
        records.runs_in(path, SETTINGS | {"lr": 0.2})


def test_what_json_can_not_hold_is_named_and_nothing_is_changed(tmp_path):
    path, runs = tmp_path / "record.json", [*copy.deepcopy(RUNS), {"seed": 2, "losses": [0.5, math.nan]}]
    with pytest.raises(ValueError, match=r"^run 2: 'losses' is \[0\.5, nan\], must be what JSON holds: finite numbers"):
        records.write_runs(path, "An experiment.", SETTINGS, runs)
    with pytest.raises(ValueError, match="^setting 'lr' is inf, must be what JSON holds"):
        records.write_runs(path, "An experiment.", SETTINGS | {"lr": math.inf}, runs)
    assert runs[:2] == RUNS and not path.exists()


@pytest.fixture
def at(monkeypatch):
    """A function after which the process is one that was started at another commit, on another machine."""

    def change(**values):
        now = {"versions": {"torch": "2"}, "device": "cpu", "threads": 1, "date": "", "commit": "a", "dirty": False}
        monkeypatch.setattr(records, "provenance", lambda: now | values)
        records.commit_at_start.cache_clear()

    yield change
    monkeypatch.undo()
    records.commit_at_start.cache_clear()


def test_each_run_keeps_the_commit_it_was_made_at(tmp_path, at, monkeypatch):
    path, new = tmp_path / "record.json", {"seed": 2, "seconds": 1.0}
    at(commit="old", dirty=True)
    records.write_runs(path, "An experiment.", SETTINGS, copy.deepcopy(RUNS))
    content = json.loads(path.read_text(encoding="utf-8"))
    for run in content["runs"]:
        del run["commit"], run["dirty"]  # as in files from before each run had its own
    path.write_text(json.dumps(content), encoding="utf-8")

    at(commit="new")
    runs = records.runs_in(path, SETTINGS)
    now = records.provenance()
    monkeypatch.setattr(records, "provenance", lambda: now | {"commit": "committed meanwhile", "dirty": True})
    records.write_runs(path, "An experiment.", SETTINGS, [*runs, dict(new)])
    origins = [(run["commit"], run["dirty"]) for run in records.runs_in(path, SETTINGS)]
    assert origins == [("old", True), ("old", True), ("new", False)]
    assert json.loads(path.read_text(encoding="utf-8"))["commit"] == "new"


@pytest.mark.parametrize(("name", "here"), [("versions", {"torch": "3"}), ("device", "NVIDIA H200"), ("threads", 2)])
def test_runs_made_elsewhere_are_not_added_to(tmp_path, at, name, here):
    path = tmp_path / "record.json"
    at()
    records.write_runs(path, "An experiment.", SETTINGS, copy.deepcopy(RUNS))
    before = records.provenance()[name]
    at(**{name: here})
    with pytest.raises(ValueError) as caught:
        records.runs_in(path, SETTINGS)
    assert str(caught.value) == f"{path} holds runs with {name} {before}, must be {here}: move it away"


def test_one_process_at_a_time_adds_to_a_file(tmp_path):
    path = tmp_path / "measured" / "record.json"
    code = "import sys; from pathlib import Path; from pruning_lib.reproduction import records\n"
    code += "with records.locked(Path(sys.argv[1])): print('held')"
    with records.locked(path):
        second = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True)
    assert f"ValueError: {path} is being written by another process: wait for it" in second.stderr
    with records.locked(path):
        pass
