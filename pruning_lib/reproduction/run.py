"""Run notebooks: check everything first, then leave an executed copy, a web page and the numbers of each."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pruning_lib.files import make_writable, written_whole
from pruning_lib.reproduction import NOTEBOOKS, results
from pruning_lib.reproduction.parameters import (
    check_parameters,
    chosen_notebooks,
    notebook_paths,
    of_profile,
    read_profiles,
    value_of,
)

_SAVE_SECONDS = 30  # between two writes of a copy while its notebook runs


@dataclass(frozen=True)
class Run:
    """One notebook to be run: with which parameters, and where its copy, page and results go."""

    source: Path
    profile: str
    parameters: dict[str, Any]
    folder: Path

    @property
    def name(self) -> str:
        return self.source.stem

    @property
    def copy(self) -> Path:
        return self.folder / self.source.name

    @property
    def page(self) -> Path:
        return self.folder / f"{self.name}.html"

    @property
    def results(self) -> Path:
        return self.folder / "results.json"


@dataclass(frozen=True)
class Outcome:
    """What became of a run: its results, or the failure in one line."""

    run: Run
    seconds: float
    results: dict[str, Any] | None = None
    failure: str = ""
    interrupted: bool = False


def plan(
    names: Sequence[str],
    profile: str = "smoke",
    given: dict[str, str] | None = None,
    out: str | Path = "runs",
    notebooks: str | Path = NOTEBOOKS,
) -> list[Run]:
    """Check all that can be checked before anything starts, and return the runs.

    Parameters
    ----------
    names
        Notebooks, or ``all``.
    profile
        A profile of ``profiles.yaml``; ``smoke`` exists for every notebook.
    given
        Parameter name -> value as text, as on the command line; goes before the profile's.
    out
        Each run gets the folder ``out/notebook/profile``, which must be writable.
    notebooks
        Folder with the notebooks and ``profiles.yaml``.

    Raises
    ------
    ValueError
        For an unknown notebook, profile or parameter, a value of the wrong type, also in any profile of the notebooks
        named, a parameters cell that does not declare types, or a folder that can't be written to.
    """
    paths = notebook_paths(Path(notebooks))
    names = chosen_notebooks(list(names), paths)
    profiles = read_profiles(Path(notebooks), list(paths))
    runs = []
    for name in names:
        types, parameters = of_profile(paths[name], profile, profiles[name])
        values = {key: value_of(text, key, types.get(key)) for key, text in (given or {}).items()}
        parameters |= check_parameters(values, types, name)
        runs.append(Run(paths[name].resolve(), profile, parameters, Path(out).resolve() / name / profile))
    for run in runs:
        make_writable(run.folder)
    return runs


def execute(
    run: Run,
    say: Callable[[str], None] | None = None,
    environment: Mapping[str, str] | None = None,
    page: Callable[[Any], str] | None = None,
) -> Outcome:
    """Run one notebook; a failure is in the copy and in the outcome, not raised.

    The copy is written now and then while the notebook runs: one that is killed after hours keeps what was done.

    `say` and `environment` are as `execute_cells` takes them. `page` makes a web page of the executed notebook, its
    text; without it there is none.
    """
    from pruning_lib.reproduction.execution import execute_cells, write_notebook

    for stale in (run.copy, run.page, run.results):
        stale.unlink(missing_ok=True)
    start, result, failure, interrupted = time.monotonic(), None, "", False
    saved = start

    def save() -> None:
        nonlocal saved
        if time.monotonic() - saved >= _SAVE_SECONDS:
            write_notebook(run.copy, notebook)
            saved = time.monotonic()

    try:
        notebook = _with_parameters(run)
        write_notebook(run.copy, notebook)
        failure, interrupted = execute_cells(notebook, run.source, say, environment, save)
        notebook.metadata.papermill |= {"exception": bool(failure), "end_time": datetime.now(UTC).isoformat()}
        write_notebook(run.copy, notebook)
    except Exception as error:  # a full disk, as a rule
        failure = f"{failure}; " if failure else f"{run.name} failed: "
        failure += " ".join(f"{type(error).__name__}: {error}".split())
    if not failure:
        try:
            if page:
                with written_whole(run.page) as temporary:
                    temporary.write_text(page(notebook), encoding="utf-8")
            result = results.read_results(run.results) | {"seconds": round(time.monotonic() - start, 1)}
            results.write_json(run.results, result)
        except FileNotFoundError:
            failure = f"{run.name} ended without writing its results: its last cell must call results.write"
        except Exception as error:
            failure = f"{run.name} ran, but: {error}"
    if failure:
        run.results.unlink(missing_ok=True)
    return Outcome(run, time.monotonic() - start, None if failure else result, failure, interrupted)


def _with_parameters(run: Run) -> Any:
    """Return the notebook with papermill's cell that sets the parameters after the one that declares them."""
    from papermill.iorw import load_notebook_node
    from papermill.parameterize import parameterize_notebook

    notebook, parameters = load_notebook_node(str(run.source)), run.parameters | {"out": str(run.results)}
    return parameterize_notebook(notebook, parameters, kernel_name="python3", language="python")


def headline_table(outcomes: Sequence[Outcome]) -> str:
    """Return the headline numbers of all runs, the paper's beside ours, in aligned columns."""
    from tabulate import tabulate

    from pruning_lib.reproduction.table import rounded

    rows = [
        (each.run.name, entry["name"], rounded(entry["value"]), rounded(entry["paper"]), entry["unit"], entry["note"])
        for each in outcomes
        for entry in (each.results["headline"] if each.results else [])
    ]
    head = ("notebook", "quantity", "ours", "paper", "unit", "setting")
    align = ("left", "left", "right", "right", "left", "left")
    return tabulate(rows, head, "plain", disable_numparse=True, colalign=align if rows else None)
