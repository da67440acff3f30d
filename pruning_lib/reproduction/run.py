"""Run notebooks with papermill: check everything first, then leave a copy, a web page and the numbers of each."""

import logging
import textwrap
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pruning_lib.files import make_writable, written_whole
from pruning_lib.reproduction import NOTEBOOKS, results
from pruning_lib.reproduction.parameters import (
    check,
    chosen,
    declared,
    notebook_paths,
    parameters_cell,
    parse,
    read_notebook,
    read_profiles,
)


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
    names = chosen(list(names), paths)
    profiles = read_profiles(Path(notebooks), list(paths))
    runs = []
    for name in names:
        if profile not in profiles[name]:
            raise ValueError(f"profile of {name} is {profile!r}, must be one of {', '.join(map(str, profiles[name]))}")
        types = declared(read_notebook(paths[name]), name)
        of_profile = {key: check(values, types, f"{name}, profile {key}") for key, values in profiles[name].items()}
        values = {key: parse(text, key, types.get(key)) for key, text in (given or {}).items()}
        parameters = of_profile[profile] | check(values, types, name)
        runs.append(Run(paths[name].resolve(), profile, parameters, Path(out).resolve() / name / profile))
    for run in runs:
        try:
            make_writable(run.folder)
        except OSError as error:
            raise ValueError(f"out is {str(out)!r}, must be writable: {run.folder}: {error.strerror}") from None
    return runs


def execute(
    run: Run, say: Callable[[str], None] | None = None, environment: Mapping[str, str] | None = None
) -> Outcome:
    """Run one notebook; a failure is in the copy and in the outcome, not raised.

    `say` gets a line per code cell; without it a progress bar is drawn. `environment` is set for the kernel only.
    """
    import papermill

    # What papermill warns of was checked by `plan`, more strictly.
    logging.getLogger("papermill").setLevel(logging.CRITICAL)
    for stale in (run.copy, run.page, run.results):
        stale.unlink(missing_ok=True)
    start = time.monotonic()
    failure, interrupted = "", False
    try:
        papermill.execute_notebook(
            # papermill fills in {…} in paths
            *(str(path).replace("{", "{{").replace("}", "}}") for path in (run.source, run.copy)),
            parameters=run.parameters | {"out": str(run.results)},
            cwd=run.source.parent,
            progress_bar=False if say else {"desc": run.name, "leave": False},
            **engine_settings(run, say, environment or {}),
        )
    except KeyboardInterrupt as error:
        failure, interrupted = describe(run, error), True
    except Exception as error:  # whatever a cell, the kernel or papermill raised ends this run only
        failure = describe(run, error)
    result = None
    if not failure:
        try:
            write_page(run)
            result = results.read(run.results) | {"seconds": round(time.monotonic() - start, 1)}
            results.save(run.results, result)
        except FileNotFoundError:
            failure = f"{run.name} ended without writing its results: its last cell must call results.write"
        except Exception as error:
            failure = f"{run.name} ran, but: {error}"
    if failure:
        run.results.unlink(missing_ok=True)
    return Outcome(run, time.monotonic() - start, None if failure else result, failure, interrupted)


def engine_settings(run: Run, say: Callable[[str], None] | None, environment: Mapping[str, str]) -> dict[str, Any]:
    """Return what papermill hands through to the client that talks to the kernel."""
    from pruning_lib.reproduction.kernel import SameInterpreter, first_line

    number, total = numbering(run)

    def tell(cell: Any, cell_index: int) -> None:
        if "injected-parameters" not in cell.metadata.tags:
            say(f"{run.name}: cell {number(cell_index)} of {total}  {first_line(cell.source)}")

    return {
        "kernel_name": "python3",
        "language": "python",
        "kernel_manager_class": type("Kernel", (SameInterpreter,), {"environment": dict(environment)}),
        "shutdown_kernel": "immediate",  # asked politely in the middle of a cell, it writes tracebacks to the terminal
        "coalesce_streams": True,
        "on_cell_execute": tell if say else None,
    }


