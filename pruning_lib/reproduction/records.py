"""Recorded experiments: many runs with one set of settings in one JSON file, added to run by run."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from pruning_lib.reproduction.results import check_json, provenance, write_json

_ORIGIN = ("commit", "dirty")  # of each run
_SAME = ("versions", "device", "threads")  # of all runs in a file


@contextmanager
def locked(path: Path, busy: str = "") -> Iterator[None]:
    """Let nobody else add to the file at `path`; ValueError if somebody does: the last to save would drop the rest.

    `busy` is the message then, if it is to be another one.
    """
    from filelock import FileLock, Timeout

    path.parent.mkdir(parents=True, exist_ok=True)
    busy = busy or f"{path} is being written by another process: wait for it, or choose another file"
    try:
        with FileLock(path.with_name(f".{path.name}.lock"), timeout=0):
            yield
    except Timeout:
        raise ValueError(busy) from None


def runs_in(path: Path, settings: dict[str, Any]) -> list[dict]:
    """Runs already in the file at `path`, each with its commit and dirty flag.

    Raises
    ------
    ValueError
        If they were made with other settings, versions, another device or number of threads.
    """
    commit_at_start()  # now, before the first run
    if not path.exists():
        return []
    record, now = json.loads(path.read_text(encoding="utf-8")), provenance()
    for name, here in {"settings": settings, **{name: now[name] for name in _SAME}}.items():
        if record[name] != here:
            raise ValueError(f"{path} holds runs with {name} {record[name]}, must be {here}: move it away")
    return [run | {name: run.get(name, record[name]) for name in _ORIGIN} for run in record["runs"]]


def write_runs(path: Path, about: str, settings: dict[str, Any], runs: list[dict]) -> None:
    """Write all `runs`, each with its "seconds", to `path`, a line each; what they are `about` and their provenance.

    Runs without a commit are of this process: they get its own, and its dirty flag, in `runs` too. ValueError naming
    the setting, or the run's index and key, that JSON can't hold, such as nan.
    """
    check_json(settings, "setting")
    for index, run in enumerate(runs):
        check_json(run, f"run {index}:")
    for run in runs:
        run |= commit_at_start() | run
    record = {"about": about} | provenance() | commit_at_start()
    record |= {"seconds": sum(run["seconds"] for run in runs), "settings": settings, "runs": runs}
    write_json(path, record)


@cache
def commit_at_start() -> dict[str, Any]:
    """Commit and dirty flag as they were at first: the code is loaded, whatever is committed or written meanwhile."""
    now = provenance()
    return {name: now[name] for name in _ORIGIN}
