"""Recorded runs and the papers' values, as the notebooks read them."""

import json
import shutil

import pytest

from pruning_lib.reproduction import measured


def test_the_papers_values_are_complete():
    for notebook, entries in measured.read_record(measured.PAPERS).items():
        assert measured.paper_values(notebook) == entries
        assert entries and all(entry["source"] and isinstance(entry["unit"], str) for entry in entries.values())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mark": "X"}, "mark R or M"),
        ({"page": 3}, "must have mark, source, unit, value"),
        ({"value": "1.7"}, "'error' is '1.7', must be a finite number"),
    ],
)
def test_an_incomplete_value_is_refused(tmp_path, change, message):
    entry = {"value": 1.7, "unit": "%", "source": "someone", "mark": "R"} | change
    (tmp_path / measured.PAPERS).write_text(json.dumps({"02_snip": {"error": entry}}), encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        measured.paper_values("02_snip", tmp_path)


def test_unknown_notebook():
    with pytest.raises(ValueError, match="notebook is '99', must be one of 02_snip"):
        measured.paper_values("99")


def test_runs_are_those_of_the_notebook_only(tmp_path):
    source = measured.FOLDER / "02_snip.lecture.json"
    for name in (
        "02_snip.lecture.json",
        "02_snip.paper.json",
        "03b_block_selection.paper.json",
        "02_snip_long.paper.json",
    ):
        shutil.copy(source, tmp_path / name)
    (tmp_path / "02_snip.gpu.json").write_text('{"runs": []}', encoding="utf-8")  # a benchmark's
    found = measured.runs_of("02_snip", tmp_path)
    assert list(found) == ["lecture", "paper"]
    assert found["paper"]["headline"] == json.loads(source.read_text(encoding="utf-8"))["headline"]


def test_origin():
    record = {"date": "2026-11-22T18:36:15+00:00", "versions": {"torch": "2.14.1"}, "device": "cpu"}
    assert measured.origin(record) == "recorded 2026-11-22, torch 2.14.1, cpu"
    assert measured.origin(record | {"seconds": 93.9}) == "recorded 2026-11-22, torch 2.14.1, cpu, 94 s"


def test_one_value_of_a_recorded_run():
    assert measured.value("06_two_four.paper", "file, dense") == 1.0
    with pytest.raises(ValueError, match="quantity is 'files', must be one of speed, masked 50 %, "):
        measured.value("06_two_four.paper", "files")