def numbering(run: Run) -> tuple[Callable[[int], int], int]:
    """Return index in the executed copy -> number in the notebook itself, from 1, and how many cells it has.

    papermill puts a cell of its own after the parameters cell; it counts as that one.
    """
    notebook = read_notebook(run.source)
    parameters = parameters_cell(notebook, run.name)
    return lambda index: index + 1 if index <= parameters else index, len(notebook.cells)


def describe(run: Run, error: BaseException) -> str:
    """Return what `examine` does, or that it can't: the other notebooks are still to be run. No half copy stays."""
    try:
        return examine(run, error)
    except Exception as other:  # a full disk, as a rule: the copy is cut off, or can't be written again
        try:
            read_notebook(run.copy)
        except ValueError:
            with suppress(OSError):
                run.copy.unlink()
        errors = [error] if isinstance(error, OSError) else [error, other]
        texts = [textwrap.shorten(f"{type(each).__name__}: {each}", 200) for each in errors]
        return f"{run.name} failed: {'; '.join(texts)}"


def examine(run: Run, error: BaseException) -> str:
    """Return the failure in one line, empty if all errors were expected ones; see that the copy holds the error."""
    import nbformat
    from papermill.exceptions import PapermillExecutionError
    from papermill.execute import remove_error_markers

    from pruning_lib.reproduction import committed
    from pruning_lib.reproduction.kernel import error_of, first_line

    what = " ".join(f"{type(error).__name__}: {error}".split())
    if not run.copy.exists():
        return f"{run.name} did not start: {what}"
    notebook = read_notebook(run.copy)
    if isinstance(error, OSError):
        return f"{run.name} failed: {what}"
    started = None
    for index, cell in enumerate(remove_error_markers(notebook).cells):
        if cell.cell_type == "code" and cell.metadata.papermill.start_time:
            started = index
    if started is None:
        return f"{run.name} did not start: {what}"
    cell = notebook.cells[started]
    if isinstance(error, PapermillExecutionError):
        if not notebook.metadata.papermill.exception:
            # papermill also raises for cells tagged raises-exception, after having run everything.
            committed.write(run.copy, notebook)
            return ""
    elif not any(output.output_type == "error" for output in cell.outputs):
        # A dead kernel, an interrupt: papermill saved the copy without it.
        name, text = type(error).__name__, str(error)
        cell.outputs.append(nbformat.v4.new_output("error", ename=name, evalue=text, traceback=[f"{name}: {text}"]))
        committed.write(run.copy, notebook)
    number, total = numbering(run)
    verb = "was interrupted" if isinstance(error, KeyboardInterrupt) else "failed"
    return f"{run.name} {verb} in cell {number(started)} of {total} ({first_line(cell.source)}): {error_of(cell)}"


def write_page(run: Run) -> None:
    """Write the executed copy as a web page that works without network and kernel."""
    from pruning_lib.teaching.publishing.pages import handout

    text = handout(read_notebook(run.copy))
    with written_whole(run.page) as temporary:
        temporary.write_text(text, encoding="utf-8")


def table(outcomes: Sequence[Outcome]) -> str:
    """Return the headline numbers of all runs, the paper's beside ours, in aligned columns."""
    rows = [("notebook", "quantity", "ours", "paper", "unit", "setting")]
    for outcome in outcomes:
        for entry in outcome.results["headline"] if outcome.results else []:
            ours, paper = (
                "" if entry[key] is None else f"{entry[key]:.{4 if abs(entry[key]) < 1e4 else 8}g}"
                for key in ("value", "paper")
            )
            rows.append((outcome.run.name, entry["name"], ours, paper, entry["unit"], entry["note"]))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [
            text.rjust(width) if column in (2, 3) else text.ljust(width)
            for column, (text, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)
