"""Sweeps that are killed, interrupted and started again, and whose runs fail."""

import json
import os
import re
import signal
from contextvars import Context

import pytest
from click.testing import CliRunner
from distributed import LocalCluster
from tiny_sweeps import alive, end, finished, kill_all, make, start, started, until, write_yaml

from pruning_lib.__main__ import main
from pruning_lib.reproduction.progress import Progress


@pytest.fixture
def folder(tmp_path):
    yield make(tmp_path / "sweep")
    kill_all()


@pytest.fixture(scope="module")
def address():
    """A scheduler with two workers, which the sweep did not start."""
    settings = {"n_workers": 2, "threads_per_worker": 1, "processes": False, "protocol": "tcp"}
    # In a context of its own: its threads would else take over the event loop that a test before has used.
    with Context().run(LocalCluster, dashboard_address=None, **settings) as cluster:
        yield cluster.scheduler_address


def sweep(folder, *arguments):
    """Do the sweep in this process; return its exit code and what it printed."""
    places = ["--notebooks", folder / "notebooks", "--out", folder / "out"]
    answer = CliRunner().invoke(main, list(map(str, ["sweep", folder / "grid.yaml", *places, *arguments])))
    return answer.exit_code, answer.output


def test_a_killed_sweep_goes_on_where_it_was_and_a_killed_worker_loses_no_run(folder):
    write_yaml(folder, "parameters: {side: SIDE, late: 0.2}\ngrid: {lr: [0.1, 0.2, 0.3]}\nseeds: [0]\n")
    process = start(folder, "--workers", "1")
    until(lambda: len(finished(folder)) == 1 and len(started(folder)) == 2, "one result, and the next run starts")
    process.kill()
    process.communicate()
    until(lambda: not any(alive(number) for line in started(folder) for number in line[3:]), "worker and kernels end")
    complete = finished(folder)
    assert len(complete) == 1 and [line[0] for line in started(folder)] == ["0.1", "0.2"]
    assert not (folder / "out" / "record.json").exists()
    assert list((folder / "out").glob(".lr-0.2*"))  # what the killed attempt left

    process = start(folder)
    until(lambda: len(started(folder)) == 4, "both other runs start")
    lr, seed, _, kernel, worker = started(folder)[2]
    os.kill(int(worker), signal.SIGKILL)
    until(lambda: len(started(folder)) == 5, "the run starts again")
    assert started(folder)[4][:2] == [lr, seed]
    until(lambda: not alive(kernel), "the kernel ends")
    (folder / "side" / "go").touch()
    code, text = end(process)
    assert code == 0, text
    assert len(finished(folder)) == 3 and finished(folder) > complete
    starts = [line[0] for line in started(folder)]
    assert len(starts) == 5 and starts.count("0.1") == 1 and set(starts) == {"0.1", "0.2", "0.3"}
    record = json.loads((folder / "out" / "record.json").read_text())
    assert sorted(run["headline"][0]["value"] for run in record["runs"]) == [0.1, 0.2, 0.3]
    assert not [path.name for path in (folder / "out").glob(".lr*")]  # what killed attempts left is gone

    code, text = sweep(folder, "--mix")
    assert (code, len(started(folder))) == (0, 5)


def test_an_interrupt_stops_and_says_how_to_go_on(folder):
    write_yaml(folder, "parameters: {side: SIDE, wait: true}\nseeds: [0, 1]\n")
    process = start(folder, "--workers", "1")
    until(lambda: len(started(folder)) == 1, "a run starts")
    process.send_signal(signal.SIGINT)
    code, text = end(process)
    assert code == 130, text
    assert "\nstopped; the same command goes on where it stopped\n" in text
    assert "Traceback" not in text
    until(lambda: not any(alive(number) for line in started(folder) for number in line[3:]), "all processes end")
    assert finished(folder) == set() and len(started(folder)) == 1


def test_a_failing_run_is_tried_twice_and_the_others_go_on(folder, address):
    write_yaml(folder, "parameters: {side: SIDE}\ngrid: {fails: [9, 1]}\nseeds: [1]\n")
    code, text = sweep(folder, "--scheduler", address, "--mix")
    assert code == 1, text
    assert sorted(line[2] for line in started(folder)) == ["1", "1", "9", "9"]
    assert text.count("once more") == 2
    assert re.match(r"0:\d\d:\d\d  0 done, 0 failed, 2 left; now: none\n", text)
    assert {name.rsplit("_", 1)[0] for name in finished(folder)} == {"fails-1"}
    *_, status, _, heading, failure = re.split(r"\n+", text.strip())
    assert status.endswith("  1 done, 1 failed, 0 left; now: none")
    assert heading == "1 of 2 failed:"
    assert "01_tiny failed in cell 3 of 4 (times = [" in failure and failure.endswith("AssertionError: start 2")
    (failed,) = (folder / "out").glob("fails-9_*")
    assert {path.name for path in failed.iterdir()} == {"01_tiny.ipynb", "log.txt", "parameters.json"}
    assert "AssertionError: start 2" in (failed / "log.txt").read_text()
    (good,) = (folder / "out").glob("fails-1_*")
    assert {path.name for path in good.iterdir()} == {
        *("01_tiny.ipynb", "01_tiny.html", "log.txt", "parameters.json", "results.json")
    }
    assert json.loads((good / "parameters.json").read_text())["parameters"]["fails"] == 1
    results = json.loads((good / "results.json").read_text())
    entry = {"name": "error", "value": 1.1, "unit": "%", "paper": 1.0, "note": "tiny, seeds [1]"}
    assert (results["headline"], results["threads"]) == ([entry], 1)


def test_progress_counts_runs_and_names_those_that_are_on(capsys):
    lines = []

    def after(call, *arguments):
        answer = call(*arguments)
        lines.append(re.sub(r"\d+:\d\d:\d\d", "time", capsys.readouterr().err))
        return answer

    progress = after(Progress, 3, 1)
    after(progress.told, "a", "01_tiny starts on here, process 1")
    after(progress.told, "a", "01_tiny: cell 2 of 4  x = 1")
    after(progress.again, "a", "failed")
    after(progress.told, "a", "01_tiny starts on here, process 2")
    after(progress.told, "b", "01_tiny: cell 1 of 4  y")
    after(progress.ended, "a", "failed")
    after(progress.told, "a", "a line that is late")
    after(progress.ended, "b", "")
    assert lines == [
        "time  1 done, 0 failed, 2 left; now: none\n",
        "time  1 done, 0 failed, 2 left; now: a\n",
        "",
        "a: failed; once more\ntime  1 done, 0 failed, 2 left; now: none\n",
        "time  1 done, 0 failed, 2 left; now: a\n",
        "time  1 done, 0 failed, 2 left; now: a, b\n",
        "a: failed\ntime  1 done, 1 failed, 1 left; now: b\n",
        "",
        "b: done\ntime  2 done, 1 failed, 0 left; now: none\n",
    ]
    progress.live = True
    after(progress.told, "c", "01_tiny: cell 3 of 4  z = 1")
    after(progress.close)
    assert lines[-2:] == ["\r\033[Ktime  2 done, 1 failed, 0 left; now: c (cell 3 of 4)", "\n"]
