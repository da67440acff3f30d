"""Results of runs, from sweeps, single runs and committed files, as rows: the paper's number and the mean of ours."""

import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pruning_lib.reproduction import results
from pruning_lib.reproduction.attempt import PARAMETERS, complete
from pruning_lib.reproduction.sweep import PLAN, read_plan
from pruning_lib.reproduction.sweep_file import matches

SEEDS = ("seeds", "seed")  # parameters that tell repetitions from settings, where no sweep says which


@dataclass(frozen=True)
class Record:
    """The results of one run: where to look at them, its seed, and what its sweep says of it."""

    results: dict[str, Any]
    link: Path
    parameters: dict[str, Any]  # apart from the seed
    seed: Any
    expected: dict[str, dict[str, Any]]
    late: bool = False  # whether what is expected was changed after runs were complete
    missing: tuple[str, ...] = ()  # the sweep's runs that are not complete
    planned: int = 1  # how many runs the sweep has in this setting, whatever their device

    @property
    def label(self) -> str:
        """The seed, where the run had a single one, by which its link is known."""
        return "run" if self.seed is None else f"seed {self.seed}"


@dataclass(frozen=True)
class Row:
    """One quantity in one setting on one device.

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
    def device(self) -> str:
        return self.records[0].results["device"]

    @property
    def planned(self) -> int:
        return max(len(self.values), *(record.planned for record in self.records))

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
        if len(self.values) < self.planned:
            return "incomplete"
        # What is computed as 1.9 - 1.6 must not be further than 0.3.
        near = abs(self.mean - self.paper) <= self.tolerance + 1e-9 * max(1, abs(self.paper))
        return "reproduced" if near else "not reached"


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
    plan = read_plan(folder / PLAN)
    made = [name for name in plan["runs"] if complete(folder / name)]
    missing = tuple(f"{folder.name}/{name}" for name in plan["runs"] if name not in made)
    runs = []
    for name in made:
        result = results.read(folder / name / "results.json")
        given = plan["runs"][name]
        runs.append(record_of(result, page_in(folder / name), given, plan, list(plan["runs"].values()), missing))
    return all_met(runs, plan["expected"], folder)


def of_file(path: Path) -> list[Record]:
    """Return the records in a JSON file: one run's results, or all of a sweep's."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if is_sweep(content):
            settings = content["settings"]
            every = [run["given"] for run in content["runs"]]
            runs = [record_of(results.checked(run), path, run["given"], settings, every) for run in content["runs"]]
            return all_met(runs, settings["expected"], path)
        result, beside = results.checked(content), path.parent / PARAMETERS
        given = {}
        if path.name == "results.json" and beside.exists():  # a sweep's run: all that it was given
            given = json.loads(beside.read_text(encoding="utf-8"))["parameters"]
        parameters = result["parameters"] | given
    except OSError as error:
        raise ValueError(f"{path} can't be read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} holds no complete results: {error}") from None
    seed = next((name for name in SEEDS if name in parameters), "")
    page = page_in(path.parent) if path.name == "results.json" else path
    return [record_of(result, page, given, {"seed_parameter": seed, "expected": []}, [given])]


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


def record_of(
    result: dict, link: Path, given: dict, plan: dict, every: list[dict], missing: tuple[str, ...] = ()
) -> Record:
    """Return the record of one run as its sweep's `plan` has it; several seeds in one run are part of the setting.

    `every` is what each of the sweep's runs was given.
    """
    parameters, name = result["parameters"] | given, plan["seed_parameter"]
    mine = {entry["quantity"]: entry for entry in plan["expected"] if matches(entry["where"], parameters)}
    seed = parameters.get(name)
    if isinstance(seed, list):
        seed = seed[0] if len(seed) == 1 else None
    if seed is not None:
        parameters = but(parameters, name)
    late = plan.get("expected_late", False)
    planned = sum(but(other, name) == but(given, name) for other in every)
    return Record(result, link, parameters, seed, mine, late, missing, planned)


def but(parameters: dict[str, Any], left_out: str) -> dict[str, Any]:
    """Return `parameters` without the one of that name."""
    return {name: value for name, value in parameters.items() if name != left_out}


def all_met(records: list[Record], expected: list[dict], where: Path) -> list[Record]:
    """Return `records` if the paper gives a number for each quantity expected of them: not for a misspelled one."""
    for entry in expected:
        quantity = entry["quantity"]
        runs = [record for record in records if record.expected.get(quantity) == entry]
        numbers = [(number["name"], number["paper"]) for record in runs for number in record.results["headline"]]
        names = sorted({name for name, paper in numbers if paper is not None})
        if runs and quantity not in names:
            allowed = f"one of those with a paper's number: {', '.join(names) or 'none'}"
            raise ValueError(f"{where}: expected has {quantity!r}, must be {allowed}")
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
            expected = record.expected.get(headline["name"], {})
            tolerance = expected.get("tolerance", headline.get("tolerance"))
            key = (record.results["notebook"], headline["name"], headline["unit"], headline["paper"], tolerance)
            setting = (json.dumps(record.parameters, sort_keys=True), record.results["device"])
            groups.setdefault((*key, expected.get("differs", ""), *setting), []).append((headline, record))
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
