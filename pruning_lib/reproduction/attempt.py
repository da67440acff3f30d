"""One run of a sweep, wherever a worker is: in a folder of its own, which takes the run's name when all is done."""

import os
import shutil
import socket
import uuid
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pruning_lib.reproduction import results
from pruning_lib.reproduction.run import Run, execute
from pruning_lib.reproduction.state import differences, state_of

_LOG, PARAMETERS = "log.txt", "parameters.json"


def attempt(
    run: Run,
    state: dict[str, str],
    environment: dict[str, str],
    topic: str = "",
    check: bool = True,
    page: Callable[[Any], str] | None = None,
) -> str:
    """Do `run` unless it is complete, and leave its folder: executed notebook, page, parameters, results and log.

    The folder appears under its name as a whole: whoever is killed on the way leaves a hidden one, which the
    next attempt removes. A lock, which dies with its holder, makes an attempt wait for another of the same run.

    `state` is what notebook and library were when the sweep began, as `state_of` gives it; with `check` the run does
    not start, or in the end not count, if it is another one here and now. Dask events of that `topic` tell what runs
    where. `environment` and `page` are as `execute` takes them. Return the failure in one line, or nothing.
    """
    from filelock import FileLock

    try:
        with FileLock(run.folder.parent / f".{run.folder.name}.lock"):
            if complete(run.folder):
                return ""
            for killed in run.folder.parent.glob(f".{run.folder.name}.*/"):
                shutil.rmtree(killed, ignore_errors=True)
            part = run.folder.with_name(f".{run.folder.name}.{uuid.uuid4().hex[:8]}")
            part.mkdir()
            try:
                failure = _logged(replace(run, folder=part), run.folder.name, state, environment, topic, check, page)
                shutil.rmtree(run.folder, ignore_errors=True)  # of an attempt that failed
                part.rename(run.folder)
            finally:
                shutil.rmtree(part, ignore_errors=True)
            return failure
    except Exception as error:  # a full disk, a folder that is gone: this run fails, the others go on
        return f"{run.name} failed: {' '.join(f'{type(error).__name__}: {error}'.split())}"


def complete(folder: Path) -> bool:
    """Whether `folder` holds the results of a run that came to its end: the seconds are filled in last."""
    try:
        return results.read_results(folder / "results.json")["seconds"] is not None
    except (OSError, ValueError):
        return False


def _logged(
    run: Run, name: str, state: dict[str, str], environment: dict[str, str], topic: str, check: bool, page: Any
) -> str:
    """Run in the folder that `run` has, cell by cell into its log; return the failure."""
    given = {"notebook": run.name, "profile": run.profile, "parameters": run.parameters}
    results.write_json(run.folder / PARAMETERS, given)
    with open(run.folder / _LOG, "w", encoding="utf-8", buffering=1) as log:

        def say(line: str) -> None:
            log.write(f"{datetime.now(UTC).isoformat(timespec='seconds')} {line}\n")
            if topic:  # let the sweep know
                from distributed import get_worker

                get_worker().log_event(topic, {"run": name, "line": line})

        def changed() -> str:
            return differences(state, state_of(run.source, int(state["threads"]))) if check else ""

        say(f"{run.name} starts on {socket.gethostname()}, process {os.getpid()}")
        if change := changed():
            failure = f"{run.name} did not start: since the sweep began, {change}"
        else:
            outcome = execute(run, say, environment, page)
            failure = outcome.failure
            # The kernel has imported what was there when it came to it.
            if not failure and (change := changed()):
                run.results.unlink()
                failure = f"{run.name} does not count: while it ran, {change}"
        say(failure or f"done in {outcome.seconds:.1f} s")
    return failure
