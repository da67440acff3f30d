"""What lies in figures/measured: recorded runs of the notebooks, and the papers' values to set beside them."""

import json
from pathlib import Path
from typing import Any

from pruning_lib.files import CHECKOUT
from pruning_lib.reproduction import results
from pruning_lib.reproduction.parameters import one_of

FOLDER = CHECKOUT / "figures" / "measured"
PAPERS = "paper_values.json"
_ENTRY = {"value", "unit", "source", "mark"}
_MARKS = ("R", "M")  # read in the source, quoted from memory


def paper_values(notebook: str, folder: Path = FOLDER) -> dict[str, dict[str, Any]]:
    """Return the papers' values that `notebook` shows: quantity -> its value, unit, source and mark.

    The mark is ``R`` for a value that was read in its source, ``M`` for one quoted from memory.

    Raises
    ------
    ValueError
        If the file has none for that notebook, or an entry is not complete.
    """
    known = read_record(PAPERS, folder)
    values = known[one_of(notebook, known, "notebook")]
    for name, entry in values.items():
        if set(entry) != _ENTRY or entry["mark"] not in _MARKS:
            raise ValueError(f"{PAPERS}: {name!r} is {entry}, must have {', '.join(sorted(_ENTRY))}, the mark R or M")
        results.finite_number(entry["value"], f"{PAPERS}: {name!r}")
    return values


def runs_of(notebook: str, folder: Path = FOLDER) -> dict[str, dict[str, Any]]:
    """Return the recorded runs of `notebook`: profile -> what `results.write` wrote, from ``NOTEBOOK.PROFILE.json``."""
    found = {}
    for path in sorted(folder.glob(f"{notebook}.*.json")):
        if "headline" in read_record(path.name, folder):  # a sweep or a benchmark is no single run
            found[path.name.removeprefix(f"{notebook}.").removesuffix(".json")] = results.read_results(path)
    return found


def read_record(name: str, folder: Path = FOLDER) -> dict[str, Any]:
    """Return the content of the file `name`."""
    return json.loads((folder / name).read_text(encoding="utf-8"))


def value(record: str, quantity: str, folder: Path = FOLDER) -> float:
    """Return the headline value `quantity` of the recorded run `record`, ``NOTEBOOK.PROFILE``."""
    values = {entry["name"]: entry["value"] for entry in results.read_results(folder / f"{record}.json")["headline"]}
    return values[one_of(quantity, values, "quantity")]


def origin(record: dict[str, Any]) -> str:
    """Return in one line when, with what and on what `record` was made."""
    took = f", {record['seconds']:.0f} s" if record.get("seconds") is not None else ""
    return f"recorded {record['date'][:10]}, torch {record['versions']['torch']}, {record['device']}{took}"
