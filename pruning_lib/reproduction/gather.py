"""Results of runs, from sweeps, single runs and committed files, as rows: the paper's number and the mean of ours."""

import json
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from pruning_lib.reproduction.attempt import PARAMETERS, complete
from pruning_lib.reproduction.parameters import fault
from pruning_lib.reproduction.results import checked_results, read_results
from pruning_lib.reproduction.sweep import PLAN, Plan, read_plan
from pruning_lib.reproduction.sweep_file import SEEDS, Expected, matches


@dataclass(frozen=True)
class Record:
    """The results of one run: where to look at them, its seed, and what its sweep says of it."""

    results: dict[str, Any]
    link: Path
    parameters: dict[str, Any]  # apart from the seed
    seed: Any
    expected: dict[str, Expected]  # by quantity
    late: bool  # whether what is expected was changed after runs were complete
    missing: tuple[str, ...]  # the sweep's runs that are not complete
    planned: int  # how many runs the sweep has in this setting, whatever their device


@dataclass(frozen=True)
class Row:
    """One quantity in one setting on one device.

    `mean` and `sd` are over seeds, each a run or one of those that a run tells apart; `sd` is the sample standard
    deviation, None for a single value.
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
    against: str = ""  # the quantity with which the paper compares this one
    difference: float | None = None  # to it, mean over the runs
    paper_difference: float | None = None

    @property
    def mean(self) -> float:
        return statistics.fmean(self.values)

    @property
    def sd(self) -> float | None:
        return statistics.stdev(self.values) if len(self.values) > 1 else None

    @property
    def device(self) -> str:
        return self.records[0].results["device"]

    @property
    def planned(self) -> int:
        """How many runs there are to be, each with one value or more."""
        return max(len(self.records), *(record.planned for record in self.records))

    @property
    def complete(self) -> bool:
        return len(self.records) == self.planned

    @property
    def late(self) -> bool:
        """Whether the tolerance was set after runs were complete."""
        return any(record.late and self.quantity in record.expected for record in self.records)

    @property
    def verdict(self) -> str:
        """What `table.RULE` says: ``reproduced``, say; empty where the paper gives no number."""
        if self.paper is None:
            return ""
        if self.tolerance is None:
            return "not claimed" if any(record.expected for record in self.records) else "different setting"
        if not self.complete:
            return "incomplete"
        near = self._near(self.mean, self.paper)
        if near and self.against and not self._near(self.difference, self.paper_difference):
            return "value only"
        return "reproduced" if near else "not reached"

    def _near(self, ours: float, paper: float) -> bool:
        # What is computed as 1.9 - 1.6 must not be further than 0.3.
        return abs(ours - paper) <= self.tolerance + 1e-9 * max(1, abs(paper))


def read_records(paths: Sequence[str | Path]) -> list[Record]:
    """Return the results below `paths`, each a sweep's folder or record, a run's folder or results, or one of those.

    Raises
    ------
    ValueError
        If there are none below one of the paths, a file is not complete, or a sweep expects what none of its runs has
        or the paper gives no number for.
    """
    found = []
    for path in map(Path, paths):
        records = _of_folder(path) if path.is_dir() else _of_file(path)
        if not records:
            raise ValueError(f"{path} holds no complete results")
        found += records
    return found


def is_sweep(content: Any) -> bool:
    """Whether `content` is what a sweep leaves in ``record.json``."""
    return isinstance(content, dict) and "seed_parameter" in content.get("settings", {})


def is_results(path: Path) -> bool:
    """Whether `read_records` takes the JSON file at `path`; other recorded experiments are not for it."""
    content = json.loads(path.read_text(encoding="utf-8"))
    return is_sweep(content) or "headline" in content


def _of_folder(folder: Path) -> list[Record]:
    """Return the records below `folder`, those of a sweep as its plan says."""
    if (folder / PLAN).exists():
        plan = read_plan(folder / PLAN)
        made = {name: read_results(folder / name / "results.json") for name in plan.runs if complete(folder / name)}
        return _of_plan(plan, made, folder, lambda name: _page_in(folder / name))
    if (folder / "results.json").exists():
        return _of_file(folder / "results.json")
    return [record for below in sorted(folder.iterdir()) if below.is_dir() for record in _of_folder(below)]


def _of_file(path: Path) -> list[Record]:
    """Return the records in a JSON file: one run's results, or all of a sweep's."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if is_sweep(content):
            given = {run["run"]: run["given"] for run in content["runs"]}
            made = {run["run"]: checked_results(run) for run in content["runs"]}
            if len(made) < len(content["runs"]):
                names = [run["run"] for run in content["runs"]]
                raise ValueError(f"run {next(name for name in names if names.count(name) > 1)!r} is there twice")
            return _of_plan(Plan(runs=given, **content["settings"]), made, path, lambda name: path)
        result, link, given = checked_results(content), path, {}
        if path.name == "results.json":  # of a run, beside a sweep's file with all that it was given
            link, beside = _page_in(path.parent), path.parent / PARAMETERS
            given = json.loads(beside.read_text(encoding="utf-8"))["parameters"] if beside.exists() else {}
        seed = next((name for name in SEEDS if name in result["parameters"] | given), "")
        plan = Plan(notebook=result["notebook"], seed_parameter=seed, runs={"": given}, expected=[])
        return _of_plan(plan, {"": result}, path, lambda name: link)
    except OSError as error:
        raise ValueError(f"{path} can't be read: {error.strerror}") from None
    except ValidationError as error:
        raise ValueError(f"{path} holds no complete results: {fault(error)}") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} holds no complete results: {' '.join(str(error).split())}") from None


