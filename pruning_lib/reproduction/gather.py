"""Results of runs, from sweeps, single runs and committed files, as rows: the paper's number and the mean of ours."""

import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pruning_lib.reproduction import results
from pruning_lib.reproduction.attempt import complete
from pruning_lib.reproduction.sweep import PLAN
from pruning_lib.reproduction.sweep_file import matches

SEEDS = ("seeds", "seed")  # parameters that tell repetitions from settings, where no sweep says which


@dataclass(frozen=True)
class Record:
    """The results of one run: where to look at them, its seed, and what its sweep expects of it."""

    results: dict[str, Any]
    link: Path
    parameters: dict[str, Any]  # apart from the seed
    seed: Any
    expected: dict[str, dict[str, Any]]

    @property
    def label(self) -> str:
        """The seed, where the run had a single one, by which its link is known."""
        return "run" if self.seed is None else f"seed {self.seed}"


@dataclass(frozen=True)
class Row:
    """One quantity in one setting.

    `mean` and `sd` are over runs with different seeds; `sd` is the sample standard deviation, None for a single run.
    """

    notebook: str
    quantity: str
    unit: str
    paper: float | None
    tolerance: float | None
    differs: str
    note: str
    parameters: dict[str, Any]
    values: list[float]
    records: list[Record]

    @property
    def mean(self) -> float:
        return statistics.fmean(self.values)

    @property
    def sd(self) -> float | None:
        return statistics.stdev(self.values) if len(self.values) > 1 else None

    @property
    def verdict(self) -> str:
        """``reproduced``, ``not reached``, ``different setting``, or empty where the paper gives no number."""
        if self.paper is None:
            return ""
        if self.tolerance is None:
            return "different setting"
        # What is computed as 1.9 - 1.6 must not be further than 0.3.
        near = abs(self.mean - self.paper) <= self.tolerance + 1e-9 * max(1, abs(self.paper))
        return "reproduced" if near else "not reached"


def read_records(paths: Sequence[str | Path]) -> list[Record]:
    """Return the results below `paths`, each a sweep's folder or record, a run's folder or results, or one of those.

    Raises
    ------
    ValueError
        If there are none below one of the paths, a file is not complete, or a sweep expects what none of its runs has.
    """
    found = []
    for path in map(Path, paths):
        records = of_folder(path) if path.is_dir() else of_file(path)
        if not records:
            raise ValueError(f"{path} holds no complete results")
        found += records
    return found


def of_folder(folder: Path) -> list[Record]:
    """Return the records below `folder`, those of a sweep as its plan says."""
    if (folder / PLAN).exists():
        return of_sweep(folder)
    if (folder / "results.json").exists():
        return of_file(folder / "results.json")
    return [record for below in sorted(folder.iterdir()) if below.is_dir() for record in of_folder(below)]


def of_sweep(folder: Path) -> list[Record]:
    """Return the records of a sweep's complete runs, which link to their pages."""
    plan = json.loads((folder / PLAN).read_text(encoding="utf-8"))
    runs = []
    for name, given in plan["runs"].items():
        if complete(folder / name):
            result = results.read(folder / name / "results.json")
            runs.append(record_of(result, page_in(folder / name), given, plan["seed_parameter"], plan["expected"]))
    return all_met(runs, plan["expected"], folder)


def of_file(path: Path) -> list[Record]:
    """Return the records in a JSON file: one run's results, or all of a sweep's."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if is_sweep(content):
            settings = content["settings"]
            names = (settings["seed_parameter"], settings["expected"])
            runs = [record_of(results.checked(run), path, run["given"], *names) for run in content["runs"]]
            return all_met(runs, settings["expected"], path)
        result = results.checked(content)
    except OSError as error:
        raise ValueError(f"{path} can't be read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} holds no complete results: {error}") from None
    seed = next((name for name in SEEDS if name in result["parameters"]), "")
    page = page_in(path.parent) if path.name == "results.json" else path
    return [record_of(result, page, {}, seed, [])]


def is_sweep(content: Any) -> bool:
    """Whether `content` is what a sweep leaves in ``record.json``."""
    return isinstance(content, dict) and "seed_parameter" in content.get("settings", {})


def is_results(path: Path) -> bool:
    """Whether the JSON file at `path` is for `of_file`; other recorded experiments are not."""
    content = json.loads(path.read_text(encoding="utf-8"))
    return is_sweep(content) or "headline" in content


def page_in(folder: Path) -> Path:
    """Return the page of the run in `folder`, else its executed notebook, else its results."""
    return [*sorted(folder.glob("*.html")), *sorted(folder.glob("*.ipynb")), folder / "results.json"][0]


def record_of(result: dict, link: Path, given: dict, seed_parameter: str, expected: list[dict]) -> Record:
    """Return the record of one run; with several seeds in one run, they are part of the setting."""
    parameters = result["parameters"] | given
    seed = parameters.get(seed_parameter)
    if isinstance(seed, list):
        seed = seed[0] if len(seed) == 1 else None
    if seed is not None:
        parameters = {name: value for name, value in parameters.items() if name != seed_parameter}
    mine = {entry["quantity"]: entry for entry in expected if matches(entry["where"], result["parameters"] | given)}
    return Record(result, link, parameters, seed, mine)


def all_met(records: list[Record], expected: list[dict], where: Path) -> list[Record]:
    """Return `records` if each quantity expected of them is a headline number of one, as a misspelled one is not."""
    for entry in expected:
        runs = [record for record in records if record.expected.get(entry["quantity"]) == entry]
        names = {headline["name"] for record in runs for headline in record.results["headline"]}
        if runs and entry["quantity"] not in names:
            raise ValueError(f"{where}: expected has {entry['quantity']!r}, must be one of {', '.join(sorted(names))}")
    return records


def rows_of(records: Sequence[Record]) -> list[Row]:
    """Return a row per quantity and setting, in order of notebook and first appearance.

    Raises
    ------
    ValueError
        If two runs of a row have the same seed: they would count twice.
    """
    groups: dict[tuple, list[tuple[dict, Record]]] = {}
    for record in sorted(records, key=lambda record: record.results["notebook"]):
        for headline in record.results["headline"]:
            expected = record.expected.get(headline["name"], {})
            tolerance = expected.get("tolerance", headline.get("tolerance"))
            key = (record.results["notebook"], headline["name"], headline["unit"], headline["paper"], tolerance)
            setting = json.dumps(record.parameters, sort_keys=True)
            groups.setdefault((*key, expected.get("differs", ""), setting), []).append((headline, record))
    rows = []
    for key, entries in groups.items():
        seeds: dict[str, Path] = {}
        for _, record in entries:
            seed = json.dumps(record.seed)
            if seed in seeds:
                raise ValueError(f"{seeds[seed]} and {record.link} have the same parameters and seed: leave out one")
            seeds[seed] = record.link
        values = [headline["value"] for headline, _ in entries]
        note = shared_note([headline["note"] for headline, _ in entries])
        members = [record for _, record in entries]
        rows.append(Row(*key[:6], note, members[0].parameters, values, members))
    return rows


def shared_note(notes: list[str]) -> str:
    """Return the parts of a note, between commas, that are the same in all runs of a row: not their seeds."""
    parts = [note.split(", ") for note in notes]
    return ", ".join(part for part in parts[0] if all(part in other for other in parts))
