"""Sweeps as processes of their own, which are killed, interrupted and started again."""

import json
import os
import signal
import subprocess
import sys

import pytest
from distributed import Client
from tiny_sweeps import alive, end, finished, kill_all, make, start, started, until, write_yaml

TWELVE = "parameters: {side: SIDE}\ngrid: {lr: [0.1, 0.2, 0.3, 0.4]}\nseeds: [0, 1, 2]\n"
TWO = "parameters: {side: SIDE, wait: true}\nseeds: [0, 1]\n"


@pytest.fixture
def folder(tmp_path):
    yield make(tmp_path / "sweep")
    kill_all()


def numbers(folder):
    """Run -> headline numbers."""
    return {
        name: json.loads((folder / "out" / name / "results.json").read_text())["headline"] for name in finished(folder)
    }


def test_a_killed_sweep_goes_on_where_it_was(folder):
    write_yaml(folder, TWELVE)
    process = start(folder)
    until(lambda: len(finished(folder)) >= 5, "five results")
    process.kill()
    process.communicate()
    before = started(folder)
    until(lambda: not any(alive(number) for line in before for number in line[3:]), "workers and kernels end")
    complete = finished(folder)
    assert len(complete) < 12
    assert not (folder / "out" / "record.json").exists()

    code, text = end(start(folder))
    assert code == 0, text
    assert len(finished(folder)) == 12
    names = json.loads((folder / "out" / "sweep.json").read_text())["runs"]
    starts = [(float(lr), int(seed)) for lr, seed, *_ in started(folder)]
    assert len(set(starts)) == 12
    for name in complete:
        assert starts.count((names[name]["lr"], names[name]["seeds"][0])) == 1
    assert len(starts) == len(before) + 12 - len(complete)
    record = json.loads((folder / "out" / "record.json").read_text())
    assert sorted(run["headline"][0]["value"] for run in record["runs"]) == sorted(
        lr + seed for lr, seed in set(starts)
    )
    assert not [path.name for path in (folder / "out").glob(".lr*")]  # what killed attempts left is gone

    code, text = end(start(folder))
    assert (code, len(started(folder))) == (0, len(starts))


def test_a_killed_worker_loses_no_run_and_its_kernel_ends(folder):
    write_yaml(folder, TWO)
    process = start(folder)
    until(lambda: len(started(folder)) == 2, "both runs start")
    lr, seed, _, kernel, worker = started(folder)[0]
    os.kill(int(worker), signal.SIGKILL)
    until(lambda: len(started(folder)) == 3, "the run starts again")
    assert started(folder)[2][:2] == [lr, seed]
    until(lambda: not alive(kernel), "the kernel ends")
    (folder / "side" / "go").touch()
    code, text = end(process)
    assert code == 0, text
    assert len(finished(folder)) == 2
    assert len(started(folder)) == 3


def test_a_failing_run_is_tried_twice_and_the_others_go_on(folder):
    write_yaml(folder, "parameters: {side: SIDE}\ngrid: {fails: [9, 1, 0]}\n")
    code, text = end(start(folder))
    assert code == 1
    assert sorted(line[2] for line in started(folder)) == ["0", "1", "1", "9", "9"]
    assert text.count("once more") == 2
    assert text.startswith("0:00:00  0 done, 0 failed, 3 left; now: none\n")
    assert {name.rsplit("-", 1)[0] for name in finished(folder)} == {"fails-0", "fails-1"}
    last = text.strip().split("\n")[-2:]
    assert last[0] == "1 of 3 failed:"
    assert "01_tiny failed in cell 3 of 4 (times = [" in last[1] and last[1].endswith("AssertionError: start 2")
    (failed,) = (folder / "out").glob("fails-9-*")
    assert {path.name for path in failed.iterdir()} == {"01_tiny.ipynb", "log.txt", "parameters.json"}
    assert "AssertionError: start 2" in (failed / "log.txt").read_text()
    (good,) = (folder / "out").glob("fails-1-*")
    assert {path.name for path in good.iterdir()} == {
        *("01_tiny.ipynb", "01_tiny.html", "log.txt", "parameters.json", "results.json")
    }
    assert json.loads((good / "parameters.json").read_text())["parameters"]["fails"] == 1
    assert "2 done, 0 failed, 1 left; now: fails-9-" in text or "1 done, 0 failed, 2 left; now: " in text


def test_an_interrupt_stops_and_says_how_to_go_on(folder):
    write_yaml(folder, TWO)
    process = start(folder)
    until(lambda: len(started(folder)) == 2, "both runs start")
    process.send_signal(signal.SIGINT)
    code, text = end(process)
    assert code == 130, text
    assert "\nstopped; the same command goes on where it stopped\n" in text
    assert "Traceback" not in text
    until(lambda: not any(alive(number) for line in started(folder) for number in line[3:]), "all processes end")
    assert finished(folder) == set()


def test_a_scheduler_started_elsewhere_gives_the_same_results(folder, tmp_path):
    write_yaml(folder, "parameters: {side: SIDE}\ngrid: {lr: [0.25, 0.3]}\nseeds: [1]\n")
    assert end(start(folder))[0] == 0
    local = numbers(folder)
    (folder / "out").rename(folder / "local")
    place, quiet = tmp_path / "scheduler.json", {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    dask, common = [sys.executable, "-m", "dask"], ["--scheduler-file", str(place), "--no-dashboard"]
    processes = [subprocess.Popen([*dask, "scheduler", *common, "--port", "0", "--host", "127.0.0.1"], **quiet)]
    try:
        until(place.exists, "the scheduler is up")
        worker = [*dask, "worker", *common, "--nthreads", "1", "--local-directory", str(tmp_path / "dask")]
        processes += [subprocess.Popen(worker, **quiet) for _ in range(2)]
        address = json.loads(place.read_text())["address"]
        with Client(address, set_as_default=False) as client:
            client.wait_for_workers(2, timeout=600)
        code, text = end(start(folder, "--scheduler", address, "--threads", "1"))
    finally:
        for process in reversed(processes):
            process.terminate()
        for process in processes:
            process.wait(60)
    assert code == 0, text
    assert len(local) == 2
    assert numbers(folder) == local
