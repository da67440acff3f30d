"""Which code cells of a notebook others need, so that who wants some of them does not run everything."""

import dis
from collections.abc import Container
from types import CodeType
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # every notebook imports this module, and nbformat takes seconds
    from nbformat import NotebookNode


def needed(notebook: "NotebookNode", wanted: Container[int]) -> list[int]:
    """Indices of the `wanted` code cells and of those before them that bind a name they use, in order.

    A cell that only changes what a name stands for (`model.train()`) counts as not needed.
    """
    found, missing = [], set()
    for index, cell in reversed(list(enumerate(notebook.cells))):
        if cell.cell_type != "code":
            continue
        bound, used = bound_and_used(cell.source)
        if index in wanted or bound & missing:
            missing = missing - bound | used
            found.append(index)
    return found[::-1]


def bound_and_used(source: str) -> tuple[set[str], set[str]]:
    """Names that a cell binds, and those that it uses before it binds them: from cells before it, or built in."""
    bound, used = set(), set()
    for step in dis.get_instructions(compile(source, "cell", "exec")):
        if step.opname == "STORE_NAME":
            bound.add(step.argval)
        elif step.opname == "LOAD_NAME":
            used |= {step.argval} - bound
        elif isinstance(step.argval, CodeType):
            used |= _inside(step.argval) - bound
    return bound, used


def _inside(code: CodeType) -> set[str]:
    """Names of the notebook that a function, class or comprehension uses, those within it included."""
    steps = list(dis.get_instructions(code))
    names = {step.argval for step in steps if step.opname in ("LOAD_NAME", "LOAD_GLOBAL")}
    return names.union(*(_inside(step.argval) for step in steps if isinstance(step.argval, CodeType)))
