"""Tiny notebooks in a folder of their own."""

from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

PARAMETERS = """
sparsity: float = 0.5  # share of zeros: 0 = none, 1 = all
steps: int = 3
name: str = "a"
fast: bool = False
counts: list[int] = [1]
levels: list[float] = [0.5]
words: list[str] = ["x"]
out: str = ""  # path of the JSON
"""
RESULTS = """
from pruning_lib.reproduction import results
results.provenance = lambda: dict.fromkeys(results.KEYS[3:-1])  # torch takes seconds to load
kept = results.Headline("kept", steps * (1 - sparsity), "%", 0.25, "tiny")
_ = results.write(out, "01_good", {"sparsity": sparsity, "name": name}, [kept])
"""


def notebook_of(*sources: str, parameters: str = PARAMETERS):
    """A notebook: a title, the parameters cell, then `sources`."""
    tagged = new_code_cell(parameters.strip(), metadata={"tags": ["parameters"]})
    cells = [new_markdown_cell("# Title"), tagged, *(new_code_cell(source.strip()) for source in sources)]
    return new_notebook(cells=cells, metadata={"kernelspec": {"name": "elsewhere", "display_name": "Elsewhere"}})


def fill(path: Path) -> Path:
    """Put a good notebook, one with a failing cell, one that writes no results, and profiles into `path`."""
    path.mkdir()
    expected = new_code_cell("1 / 0  # an exercise not yet solved", metadata={"tags": ["raises-exception"]})
    good = notebook_of("import sys; print(sys.executable)\n__import__('ipywidgets').IntSlider(7)", RESULTS)
    good.cells.insert(3, expected)
    nbformat.write(good, path / "01_good.ipynb")
    nbformat.write(notebook_of("first = 1\nprint(first)", "first / 0\n# more"), path / "02_bad.ipynb")
    nbformat.write(notebook_of("first = 1", "second = 2"), path / "03_silent.ipynb")
    (path / "profiles.yaml").write_text(
        "01_good:\n  smoke: {steps: 1}\n  paper: {sparsity: 1, steps: 100}\n02_bad:\n  lecture: {fast: true}\n"
    )
    return path


@pytest.fixture
def folder(tmp_path) -> Path:
    """A folder of notebooks for one test."""
    return fill(tmp_path / "notebooks")


@pytest.fixture(scope="module")
def shared(tmp_path_factory) -> Path:
    """A folder of notebooks for the tests of a file that only look."""
    return fill(tmp_path_factory.mktemp("shared") / "notebooks")


@pytest.fixture(scope="session", name="notebook_of")
def notebook_of_() -> Callable:
    return notebook_of
