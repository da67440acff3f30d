"""How fast the widgets follow a key, as recorded; `pytest tests/browser/test_notebooks_in_lab.py --record-widgets`."""

import json

import pytest
from widgets_used import CHECKOUT, NOTEBOOKS, used

LIMITS = {"JavaScript": 20, "Python": 100}  # ms from the key to the drawing
RECORD = CHECKOUT / "figures" / "measured" / "widgets.json"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_control_was_measured_and_is_fast(path):
    runs = json.loads(RECORD.read_text(encoding="utf-8"))["runs"]
    rows = [row for run in runs if run["notebook"] == path.stem for row in run["widgets"]]
    assert {row["widget"] for row in rows if row["presses"] >= 15} == used(path)
    slow = [row for row in rows if row["redraw_ms"] > LIMITS[row["computed"]]]
    assert not slow, slow
    assert all(row["presses"] >= 15 for row in rows if row["kind"] == "range")


def test_two_gpts_write_at_least_20_bytes_a_second():
    runs = json.loads(RECORD.read_text(encoding="utf-8"))["runs"]
    writers = [run for run in runs if "GPTWriter" in {row["widget"] for row in run["widgets"]}]
    assert writers and all(run["bytes_per_second"] >= 20 for run in writers)
