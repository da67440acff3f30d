"""The headline numbers of a notebook, with what they were got from, as one JSON file."""

import json
import math
import os
import platform
import statistics
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pruning_lib
from pruning_lib.files import CHECKOUT, written_whole

KEYS = ("notebook", "parameters", "headline", "versions", "device", "threads", "date", "commit", "dirty", "seconds")


@dataclass(frozen=True)
class Headline:
    """One number that a notebook stands for.

    Parameters
    ----------
    name
        The quantity, as the table prints it: ``test accuracy at 90 %``.
    value
        Ours: a finite number, or a tensor or array of one.
    unit
        ``%``, ``s``, ``×``; empty for a plain number.
    paper
        The paper's number in the same unit, if it gives one.
    note
        The setting: model, data, what differs from the paper's.
    tolerance
        How far from the paper's number, in the same unit, still counts as reproduced. Giving it claims that the setting
        is the paper's; left out, the two numbers are shown but not compared.
    values
        What each seed gave, where one run has several: `value` is their mean. The table then gives spread and n.

    Raises
    ------
    ValueError
        If `value`, `paper`, `tolerance` or one of `values` is no finite number, a tolerance is negative or without a
        paper's number, or `value` is not the mean of `values`; the message names the entry.
    """

    name: str
    value: float
    unit: str = ""
    paper: float | None = None
    note: str = ""
    tolerance: float | None = None
    values: Sequence[float] | None = None

    def __post_init__(self) -> None:
        for key in ("name", "unit", "note"):
            if not isinstance(getattr(self, key), str):
                raise ValueError(f"headline {self.name!r}: {key} is {getattr(self, key)!r}, must be text")
        if not self.name:
            raise ValueError("headline: name is empty, must say what the number is")
        for key in ("value", "paper", "tolerance"):
            if key == "value" or getattr(self, key) is not None:
                object.__setattr__(self, key, finite_number(getattr(self, key), f"headline {self.name!r}: {key}"))
        if self.tolerance is not None and (self.paper is None or self.tolerance < 0):
            allowed = "at least 0, beside a paper's number"
            raise ValueError(f"headline {self.name!r}: tolerance is {self.tolerance}, must be {allowed}")
        if self.values is not None:
            each = [finite_number(value, f"headline {self.name!r}: one of values") for value in self.values]
            if not each or not math.isclose(statistics.fmean(each), self.value, rel_tol=1e-9, abs_tol=1e-12):
                raise ValueError(f"headline {self.name!r}: value is {self.value}, must be the mean of values, {each}")
            object.__setattr__(self, "values", each)


def finite_number(value: Any, name: str) -> int | float:
    """Return `value` as a Python number if it is a finite one, else raise ValueError."""
    try:
        if isinstance(value, (bool, str)):
            raise TypeError
        number = value if isinstance(value, int) else float(value)
    except (TypeError, ValueError, RuntimeError):  # RuntimeError: a tensor of several numbers
        raise ValueError(f"{name} is {value!r}, must be a finite number") from None
    if not math.isfinite(number):
        raise ValueError(f"{name} is {number}, must be a finite number")
    return number


def _git(*arguments: str) -> str | None:
    """Return what git prints in the checkout, or None where there is no git or it fails."""
    try:
        answer = subprocess.run(["git", "-C", CHECKOUT, *arguments], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return answer.stdout.strip()


def provenance() -> dict[str, Any]:
    """Return versions, device, threads, date and commit of the running process.

    The device is the GPU if a tensor was ever put on it, else ``cpu``. Commit and dirty flag are None outside a
    checkout, also where the package merely lies inside another project's.
    """
    import torch

    used = torch.cuda.is_initialized() and torch.cuda.max_memory_allocated() > 0
    top = _git("rev-parse", "--show-toplevel")
    commit = _git("rev-parse", "--verify", "HEAD") if top and Path(top).resolve() == CHECKOUT else None
    return {
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "pruning_lib": pruning_lib.__version__,
        },
        "device": torch.cuda.get_device_name() if used else "cpu",
        "threads": torch.get_num_threads(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit,
        "dirty": bool(_git("status", "--porcelain")) if commit else None,
    }


def write(
    out: str | os.PathLike,
    notebook: str,
    parameters: dict[str, Any],
    headline: Sequence[Headline],
    seconds: float | None = None,
) -> dict[str, Any]:
    """Write the headline numbers of `notebook` to the file `out`, whole or not at all, and return them.

    Parameters
    ----------
    out
        Path of the JSON file. With ``""``, as when a notebook is run by hand, nothing is written.
    notebook
        Its name, ``02_snip``.
    parameters
        What the numbers depend on: parameter name -> value, as used.
    headline
        The numbers.
    seconds
        How long it took; the runner fills it in.

    Raises
    ------
    ValueError
        If two entries share a name or a parameter can't be held in JSON, nan and infinity included.
    """
    names = [entry.name for entry in headline]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"headline {name!r} is given {names.count(name)} times, must be given once")
    result = {"notebook": notebook, "parameters": dict(parameters), "headline": [asdict(entry) for entry in headline]}
    result |= provenance() | {"seconds": seconds}
    check_json(result["parameters"], "parameter")
    if out != "":
        write_json(out, result)
    return result


def check_json(values: dict[str, Any], where: str) -> None:
    """ValueError naming the first of `values` that JSON can't hold, nan and infinity included, if there is one."""
    for name, value in values.items():
        try:
            json.dumps(value, allow_nan=False)
        except (TypeError, ValueError):
            allowed = "what JSON holds: finite numbers, text, lists"
            raise ValueError(f"{where} {name!r} is {value!r}, must be {allowed}") from None


def write_json(path: str | os.PathLike, content: dict[str, Any]) -> None:
    """Write `content` to `path` as JSON, whole or not at all; a list of "runs" comes last, with a line for each.

    Raises
    ------
    OSError
        Naming the file, as that of a full disk does not by itself.
    """
    shape, runs = {"ensure_ascii": False, "allow_nan": False}, content.get("runs")
    if isinstance(runs, list):
        content = {key: value for key, value in content.items() if key != "runs"} | {"runs": []}
    text = json.dumps(content, indent=1, **shape)
    if isinstance(runs, list):
        lines = ",\n".join(json.dumps(run, separators=(",", ":"), **shape) for run in runs)
        text = text.removesuffix("[]\n}") + f"[\n{lines}\n]\n}}"
    try:
        with written_whole(path) as temporary:
            temporary.write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None


def read_results(path: str | os.PathLike) -> dict[str, Any]:
    """Return what `write` wrote to `path`; ValueError naming the file if it is not complete."""
    try:
        return checked_results(json.loads(Path(path).read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:  # a broken JSON or encoding is a ValueError too
        raise ValueError(f"{path} holds no complete results: {error}") from None


def checked_results(result: Any) -> dict[str, Any]:
    """Return `result` if it is what `write` writes, else raise ValueError or TypeError."""
    missing = [key for key in KEYS if key not in result]
    if missing:
        raise ValueError(f"no {', '.join(missing)}")
    for entry in result["headline"]:
        Headline(**entry)
    return result