def _page_in(folder: Path) -> Path:
    """Return the page of the run in `folder`, else its executed notebook, else its results."""
    return [*sorted(folder.glob("*.html")), *sorted(folder.glob("*.ipynb")), folder / "results.json"][0]


def _of_plan(plan: Plan, made: Mapping[str, dict], where: Path, link: Callable[[str], Path]) -> list[Record]:
    """Return the records of the runs that are `made`, by name; several seeds in one run are part of its setting."""

    def setting(given: dict[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in given.items() if name != plan.seed_parameter}

    missing = tuple(f"{where.name}/{name}" for name in plan.runs if name not in made)
    records = []
    for name, result in made.items():
        given = plan.runs[name]
        parameters = result["parameters"] | given
        expected = {entry.quantity: entry for entry in plan.expected if matches(entry.where, parameters)}
        seed = parameters.get(plan.seed_parameter)
        if isinstance(seed, list):
            seed = seed[0] if len(seed) == 1 else None
        planned = sum(setting(other) == setting(given) for other in plan.runs.values())
        own = parameters if seed is None else setting(parameters)
        records.append(Record(result, link(name), own, seed, expected, plan.expected_late, missing, planned))
    for entry in plan.expected:  # the paper must give a number for it: a misspelled one has none
        runs = [record for record in records if record.expected.get(entry.quantity) is entry]
        papers = [{each["name"] for each in run.results["headline"] if each["paper"] is not None} for run in runs]
        there = {entry.quantity: set().union(*papers), entry.against: set.intersection(*papers or [set()])}
        for name, names in there.items():
            if runs and name and name not in names:
                allowed = f"one of those with a paper's number: {', '.join(sorted(names)) or 'none'}"
                raise ValueError(f"{where}: expected has {name!r}, must be {allowed}")
    return records


def rows_of(records: Sequence[Record]) -> list[Row]:
    """Return a row per quantity, setting and device, in order of notebook and first appearance.

    Raises
    ------
    ValueError
        If two runs of a row have the same seed: they would count twice.
    """
    groups: dict[tuple, list[tuple[dict, Record]]] = {}
    for record in sorted(records, key=lambda record: record.results["notebook"]):
        for headline in record.results["headline"]:
            name, unit, paper = (headline[key] for key in ("name", "unit", "paper"))
            expected = record.expected.get(name)
            claim = (headline.get("tolerance"), "", "")
            if expected:
                claim = (expected.tolerance, expected.differs, expected.against)
            setting = (json.dumps(record.parameters, sort_keys=True), record.results["device"])
            key = (record.results["notebook"], name, unit, paper, *claim, *setting)
            groups.setdefault(key, []).append((headline, record))
    rows = []
    for key, entries in groups.items():
        headlines, members = zip(*entries, strict=True)
        by_seed: dict[str, Path] = {}
        for record in members:
            seed = json.dumps(record.seed)
            if seed in by_seed:
                raise ValueError(f"{by_seed[seed]} and {record.link} have the same parameters and seed: leave out one")
            by_seed[seed] = record.link
        parts = [headline["note"].split(", ") for headline in headlines]  # what all runs have: not their seeds
        note = ", ".join(part for part in parts[0] if all(part in other for other in parts))
        values = [value for headline in headlines for value in headline.get("values") or [headline["value"]]]
        row = Row(*key[:6], note, members[0].parameters, values, list(members), against=key[6])
        rows.append(_compared(row) if row.against else row)
    return rows


def _compared(row: Row) -> Row:
    """`row` with its difference to what the paper compares it with, run by run."""
    others = [entry for record in row.records for entry in record.results["headline"] if entry["name"] == row.against]
    difference = row.mean - statistics.fmean(entry["value"] for entry in others)
    return replace(row, difference=difference, paper_difference=row.paper - others[0]["paper"])
