import json

import pytest

from pruning_lib.reproduction import records

SETTINGS = {"lr": 0.1, "data": "digits"}
RUNS = [{"seed": 0, "seconds": 1.5, "γ": 0.2}, {"seed": 1, "seconds": 2.0, "γ": 0.3}]


def test_what_is_saved_is_found_again(tmp_path):
    path = tmp_path / "record.json"
    assert records.finished(path, SETTINGS) == []
    records.save(path, "An experiment.", SETTINGS, RUNS)
    assert records.finished(path, SETTINGS) == RUNS
    record = json.loads(path.read_text(encoding="utf-8"))
    assert (record["about"], record["seconds"], record["settings"]) == ("An experiment.", 3.5, SETTINGS)
    assert {"versions", "device", "date", "commit", "dirty"} <= record.keys()


def test_other_settings_are_refused(tmp_path):
    path = tmp_path / "record.json"
    records.save(path, "An experiment.", SETTINGS, RUNS)
    with pytest.raises(ValueError, match="settings .*0.1.* must be .*0.2.*: move it away"):
        records.finished(path, SETTINGS | {"lr": 0.2})
