"""First contact: what make says before it fetches anything, and what it does once it was stopped; with stubs only."""

import os
import re
import shutil
import subprocess

import pytest

from pruning_lib.files import CHECKOUT

pytestmark = pytest.mark.skipif(not shutil.which("make"), reason="needs make")

# Stands for Python, pip and uv: notes how it was called, and makes an environment with itself in it.
STUB = """#!/bin/sh
echo "${0##*/} $*" >> "$CALLS"
case "$*" in
*"-m venv"*) for folder; do :; done; rm -rf "$folder"; mkdir -p "$folder/bin"
  cp "$0" "$folder/bin/python"; cp "$0" "$folder/bin/uv" ;;
*"-r requirements.txt"*) [ -z "$STOPPED" ] ;;
*"--torch-backend cpu"*) [ -z "$UNREACHABLE" ] ;;
esac
"""
DF = """#!/bin/sh
echo "Filesystem 1024-blocks Used Available Capacity Mounted"
echo "/dev/disk 99 9 $FREE 9% /"
"""


@pytest.fixture
def clone(tmp_path):
    """A checkout's Makefile beside a stub of Python 3.11 and a disk with as much room as a test says."""
    for name in ("Makefile", "requirements.txt", "pyproject.toml"):
        shutil.copyfile(CHECKOUT / name, tmp_path / name)
    for name, text in (("python3", STUB), ("df", DF), ("python3.8", "#!/bin/sh\nexit 1\n")):
        file = tmp_path / "bin" / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
        file.chmod(0o755)
    return tmp_path


def make(clone, *words, free=100, **variables):
    """Call make with `free` GB on the disk; return its exit code, what it printed, and the calls of the stub."""
    calls = clone / "calls"
    calls.write_text("")
    system = os.pathsep.join([str(clone / "bin"), "/usr/bin", "/bin"])
    environment = {"PATH": system, "HOME": str(clone), "CALLS": str(calls), "FREE": str(free << 20)} | variables
    done = subprocess.run(["make", *words], cwd=clone, env=environment, capture_output=True, text=True)
    return done.returncode, done.stdout, calls.read_text().splitlines()


def test_alone_it_prints_help_and_makes_nothing(clone):
    code, text, calls = make(clone)
    targets = re.search(r"^\.PHONY: help (.+)$", (clone / "Makefile").read_text(), re.MULTILINE)[1].split()
    assert (code, calls) == (0, [])
    assert set(targets) - set(re.findall(r"^make (\S+)", text, re.MULTILINE)) == {"clean"}


@pytest.mark.parametrize("python", ["python9", "python3.8"])
def test_a_python_that_is_missing_or_too_old_is_said_in_one_line(clone, python):
    code, text, calls = make(clone, "run", f"PYTHON={python}")
    assert (code, calls) == (2, [])
    assert (
        text == f"PYTHON is '{python}', must be a Python 3.11 to 3.13 with venv (on Debian and Ubuntu python3-venv)\n"
    )


@pytest.mark.parametrize(
    ("words", "free", "needed"), [((), 2, "7 (3 with TORCH=cpu)"), ((), 6, "7 (3 with"), (("TORCH=cpu",), 2, "3;")]
)
def test_too_little_room_is_said_in_one_line_before_anything_is_fetched(clone, words, free, needed):
    code, text, calls = make(clone, "run", *words, free=free)
    assert code == 2
    assert text.startswith(f"The disk at / has {free}.0 GB free, must have {needed}") and text.count("\n") == 1
    assert len(calls) == 1 and "-c import" in calls[0]
    assert not list(clone.glob(".venv*"))


def test_enough_room_or_the_check_left_out_sets_up(clone):
    for words, free in (((), 7), (("TORCH=cpu",), 3), (("GB=0",), 0)):
        code, _, calls = make(clone, "check", *words, free=free)
        assert code == 2  # the stub installs no ruff
        assert any("pip install" in call and "--editable ." in call for call in calls)
        shutil.rmtree(next(clone.glob(".venv*")))


def test_what_was_stopped_is_made_anew_without_asking_for_room_again(clone):
    code, _, calls = make(clone, "check", STOPPED="1")
    assert code == 2 and not any("--editable" in call for call in calls)
    assert (clone / ".venv" / ".unfinished").exists() and not (clone / ".venv" / ".ready").exists()
    half = clone / ".venv" / "half a package"
    half.touch()
    _, _, calls = make(clone, "check", free=1)
    assert any("-m venv --clear .venv" in call for call in calls) and not half.exists()
    assert (clone / ".venv" / ".ready").exists() and not (clone / ".venv" / ".unfinished").exists()
    _, _, calls = make(clone, "check", free=1)
    assert calls == []


def test_cpu_builds_that_cannot_be_had_are_said_with_what_to_do_instead(clone):
    code, text, calls = make(clone, "check", "TORCH=cpu", UNREACHABLE="1")
    assert code == 2 and text.splitlines()[-1].startswith("PyTorch's CPU builds can't be had")
    assert "Leave out TORCH=cpu (7 GB)" in text and not any("-r -" in call or "--editable" in call for call in calls)
    assert not (clone / ".venv-cpu" / ".ready").exists()
    _, _, calls = make(clone, "check", "TORCH=cpu")
    assert not any("-m venv" in call for call in calls), "what was put in by hand is kept"
    assert (clone / ".venv-cpu" / ".ready").exists()


def test_bench_leaves_out_what_takes_long(clone):
    (clone / "benchmarks").mkdir()
    for file in (CHECKOUT / "benchmarks").glob("*.py"):
        (clone / "benchmarks" / file.name).touch()
    _, said, _ = make(clone, "-n", "bench")
    runs = set(re.findall(r"benchmarks/(\w+)\.py", said))
    assert {"two_four", "obs"} <= runs
    long = {"monks", "snip_controls", "sparsegpt_hub", "sss_controls", "sss_frontier", "surgeon", "two_four_retraining"}
    assert not runs & (long | {"two_four_gpu"})
