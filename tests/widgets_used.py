"""Which widgets there are, and which of them a committed notebook shows."""

import importlib
import pkgutil
import re
from pathlib import Path

import nbformat

from pruning_lib.files import CHECKOUT
from pruning_lib.teaching import widgets
from pruning_lib.teaching.widgets.javascript import Drawn

NOTEBOOKS = sorted((CHECKOUT / "notebooks").glob("*.ipynb"))


def every() -> dict[str, type[Drawn]]:
    """All widget classes of the package by name."""
    names = [f"{widgets.__name__}.{one.name}" for one in pkgutil.iter_modules(widgets.__path__)]
    things = [thing for name in names for thing in vars(importlib.import_module(name)).values()]
    found = [one for one in things if isinstance(one, type) and issubclass(one, Drawn) and one is not Drawn]
    return {one.__name__: one for one in found}


def used(notebook: Path) -> set[str]:
    """Names of the widget classes that code cells of a notebook call."""
    code = [cell.source for cell in nbformat.read(notebook, as_version=4).cells if cell.cell_type == "code"]
    return {name for name in every() if re.search(rf"\b{name}\(", "\n".join(code))}
