import json
import sys
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pytest
from click.testing import CliRunner

from pruning_lib.__main__ import main
from pruning_lib.reproduction.run import Outcome, Run, execute, headline_table, plan
from pruning_lib.teaching.publishing.pages import handout

NASTY = "a \"quoted\" 'b' \\ {c} $d é\n# e = 1"


@pytest.fixture(scope="module")
def ran(shared, tmp_path_factory):
    """Two notebooks run from the command line, one of which fails, where another `python3` kernel is installed."""
    base = tmp_path_factory.mktemp("ran")
    kernel = base / "kernels" / "python3" / "kernel.json"
    kernel.parent.mkdir(parents=True)
    kernel.write_text(json.dumps({"argv": ["/nowhere/python"], "display_name": "Other", "language": "python"}))
    out = base / "runs {x}"
    for name in ("01_good", "02_bad"):
        (out / name / "smoke").mkdir(parents=True)
        (out / name / "smoke" / "results.json").write_text("stale")
        (out / name / "smoke" / f"{name}.html").write_text("stale")
    arguments = ["run", "02_bad", "01_good", "02_bad", "--notebooks", str(shared), "--out", str(out)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JUPYTER_PATH", str(base))
        answer = CliRunner().invoke(main, [*arguments, "-p", "name", NASTY, "-p", "sparsity", "0"])
    good, bad = (SimpleNamespace(folder=out / name / "smoke") for name in ("01_good", "02_bad"))
    for each, name in ((good, "01_good"), (bad, "02_bad")):
        each.copy = nbformat.read(each.folder / f"{name}.ipynb", as_version=4)
        each.page, each.results = each.folder / f"{name}.html", each.folder / "results.json"
    return SimpleNamespace(answer=answer, good=good, bad=bad)


def test_profile_and_command_line_reach_the_notebook(ran):
    result = json.loads(ran.good.results.read_text(encoding="utf-8"))
    assert result["parameters"] == {"sparsity": 0.0, "name": NASTY}
    assert result["headline"][0]["value"] == 1  # the profile's steps × (1 - the command line's sparsity)
    assert result["seconds"] > 0


def test_the_kernel_is_this_interpreter(ran):
    assert ran.good.copy.cells[3].outputs[0].text.strip() == sys.executable


def test_a_good_run_leaves_copy_and_page(ran):
    assert not any("An Exception was encountered" in cell.source for cell in ran.good.copy.cells)
    assert "Title" in ran.good.page.read_text(
        encoding="utf-8"
    ) and "an exercise not yet solved" in ran.good.page.read_text(encoding="utf-8")


def test_a_copy_holds_the_state_of_its_widgets(ran):
    states = ran.good.copy.metadata.widgets["application/vnd.jupyter.widget-state+json"]["state"].values()
    assert [model["state"]["value"] for model in states if model["model_name"] == "IntSliderModel"] == [7]


def test_a_failing_run_leaves_the_copy_with_its_error_and_nothing_stale(ran):
    outputs = [output for cell in ran.bad.copy.cells for output in cell.get("outputs", [])]
    assert [output.ename for output in outputs if output.output_type == "error"] == ["ZeroDivisionError"]
    assert [path.name for path in ran.bad.folder.iterdir()] == ["02_bad.ipynb"]


def test_failures_are_named_after_the_others_ran(ran):
    assert ran.answer.exit_code == 1
    last = ran.answer.stderr.strip().split("\n")[-2:]
    assert last[0] == "1 of 2 failed:"
    assert last[1].strip() == "02_bad failed in cell 4 of 4 (first / 0): ZeroDivisionError: division by zero"


def test_the_table_and_the_folders_are_printed(ran):
    lines = ran.answer.stdout.strip().split("\n")
    assert lines[0].split() == ["notebook", "quantity", "ours", "paper", "unit", "setting"]
    assert lines[1].split() == ["01_good", "kept", "1", "0.25", "%", "tiny"]
    assert [line.split(":")[0] for line in lines[3:]] == ["02_bad", "01_good"]
    assert lines[4].endswith(str(ran.good.folder))


def test_progress_is_told_in_plain_lines_numbered_as_in_the_notebook(ran):
    assert "01_good: cell 3 of 5  import sys; print(sys.executable)" in ran.answer.stderr.split("\n")
    assert "injected" not in ran.answer.stderr


def test_the_copy_is_written_while_the_notebook_runs(folder, notebook_of, tmp_path, monkeypatch):
    monkeypatch.setattr("pruning_lib.reproduction.run._SAVE_SECONDS", 0)
    look = "from pathlib import Path\nprint('an early output' in Path(out).with_name('04_looks.ipynb').read_text())"
    nbformat.write(notebook_of("print('an early', 'output')", look), folder / "04_looks.ipynb")
    (run,) = plan(["04_looks"], out=tmp_path, notebooks=folder)
    execute(run)
    assert nbformat.read(run.copy, as_version=4).cells[-1].outputs[0].text == "True\n"


def test_a_committed_notebook_runs_with_what_it_is_given(tmp_path):
    (run,) = plan(["01_taxonomy"], given={"epochs": "2", "seeds": "[5]"}, out=tmp_path)  # the cheapest, made cheaper
    outcome = execute(run, print, page=handout)
    assert outcome.failure == ""
    result = json.loads(run.results.read_text(encoding="utf-8"))
    assert result == outcome.results
    assert result["parameters"] == {"data": "digits", "epochs": 2, "sparsity": 0.95, "seeds": [5]}
    values = {entry["name"]: entry["value"] for entry in result["headline"]}
    dense, *others = (value for name, value in values.items() if name.startswith("LeNet-300-100, "))
    assert len(others) == 3 and 20 < max(others) < dense < 100
    kept = [value for name, value in values.items() if name.startswith("Σ|w| of conv2 kept by ")]
    assert len(kept) == 5 and kept == sorted(kept, reverse=True)
    (injected,) = (
        cell
        for cell in nbformat.read(run.copy, as_version=4).cells
        if "injected-parameters" in cell.metadata.get("tags", [])
    )
    assert injected.source.splitlines()[1:] == ["epochs = 2", "seeds = [5]", f'out = "{run.results}"']
    page = run.page.read_text(encoding="utf-8")
    assert "<title>1 · What can be removed from a network" in page and "data:image/png" in page


def test_a_run_without_results_fails(shared, tmp_path):
    (run,) = plan(["03_silent"], out=tmp_path, notebooks=shared)
    outcome = execute(run)
    assert outcome.failure == "03_silent ended without writing its results: its last cell must call results.write"
    assert outcome.results is None


def test_a_dead_kernel_is_told_and_in_the_copy(folder, notebook_of, tmp_path):
    nbformat.write(notebook_of("import os", "os._exit(3)"), folder / "04_dies.ipynb")
    (run,) = plan(["04_dies"], out=tmp_path, notebooks=folder)
    assert execute(run).failure == "04_dies failed in cell 4 of 4 (os._exit(3)): DeadKernelError: Kernel died"
    assert nbformat.read(run.copy, as_version=4).cells[-1].outputs[-1].ename == "DeadKernelError"


def full_from(write, monkeypatch):
    """Let the disk be full when a notebook is written for the time of that number."""
    times, save = [], nbformat.write

    def limited(notebook, path):
        times.append(path)
        if len(times) < write:
            return save(notebook, path)
        Path(path).write_text('{"cells": [')
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("nbformat.write", limited)


def test_a_copy_that_a_full_disk_cut_off_is_removed(shared, tmp_path, monkeypatch):
    (run,) = plan(["01_good"], out=tmp_path, notebooks=shared)
    full_from(1, monkeypatch)
    assert execute(run).failure == "01_good failed: OSError: [Errno 28] No space left on device"
    assert list(run.folder.iterdir()) == []


@pytest.mark.parametrize("before", ["", "01_good failed in cell 4 of 5 (x): DeadKernelError: Kernel died"])
def test_a_copy_that_can_not_be_completed_stays_as_it_was(shared, tmp_path, monkeypatch, before):
    (run,) = plan(["01_good"], out=tmp_path, notebooks=shared)
    full_from(2, monkeypatch)
    monkeypatch.setattr("pruning_lib.reproduction.execution.execute_cells", lambda *_: (before, False))
    failure = execute(run, print).failure
    assert (
        failure == f"{before or '01_good failed'}{'; ' if before else ': '}OSError: [Errno 28] No space left on device"
    )
    assert [path.name for path in run.folder.iterdir()] == ["01_good.ipynb"]
    assert len(nbformat.read(run.copy, as_version=4).cells) > 3


def test_a_run_that_fails_at_last_leaves_no_results(shared, tmp_path, monkeypatch):
    def fail(notebook):
        raise OSError(28, "No space left on device")

    (run,) = plan(["01_good"], out=tmp_path, notebooks=shared)
    monkeypatch.setattr(
        "pruning_lib.reproduction.execution.execute_cells", lambda *_: (run.results.touch() or "", False)
    )
    assert execute(run, print, page=fail).failure == "01_good ran, but: [Errno 28] No space left on device"
    assert [path.name for path in run.folder.iterdir()] == ["01_good.ipynb"]


def test_an_interrupt_saves_the_copy_and_starts_nothing_more(shared, tmp_path, monkeypatch):
    def interrupting(line):
        if "cell 4" in line:
            raise KeyboardInterrupt

    monkeypatch.setattr("pruning_lib.__main__.progress", interrupting)
    arguments = ["run", "03_silent", "01_good", "--notebooks", str(shared), "--out", str(tmp_path)]
    answer = CliRunner().invoke(main, arguments)
    assert answer.exit_code == 130
    assert "03_silent was interrupted in cell 4 of 4 (second = 2): KeyboardInterrupt" in answer.stderr
    copy = nbformat.read(tmp_path / "03_silent" / "smoke" / "03_silent.ipynb", as_version=4)
    assert (copy.cells[3].execution_count, copy.cells[-1].outputs[-1].ename) == (3, "KeyboardInterrupt")
    assert list((tmp_path / "01_good" / "smoke").iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["02_snip"], "notebook is '02_snip', must be one of 01_good, 02_bad, 03_silent or all"),
        (["01_good", "--profile", "lecture"], "profile of 01_good is 'lecture', must be one of smoke, paper"),
        (["all", "--profile", "paper"], "profile of 02_bad is 'paper', must be one of smoke, lecture"),
        (
            ["01_good", "-p", "sparsty", "1"],
            "01_good: parameter is 'sparsty', must be one of sparsity: float, steps: int",
        ),
        (["01_good", "-p", "steps", "1.5"], "01_good: steps is 1.5, must be of type int"),
        (["01_good", "-p", "counts", "[1"], "counts is '[1', must be YAML"),
        (["01_good", "-p", "out", "x"], "'out' is set by the runner"),
        (["01_good", "-p", "steps", "1", "-p", "steps", "2"], "-p steps is given twice"),
    ],
)
def test_wrong_input_is_refused_in_one_line_before_anything_starts(shared, tmp_path, arguments, message):
    answer = CliRunner().invoke(main, ["run", *arguments, "--notebooks", str(shared), "--out", str(tmp_path / "runs")])
    assert answer.exit_code == 2
    assert answer.stderr.startswith("Error: ") and answer.stderr.count("\n") == 1
    assert message in answer.stderr
    assert not (tmp_path / "runs").exists()


