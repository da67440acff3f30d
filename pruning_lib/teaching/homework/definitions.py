"""What the exercises of a notebook use of it: imports, functions, classes."""

import ast
import builtins
import copy
from typing import Any

from pruning_lib.teaching.homework.source import Written, statements
from pruning_lib.teaching.needed_cells import bound_and_used


def imports_and_definitions(notebook: Any, exercises: list[Written], where: str) -> str:
    """Return the code that must run before the solutions and checks of `exercises`, torch always with it.

    It is taken from the cells before the first exercise: imports, functions and classes, and what these use in turn.
    A name bound in another way is a ValueError: an assignment does not run the lecture.
    """
    known = _bound(notebook.cells[: exercises[0].cell])
    needed = []

    def need(code: str, own: set[str], what: str) -> None:
        _, used = bound_and_used(code)
        for name in sorted(used - own - set(dir(builtins))):
            if name not in known:
                raise ValueError(f"{where}, {what} uses {name!r}, must be imported or a function or class before it")
            if name not in needed:
                needed.append(name)
                if not isinstance(known[name][1], ast.Import | ast.ImportFrom):
                    need(ast.unparse(known[name][1]), {name}, f"{what}: {name}")

    own: set[str] = set()
    for each in exercises:
        own.add(ast.parse(each.solved).body[0].name)
        need(f"{each.solved}\n{each.check}", own, f"exercise {each.number}")
    need("torch", set(), "any answer")
    taken = sorted({known[name] for name in needed}, key=lambda pair: pair[0])
    imports = {ast.unparse(node) for _, node in taken if isinstance(node, ast.Import | ast.ImportFrom)}
    others = [ast.unparse(node) for _, node in taken if not isinstance(node, ast.Import | ast.ImportFrom)]
    return "\n\n\n".join(["\n".join(sorted(imports, key=lambda line: (line.startswith("from"), line))), *others])


def _bound(cells: list[Any]) -> dict[str, tuple[int, ast.stmt]]:
    """Return name -> (place, statement) for what `cells` import or define at their top level; the last one counts."""
    found: dict[str, tuple[int, ast.stmt]] = {}
    nodes = [node for cell in cells if cell.cell_type == "code" for node in statements(cell.source)]
    for place, node in enumerate(nodes):
        if isinstance(node, ast.Import | ast.ImportFrom):
            for alias in node.names:
                alone = copy.copy(node)
                alone.names = [alias]
                found[alias.asname or alias.name.split(".")[0]] = place, alone
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            found[node.name] = place, node
    return found
