"""Which widgets there are, and which of them a committed notebook shows."""

import importlib
import pkgutil
import re
from pathlib import Path

import nbformat

from pruning_lib.files import CHECKOUT
from pruning_lib.teaching import widgets
from pruning_lib.teaching.needed_cells import needed
from pruning_lib.teaching.widgets.javascript import Drawn

NOTEBOOKS = sorted((CHECKOUT / "notebooks").glob("*.ipynb"))


def every() -> dict[str, type[Drawn]]:
    """All widget classes of the package by name."""
    names = [f"{widgets.__name__}.{one.name}" for one in pkgutil.iter_modules(widgets.__path__)]
    things = [thing for name in names for thing in vars(importlib.import_module(name)).values()]
    found = [one for one in things if isinstance(one, type) and issubclass(one, Drawn) and one is not Drawn]
    return {one.__name__: one for one in found}


def cells(notebook: nbformat.NotebookNode) -> dict[int, set[str]]:
    """Index of each code cell that makes a widget -> names of the widget classes that it calls."""
    calls = re.compile(rf"\b({'|'.join(every())})\(")
    code = {index: cell.source for index, cell in enumerate(notebook.cells) if cell.cell_type == "code"}
    return {index: set(found) for index, source in code.items() if (found := calls.findall(source))}


def needed_cells(notebook: nbformat.NotebookNode) -> list[int]:
    """Indices of the code cells that make a widget, and of those that they need.

    Of the questions, `Predict`, those whose answer needs nothing more: others wait for what trains a network.
    """
    makes = cells(notebook)
    questions = {index for index, names in makes.items() if names == {"Predict"}}
    found = set(needed(notebook, makes.keys() - questions))
    return sorted(found | {index for index in questions if set(needed(notebook, [index])) <= found | {index}})


def used(path: Path) -> set[str]:
    """Names of the widget classes that the `needed_cells` of a notebook call."""
    notebook = nbformat.read(path, as_version=4)
    makes = cells(notebook)
    return set().union(*(makes.get(index, set()) for index in needed_cells(notebook)))