def test_an_out_that_can_not_be_written_to_is_refused(shared, tmp_path):
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "01_good").write_text("a file where a folder is due")
    with pytest.raises(ValueError, match=r"out is '.*runs.01_good.smoke', must be a writable folder: "):
        plan(["01_good"], out=tmp_path / "runs", notebooks=shared)


def test_a_folder_without_notebooks_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"notebooks is .*, must be a folder with \.ipynb files"):
        plan(["all"], out=tmp_path / "runs", notebooks=tmp_path)


def test_all_is_every_notebook_once_each_with_its_own_folder(shared, tmp_path):
    runs = plan(["all", "02_bad"], out=tmp_path, notebooks=shared)
    assert [run.name for run in runs] == ["01_good", "02_bad", "03_silent"]
    assert runs[1].copy == tmp_path.resolve() / "02_bad" / "smoke" / "02_bad.ipynb"
    assert [run.parameters for run in runs] == [{"steps": 1}, {}, {}]


def test_the_command_line_goes_before_the_profile(shared, tmp_path):
    (run,) = plan(["01_good"], "paper", {"steps": "7"}, tmp_path, shared)
    assert run.parameters == {"sparsity": 1.0, "steps": 7}


def test_table_aligns_numbers_to_the_right_and_leaves_out_what_the_paper_does_not_give():
    entries = [
        {"name": "short", "value": 0.123456, "unit": "", "paper": None, "note": ""},
        {"name": "a longer one", "value": 1234567, "unit": "MACs", "paper": 2, "note": "digits"},
    ]
    run = Run(Path("02_snip.ipynb"), "smoke", {}, Path())
    assert headline_table([Outcome(run, 1.0, {"headline": entries}), Outcome(run, 1.0, failure="x")]).split("\n") == [
        "notebook    quantity         ours    paper  unit    setting",
        "02_snip     short          0.1235",
        "02_snip     a longer one  1234567        2  MACs    digits",
    ]
