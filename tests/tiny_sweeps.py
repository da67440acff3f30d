"""A notebook whose runs say when they start, wait, and fail as told; and its sweeps."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import nbformat
import psutil
from nbformat.v4 import new_code_cell, new_notebook

from pruning_lib.files import CHECKOUT

PROCESSES: list[subprocess.Popen] = []
PARAMETERS = """
seeds: list[int] = [0]
lr: float = 0.1
name: str = "a"
side: str = ""  # folder of the file `started`, with a line per start
wait: bool = False  # until there is a file `go`
late: float = 9.0  # runs from this lr on wait too
fails: int = 0  # so many starts
out: str = ""
"""
START = """
import json, os, time
from pathlib import Path
started = Path(side) / "started"
with started.open("a") as file:
    file.write(f"{lr} {seeds[0]} {fails} {os.getpid()} {os.getppid()}\\n")
while (wait or lr >= late) and not (Path(side) / "go").exists():
    time.sleep(0.02)
"""
FAIL = """
times = [line.split()[:3] for line in started.read_text().splitlines()].count([str(lr), str(seeds[0]), str(fails)])
assert times > fails, f"start {times}"
"""
# As results.write leaves it, which would load torch first.
END = """
result = {"notebook": "01_tiny", "parameters": {"lr": lr}, "versions": {"python": "3", "torch": "2"}, "device": "cpu"}
entry = {"name": "error", "value": lr + seeds[0], "unit": "%", "paper": 1.0, "note": f"tiny, seeds {seeds}"}
result["headline"] = [entry]
result |= {"threads": int(os.environ["OMP_NUM_THREADS"]), "date": "", "commit": None, "dirty": None, "seconds": None}
_ = Path(out).write_text(json.dumps(result))
"""


def make(folder: Path) -> Path:
    """Put the notebook into `folder`/notebooks, its profiles too, and an empty `folder`/side; return `folder`."""
    (folder / "notebooks").mkdir(parents=True)
    (folder / "side").mkdir()
    tagged = new_code_cell(PARAMETERS.strip(), metadata={"tags": ["parameters"]})
    cells = [tagged, *(new_code_cell(source.strip()) for source in (START, FAIL, END))]
    nbformat.write(new_notebook(cells=cells), folder / "notebooks" / "01_tiny.ipynb")
    (folder / "notebooks" / "profiles.yaml").write_text("01_tiny:\n  slow: {lr: 0.5, wait: true}\n")
    return folder


def write_yaml(folder: Path, text: str) -> Path:
    """Write a sweep of the notebook, whose side folder is that of `folder`."""
    path = folder / "grid.yaml"
    path.write_text(f"notebook: 01_tiny\n{text}".replace("SIDE", str(folder / "side")), encoding="utf-8")
    return path


def start(folder: Path, *arguments: str) -> subprocess.Popen:
    """Start the sweep in `folder`, into `folder`/out; whoever edits the library meanwhile does not disturb it."""
    sweep = [sys.executable, "-m", "pruning_lib", "sweep", "grid.yaml", "--mix"]
    command = [*sweep, "--notebooks", "notebooks", "--out", "out"]
    (folder / "without").mkdir(exist_ok=True)  # jsonschema, if it finds this, compiles a grammar in every process
    (folder / "without" / "rfc3987_syntax.py").write_text("raise ImportError")
    path = os.pathsep.join(filter(None, [str(folder / "without"), str(CHECKOUT), os.environ.get("PYTHONPATH")]))
    process = subprocess.Popen(
        [*command, *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background job would ignore it
    )
    PROCESSES.append(process)
    return process


def kill_all() -> None:
    """End what a failing test left running."""
    while PROCESSES:
        PROCESSES.pop().kill()


def end(process: subprocess.Popen) -> tuple[int, str]:
    """Wait for the sweep; return its exit code and what it printed."""
    text, _ = process.communicate(timeout=900)
    return process.returncode, text


def started(folder: Path) -> list[list[str]]:
    """Return (lr, seed, fails, process, parent) of all starts so far."""
    path = folder / "side" / "started"
    return [line.split() for line in path.read_text().splitlines()] if path.exists() else []


def finished(folder: Path) -> set[str]:
    """Return the names of the runs that have results."""
    return {path.parent.name for path in (folder / "out").glob("[!.]*/results.json")}


def until(condition: Callable[[], bool], what: str) -> None:
    """Wait for `condition`, in the end fail."""
    limit = time.monotonic() + 600  # far beyond what it takes: only a broken sweep gets there
    while not condition():
        assert time.monotonic() < limit, f"never: {what}"
        time.sleep(0.02)


def alive(process: str) -> bool:
    """Whether the process of that number runs; a zombie does not."""
    try:
        return psutil.Process(int(process)).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
