"""One run of a sweep, and who may have a sweep's folder, without dask."""

import json
import threading
from contextlib import ExitStack, contextmanager
from pathlib import Path

import nbformat
import pytest
from click.testing import CliRunner
from distributed import LocalCluster
from tiny_sweeps import make, started, write_yaml

from pruning_lib.__main__ import main
from pruning_lib.reproduction import results
from pruning_lib.reproduction.attempt import attempt, complete
from pruning_lib.reproduction.run import Outcome, Run
from pruning_lib.reproduction.state import differences, state_of
from pruning_lib.reproduction.sweep import opened, ready, recorded
from pruning_lib.reproduction.sweep_file import read_sweep
from pruning_lib.teaching.publishing.pages import handout

resource = pytest.importorskip("resource")  # a file's size is limited by it, which Windows lacks
ENVIRONMENT = {"OMP_NUM_THREADS": "1"}
RESULT = dict.fromkeys(("device", "threads", "date", "commit", "dirty")) | {"versions": {}, "seconds": 1.0}
RESULT |= {"notebook": "01_tiny", "parameters": {}}
RESULT["headline"] = [{"name": "error", "value": 1.0, "unit": "", "paper": None, "note": ""}]


@pytest.fixture
def folder(tmp_path):
    return make(tmp_path / "sweep")


@pytest.fixture
def run(folder):
    """A run in the folder of a sweep."""
    (folder / "out").mkdir()
    source = folder / "notebooks" / "01_tiny.ipynb"
    return Run(source, "sweep", {"side": str(folder / "side")}, folder / "out" / "one")


def sweep_of(folder, text="seeds: [0, 1]\n"):
    return read_sweep(write_yaml(folder, text), folder / "out", folder / "notebooks")


def pretend(sweep, name):
    """Leave the results of a run that was done."""
    (sweep.folder / name).mkdir(parents=True)
    (sweep.folder / name / "results.json").write_text(json.dumps(RESULT))


def change(folder, cell, text):
    """Put `text` before a cell of the notebook."""
    path = folder / "notebooks" / "01_tiny.ipynb"
    notebook = nbformat.read(path, as_version=4)
    notebook.cells[cell].source = text + notebook.cells[cell].source
    nbformat.write(notebook, path)


def test_a_run_is_done_once_and_what_a_killed_attempt_left_goes(folder, run):
    (folder / "out" / ".one.12345678").mkdir()
    state = state_of(run.source, 1)
    assert attempt(run, state, ENVIRONMENT | {"HOME": "$HOME x"}) == ""
    assert complete(run.folder)
    assert json.loads(run.results.read_text())["threads"] == 1
    assert [path.name for path in (folder / "out").iterdir() if path.is_dir()] == ["one"]
    assert attempt(run, state, ENVIRONMENT) == ""
    assert len(started(folder)) == 1


