"""What the exercises of a notebook use of it: imports, functions, classes."""

import ast
import builtins
import symtable
from typing import Any

from pruning_lib.teaching.homework.source import Written, statements


def imports_and_definitions(notebook: Any, exercises: list[Written], where: str) -> str:
    """Return the code that must run before the solutions and checks of `exercises`, torch always with it.

    It is taken from the cells before the first exercise: imports, functions and classes, and what these use in turn.
    A name bound in another way is a ValueError: an assignment does not run the lecture.
    """
    known = bound(notebook.cells[: exercises[0].cell])
    needed = []

    def need(code: str, own: set[str], what: str) -> None:
        for name in sorted(free_names(code) - own):
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
    lines = sorted({ast.unparse(node) for _, node in taken if isinstance(node, ast.Import | ast.ImportFrom)})
    others = [ast.unparse(node) for _, node in taken if not isinstance(node, ast.Import | ast.ImportFrom)]
    return "\n\n\n".join(["\n".join(sorted(lines, key=lambda line: line.startswith("from"))), *others])


def bound(cells: list[Any]) -> dict[str, tuple[int, ast.stmt]]:
    """Return name -> (place, statement) for what `cells` import or define at their top level; the last one counts."""
    found: dict[str, tuple[int, ast.stmt]] = {}
    for place, node in enumerate(
        node for cell in cells if cell.cell_type == "code" for node in statements(cell.source)
    ):
        if isinstance(node, ast.Import):
            for alias in node.names:
                found[alias.asname or alias.name.split(".")[0]] = place, ast.Import([alias])
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                found[alias.asname or alias.name] = place, ast.ImportFrom(node.module, [alias], node.level)
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            found[node.name] = place, node
    return found


def free_names(code: str) -> set[str]:
    """Return the names that `code` takes from outside, built-in ones left out."""
    names = set()
    tables = [symtable.symtable(code, "<exercise>", "exec")]
    top = {symbol.get_name() for symbol in tables[0].get_symbols() if symbol.is_assigned() or symbol.is_imported()}
    while tables:
        table = tables.pop()
        tables += table.get_children()
        names |= {symbol.get_name() for symbol in table.get_symbols() if symbol.is_global() and symbol.is_referenced()}
    return names - top - set(dir(builtins))
