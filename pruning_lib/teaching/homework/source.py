"""The exercises of a committed notebook, read and checked: the one source of every version.

An exercise is three cells in a row: text that ends with its header `**1.1 Title** (core, 5 minutes). …`, code with a
stub and `exercises.check("name", stub)`, and text that begins with the solution, folded. One that is answered in words
is two: text that ends with `**1.4 Title** (core, 9 minutes, in words). …`, and a model answer with its rubric, folded.
"""

import ast
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pruning_lib.checks import check_choice
from pruning_lib.reproduction.parameters import one_of, read_notebook
from pruning_lib.teaching.exercises import EXERCISES

_POINTS = {"core": 4, "stretch": 8}  # a rubric divides four
_HEADER = re.compile(
    r"^\*\*(?P<number>\d+[a-z]?\.\d+) (?P<title>.+?)\*\* "
    r"\((?P<difficulty>\w+), (?P<minutes>\d+) minutes(?P<words>, in words)?\)\.",
    re.M,
)
FOLDED = re.compile(
    r"<details><summary>Solution</summary>\s*```python\n(?P<code>.*?)```(?P<note>.*?)</details>\s*", re.DOTALL
)
_SOLUTION = "<summary>Solution</summary>"
FOLDED_ANSWER = re.compile(r"<details><summary>Model answer</summary>\s*(?P<answer>.*?)</details>\s*", re.DOTALL)
_CHECK = "exercises.check("
_CHECKED = re.compile(r"exercises\.check\('\w+', \w+\)")  # as `ast.unparse` writes it


@dataclass(frozen=True, kw_only=True)
class Headed:
    """An exercise as its header describes it."""

    cell: int  # index of what follows the text: the code, or the model answer
    number: str
    difficulty: str
    minutes: int
    text: str  # from its header on

    @property
    def points(self) -> int:
        return _POINTS[self.difficulty]


@dataclass(frozen=True, kw_only=True)
class Question(Headed):
    """An exercise that is answered in words."""

    answer: str  # the model answer and the rubric


@dataclass(frozen=True, kw_only=True)
class Written(Headed):
    """An exercise that is answered by a function."""

    name: str  # in pruning_lib.teaching.exercises
    head: str  # the stub without its `...`
    check: str
    body: str  # the solution's lines below its head, indented
    note: str  # what the solution says beside its code

    @property
    def solved(self) -> str:
        """The stub with the solution in it, between nbgrader's marks."""
        return f"{self.head}\n    ### BEGIN SOLUTION\n{self.body}\n    ### END SOLUTION"


def read_exercises(path: Path) -> tuple[Any, list[Written]]:
    """Return the notebook at `path` and its exercises; ValueError naming notebook and exercise if one is malformed."""
    notebook = read_notebook(path)
    return notebook, written(notebook, path.stem)


def written(notebook: Any, where: str) -> list[Written]:
    """Return the exercises of `notebook`, in order; ValueError beginning with `where` and the exercise."""
    cells = notebook.cells
    found = []
    for index, cell in enumerate(cells):
        if cell.cell_type == "code" and (_CHECK in cell.source or _is_stub(cell.source)):
            around = [cells[i] if 0 <= i < len(cells) else None for i in (index - 1, index + 1)]
            before, after = (c.source if c is not None and c.cell_type == "markdown" else "" for c in around)
            found.append(_exercise(index, before, cell.source, after, f"{where}, cell {index + 1}"))
    all_of_them = [*found, *questions(notebook, where)]
    for what, exercises in (("name", found), ("number", all_of_them)):
        for value, times in Counter(getattr(each, what) for each in exercises).items():
            if times > 1:
                raise ValueError(f"{where}: {what} {value!r} is that of {times} exercises, must be of one")
    number_at = {each.cell: each.number for each in found}
    for index, cell in enumerate(cells):
        if cell.cell_type == "markdown":
            for header in _HEADER.finditer(cell.source):
                if not header["words"] and header["number"] != number_at.get(index + 1):
                    raise ValueError(f"{where}: exercise {header['number']} has no stub: a code cell after its text")
            if cell.source.count(_SOLUTION) != (index - 1 in number_at):
                raise ValueError(
                    f"{where}, cell {index + 1}: a solution must follow the cell of its exercise, one each"
                )
    return found