@contextmanager
def limited(size):
    """Let no file grow beyond so many bytes; a kernel inherits that."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("limit", [500, 100000])
def test_a_full_disk_is_told_and_leaves_no_results(folder, run, limit):
    with limited(limit):
        failure = attempt(run, state_of(run.source, 1), ENVIRONMENT, page=handout)
    assert "[Errno 27] File too large" in failure and "\n" not in failure
    assert len(started(folder)) == (limit != 500)  # with 500 bytes the copy does not fit, with 100,000 the page
    assert not list((folder / "out").rglob("results.json"))
    assert not list((folder / "out").rglob(".results*"))


def test_a_folder_that_can_not_be_written_to_is_told(folder, run):
    (folder / "out").rmdir()
    (folder / "out").write_text("a file where a folder is due")
    failure = attempt(run, state_of(run.source, 1), ENVIRONMENT)
    assert failure.startswith("01_tiny failed: ") and "/out'" in failure and "\n" not in failure


def test_a_run_is_refused_where_something_has_changed(folder, run):
    state = state_of(run.source, 1)
    change(folder, 1, "# changed\n")
    assert (
        attempt(run, state, ENVIRONMENT) == "01_tiny did not start: since the sweep began, notebook 01_tiny has changed"
    )
    assert started(folder) == []
    assert not complete(run.folder)


def test_a_run_does_not_count_if_something_has_changed_meanwhile(folder, run, monkeypatch):
    def changing(run, *arguments):
        run.results.write_text(json.dumps(RESULT))
        change(folder, 1, "# changed\n")
        return Outcome(run, 1.0, RESULT)

    monkeypatch.setattr("pruning_lib.reproduction.attempt.execute", changing)
    failure = attempt(run, state_of(run.source, 1), ENVIRONMENT)
    assert failure == "01_tiny does not count: while it ran, notebook 01_tiny has changed"
    assert run.folder.exists() and not run.results.exists()
    assert failure in (run.folder / "log.txt").read_text()
    assert attempt(run, state_of(run.source, 1), ENVIRONMENT, check=False) == "" and complete(run.folder)


def test_a_state_is_code_and_versions_but_neither_texts_nor_outputs(folder):
    path = folder / "notebooks" / "01_tiny.ipynb"
    state = state_of(path, 1)
    notebook = nbformat.read(path, as_version=4)
    notebook.cells.insert(0, nbformat.v4.new_markdown_cell("text"))
    notebook.cells[2].outputs = [nbformat.v4.new_output("stream", text="x")]
    nbformat.write(notebook, path)
    assert differences(state, state_of(path, 1)) == ""
    assert differences(state, state_of(path, 2)) == "threads was 1, is 2"
    assert differences(state | {"torch": "2.0", "pruning_lib": ""}, state) == (
        f"pruning_lib has changed, torch was 2.0, is {state['torch']}"
    )


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("structure/new.py", True),
        ("comparison/new.py", True),
        ("workbench/checkpoints/new.safetensors", True),
        ("reproduction/new.py", False),
        ("teaching/widgets/new.js", False),
        ("structure/.new.py.swp", False),
        ("structure/.#new.py", False),
        ("structure/new.py~", False),
        (".ipynb_checkpoints/new.py", False),
        ("structure/__pycache__/new.cpython-311.pyc", False),
    ],
)
def test_a_state_is_the_librarys_own_files_that_compute(folder, monkeypatch, name, changes):
    monkeypatch.setattr("pruning_lib.reproduction.state.CHECKOUT", folder)
    path = folder / "pruning_lib" / name
    path.parent.mkdir(parents=True)
    before = state_of(folder / "notebooks" / "01_tiny.ipynb", 1)
    path.write_text("x = 1")
    assert (state_of(folder / "notebooks" / "01_tiny.ipynb", 1) != before) == changes


def test_another_sweep_may_not_have_the_folder(folder):
    sweep = sweep_of(folder)
    with opened(sweep):
        pass
    plan = (folder / "out" / "sweep.json").read_text()
    for other in ("seeds: [0, 1, 2]\n", "seeds: [0, 1]\nparameters: {lr: 0.3}\n"):
        with (
            pytest.raises(ValueError, match="out holds another sweep, of 01_tiny: choose another --out"),
            opened(sweep_of(folder, other)),
        ):
            pass
    assert (folder / "out" / "sweep.json").read_text() == plan
    with opened(sweep):
        pass


def test_the_same_sweep_may_not_run_twice_at_a_time(folder):
    sweep = sweep_of(folder)
    with opened(sweep), pytest.raises(ValueError, match="a sweep is running in .*out: wait for it"), opened(sweep):
        pass
    with opened(sweep):
        pass


def test_a_folder_with_something_else_in_it_is_refused_and_stays(folder):
    (folder / "out").mkdir()
    (folder / "out" / "thesis.txt").touch()
    with pytest.raises(ValueError, match="must be a new or empty folder"), opened(sweep_of(folder)):
        pass
    assert [path.name for path in (folder / "out").iterdir()] == ["thesis.txt"]


def test_a_folder_that_can_not_be_made_is_refused(folder):
    (folder / "out").write_text("a file")
    with (
        pytest.raises(ValueError, match="out is .*out', must be a writable folder: File exists"),
        opened(sweep_of(folder)),
    ):
        pass


def test_results_of_changed_code_are_not_mixed_unless_asked_for(folder):
    sweep = sweep_of(folder)
    with opened(sweep):
        pass
    change(folder, 1, "# changed before any result\n")
    with opened(sweep):
        pass
    pretend(sweep, next(iter(sweep.runs)))
    with opened(sweep):
        pass
    change(folder, 1, "# changed after one\n")
    with (
        pytest.raises(ValueError, match=r"since .*out was begun, notebook 01_tiny has changed: start anew .*--mix"),
        opened(sweep),
    ):
        pass
    with opened(sweep, mix=True):
        pass
    assert len(json.loads((folder / "out" / "sweep.json").read_text())["states"]) == 2


def test_what_is_expected_after_the_runs_is_told_for_good(folder):
    def late(tolerance):
        sweep = sweep_of(folder, f"seeds: [0, 1]\nexpected: [{{quantity: error, tolerance: {tolerance}}}]\n")
        with opened(sweep):
            plan = json.loads((folder / "out" / "sweep.json").read_text())
        assert plan["expected"][0]["tolerance"] == tolerance
        return plan["expected_late"]

    assert [late(1), late(2)] == [False, False]
    sweep = sweep_of(folder)
    for name in sweep.runs:
        pretend(sweep, name)
    assert [late(2), late(3), late(3), late(2)] == [False, True, True, True]
    assert json.loads(recorded(sweep).read_text())["settings"]["expected_late"] is True


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"notebook": "a"}', 100000 * "["])
def test_a_plan_that_is_none_is_refused_by_name(folder, text):
    (folder / "out").mkdir()
    (folder / "out" / "sweep.json").write_text(text)
    with pytest.raises(ValueError, match=r"out/sweep\.json is no plan of a sweep"), opened(sweep_of(folder)):
        pass
    assert (folder / "out" / "sweep.json").read_text() == text


def test_what_a_killed_sweep_left_half_written_is_no_content(folder):
    (folder / "out").mkdir()
    (folder / "out" / ".sweep.json.x1y2.json").write_text("{")
    with opened(sweep_of(folder)):
        pass
    assert (folder / "out" / "sweep.json").exists()


def test_the_record_waits_for_all_runs(folder):
    sweep = sweep_of(folder)
    with opened(sweep):
        first, second = sweep.runs
        pretend(sweep, first)
        assert recorded(sweep) is None
        pretend(sweep, second)
        content = json.loads(recorded(sweep).read_text())
    assert [(run["run"], run["given"]) for run in content["runs"]] == list(sweep.runs.items())
    assert content["seconds"] == 2.0


@pytest.mark.parametrize("name", ["sweep.json", "record.json"])
def test_a_full_disk_ends_the_sweep_in_one_line(folder, monkeypatch, name):
    def full(path, *arguments, **settings):
        if path.name.startswith(f".{name}."):
            raise OSError(28, "No space left on device")
        return write(path, *arguments, **settings)

    write, sweep = Path.write_text, sweep_of(folder)
    for run in sweep.runs:
        pretend(sweep, run)
    results.write_json(sweep.folder / "sweep.json", sweep.plan | {"expected": [], "states": []})
    monkeypatch.setattr(Path, "write_text", full)
    arguments = ["sweep", folder / "grid.yaml", "--notebooks", folder / "notebooks", "--out", folder / "out"]
    answer = CliRunner().invoke(main, list(map(str, arguments)))
    assert (answer.exit_code, answer.stderr.count("\n")) == (1, 1)
    assert f"Error: {folder / 'out' / name}: No space left on device; the same command goes on" in answer.stderr


def test_a_scheduler_without_workers_is_refused(folder, monkeypatch):
    monkeypatch.setattr("pruning_lib.reproduction.sweep.ANSWER_SECONDS", 1)
    with LocalCluster(n_workers=0, processes=False, protocol="tcp", dashboard_address=None) as cluster:
        address = cluster.scheduler_address
        message = (
            f"scheduler '{address}' has no workers, must have one; to start it: dask worker {address} --nthreads 1"
        )
        with ExitStack() as stack, pytest.raises(ValueError, match=message):
            ready(stack, sweep_of(folder), scheduler=address)
    assert not (folder / "out").exists()


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:1", "nonsense", "tcp://127.0.0.1:port"])
def test_a_scheduler_that_does_not_answer_is_refused_before_anything_starts(folder, monkeypatch, address):
    monkeypatch.setattr("pruning_lib.reproduction.sweep.ANSWER_SECONDS", 1)
    before = set(threading.enumerate())
    with ExitStack() as stack, pytest.raises(ValueError, match=f"scheduler is '{address}', must answer within 1 s"):
        ready(stack, sweep_of(folder), scheduler=address)
    assert not (folder / "out").exists()
    assert not any(thread.name == "IO loop" for thread in set(threading.enumerate()) - before)
