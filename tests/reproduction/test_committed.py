import json
import re

import nbformat
import pytest
from click.testing import CliRunner
from nbformat.v4 import new_code_cell, new_output

from pruning_lib.__main__ import main
from pruning_lib.reproduction.committed import WIDGET, cleaned, read_with_ids, refresh


@pytest.fixture
def path(folder, notebook_of):
    """A notebook with traces of earlier runs of all kinds."""
    notebook = notebook_of("print(steps, out == '')", "", f"display({{'text/plain': 'a', '{WIDGET}': {{}}}}, raw=True)")
    notebook.metadata |= {"papermill": {"duration": 3}, "widgets": {}, "title": "kept"}
    notebook.metadata["language_info"] = {"name": "python", "version": "3.9.1"}
    notebook.cells.insert(2, new_code_cell("steps = 100", metadata={"tags": ["injected-parameters"]}))
    notebook.cells[3].metadata |= {
        "papermill": {"status": "completed"},
        "execution": {"a": "b"},
        "slideshow": {"x": "-"},
    }
    notebook.cells[3].outputs = [new_output("stream", text="old\n")]
    notebook.cells[3].execution_count = 17
    notebook.cells[4].execution_count = 18
    nbformat.write(notebook, folder / "04_old.ipynb")
    return folder / "04_old.ipynb"


def test_a_notebook_is_saved_with_its_defaults_and_without_traces(path):
    ids = [cell.id for cell in nbformat.read(path, as_version=4).cells]
    lines = []
    assert refresh(path, lines.append) == ""
    notebook = nbformat.read(path, as_version=4)
    assert [cell.id for cell in notebook.cells] == [*ids[:2], *ids[3:]]
    assert [cell.execution_count for cell in notebook.cells[1:]] == [1, 2, None, 3]
    assert notebook.cells[2].outputs == [new_output("stream", text="3 True\n")]
    assert dict(notebook.cells[2].metadata) == {"slideshow": {"x": "-"}}
    assert notebook.cells[4].outputs == []  # a widget, which shows nothing without its kernel
    assert notebook.metadata.kernelspec == {"name": "python3", "display_name": "Python 3", "language": "python"}
    assert "version" not in notebook.metadata.language_info
    assert notebook.metadata.keys() == {"kernelspec", "language_info", "title"}
    assert lines[1] == "04_old: cell 3 of 5  print(steps, out == '')"
    before = path.read_bytes()
    assert before.endswith(b"}\n")
    assert refresh(path, lines.append) == ""
    assert path.read_bytes() == before


def test_a_failing_notebook_stays_as_it_was_and_the_others_are_saved(folder):
    (folder / "01_good.ipynb").unlink()
    before = {name: (folder / name).read_bytes() for name in ("02_bad.ipynb", "03_silent.ipynb")}
    answer = CliRunner().invoke(main, ["notebooks", "--notebooks", str(folder)])
    assert answer.exit_code == 1
    assert "02_bad failed in cell 4 of 4 (first / 0): ZeroDivisionError: division by zero" in answer.stderr
    assert answer.stdout == "03_silent: saved\n"
    assert (folder / "02_bad.ipynb").read_bytes() == before["02_bad.ipynb"]
    assert (folder / "03_silent.ipynb").read_bytes() != before["03_silent.ipynb"]
    assert {entry.suffix for entry in folder.iterdir()} == {".ipynb", ".yaml"}


def test_an_unknown_notebook_is_refused(shared):
    answer = CliRunner().invoke(main, ["notebooks", "02_snip", "--notebooks", str(shared)])
    assert (answer.exit_code, answer.stderr.count("\n")) == (2, 1)
    assert "notebook is '02_snip', must be one of 01_good, 02_bad, 03_silent or all" in answer.stderr


def test_cells_without_id_get_the_same_one_every_time(path):
    raw = json.loads(path.read_text(encoding="utf-8"))
    raw["nbformat_minor"] = 4
    for cell in raw["cells"]:
        del cell["id"]
    raw["cells"][0]["id"] = "cell-1"
    path.write_text(json.dumps(raw | {"nbformat_minor": 5}))
    assert [cell.id for cell in read_with_ids(path).cells] == [
        "cell-1",
        "cell-1-new",
        *(f"cell-{i}" for i in range(2, 6)),
    ]


@pytest.mark.parametrize("text", ["{", "[]", '{"nbformat": 3, "cells": []}', '{"nbformat": 4}'])
def test_a_file_that_is_no_notebook_is_refused_by_name(path, text):
    path.write_text(text)
    with pytest.raises(ValueError, match=r"04_old\.ipynb is no notebook"):
        refresh(path, print)


def test_a_picture_beside_a_widget_stays(notebook_of):
    notebook = notebook_of("1")
    data = {"image/png": "aGk=", WIDGET: {"model_id": "1"}}
    notebook.cells[2].outputs = [new_output("display_data", data)]
    assert cleaned(notebook).cells[2].outputs[0].data == {"image/png": "aGk="}
    assert not re.search("model_id", nbformat.writes(notebook))


def test_what_a_reader_without_a_kernel_cannot_see_goes(notebook_of):
    notebook = notebook_of("1")
    slider = new_output("display_data", {"text/plain": "Slider()", WIDGET: {"model_id": "1"}})
    table = new_output("display_data", {"text/plain": "<Table object at 0x7f35bdd86610>"})
    notebook.cells[2].outputs = [slider, table]
    (output,) = cleaned(notebook).cells[2].outputs
    assert output.data == {"text/plain": "<Table object>"}