def questions(notebook: Any, where: str) -> list[Question]:
    """Return the exercises of `notebook` that are answered in words; ValueError names `where` and exercise."""
    texts = [cell.source if cell.cell_type == "markdown" else "" for cell in notebook.cells]
    found = []
    for index, (text, after) in enumerate(zip(texts, [*texts[1:], ""], strict=True)):
        for header in _HEADER.finditer(text):
            if header["words"]:
                answer = FOLDED_ANSWER.match(after)
                if not answer:
                    raise ValueError(
                        f"{where}, exercise {header['number']}: no answer: the next text must begin with "
                        "<details><summary>Model answer</summary>"
                    )
                found.append(Question(**_headed(header, text, index + 1, where), answer=answer["answer"].strip()))
    return found


def _headed(header: re.Match, text: str, cell: int, where: str) -> dict[str, Any]:
    one_of(header["difficulty"], _POINTS, f"{where}, exercise {header['number']}: difficulty")
    facts = {"number": header["number"], "difficulty": header["difficulty"], "minutes": int(header["minutes"])}
    return facts | {"cell": cell, "text": text[header.start() :].strip()}


def _exercise(index: int, before: str, source: str, after: str, where: str) -> Written:
    """Return the exercise whose code cell is `source`, between the texts `before` and `after`."""
    headers = list(_HEADER.finditer(before))
    if not headers:
        raise ValueError(f"{where}: no header '**1.1 Title** (core, 5 minutes).' in a text cell before the stub")
    header = headers[-1]
    notebook = where.split(",")[0]
    headed = _headed(header, before, index, notebook)
    where = f"{notebook}, exercise {header['number']}"
    stub, check = _stub_and_check(source, where)
    name, function = check.value.args[0].value, check.value.args[1].id
    check_choice(f"{where}: exercise", name, EXERCISES)
    if function != stub.name:
        raise ValueError(f"{where}: the check is of {function!r}, must be of the stub above it, {stub.name!r}")
    solution = FOLDED.match(after)
    if not solution:
        raise ValueError(f"{where}: no solution: the next text must begin with <details>{_SOLUTION}, then ```python")
    code = solution["code"].rstrip()
    parts = _parsed(code, f"{where}: the solution")
    if len(parts) != 1 or not isinstance(parts[0], ast.FunctionDef):
        raise ValueError(f"{where}: the solution must be one function, {stub.name}")
    if _signature(parts[0]) != _signature(stub):
        raise ValueError(f"{where}: the solution is {_signature(parts[0])}, must be {_signature(stub)} as the stub")
    return Written(
        **headed,
        name=name,
        head="\n".join(source.splitlines()[: stub.body[-1].lineno - 1]),
        check=ast.get_source_segment(source, check),
        body="\n".join(code.splitlines()[_head_length(code, where) :]),
        note=solution["note"].strip(),
    )


def _stub_and_check(source: str, where: str) -> tuple[ast.FunctionDef, ast.Expr]:
    """Return the two statements of an exercise's code cell."""
    parts = _parsed(source, f"{where}: the code")
    if len(parts) == 2 and _is_stub(source) and _CHECKED.fullmatch(ast.unparse(parts[1])):
        return parts[0], parts[1]
    raise ValueError(f"{where}: the code must be a stub, 'def name(…):' and '...', then {_CHECK}\"…\", name)")


def _parsed(code: str, what: str) -> list[ast.stmt]:
    try:
        return ast.parse(code).body
    except SyntaxError as error:
        raise ValueError(f"{what} is no Python: {error}") from None


def _is_stub(source: str) -> bool:
    """Whether `source` begins with a function left to be written."""
    first = next(iter(statements(source)), None)
    return isinstance(first, ast.FunctionDef) and ast.unparse(first.body[-1]) == "..."


def statements(source: str) -> list[ast.stmt]:
    """Return the statements of a code cell; none if it has magic commands: nothing is taken from such a cell."""
    try:
        return _parsed(source, "the cell")
    except ValueError:
        return []


def _signature(function: ast.FunctionDef) -> str:
    return f"{function.name}({ast.unparse(function.args)})"


def _head_length(code: str, where: str) -> int:
    """Return how many lines of the function `code` come before its body, which may begin with a comment."""
    lines = code.splitlines()
    for length in range(1, len(lines)):
        try:
            ast.parse("\n".join([*lines[:length], "    pass"]))
            return length
        except SyntaxError:
            continue
    raise ValueError(f"{where}: the solution must have its body on lines of its own")
