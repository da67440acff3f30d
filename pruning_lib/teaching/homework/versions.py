"""The versions of a notebook: for students, with solutions, and as an nbgrader assignment."""

import copy
import re
from typing import Any

import nbformat

from pruning_lib.reproduction.execution import KERNELSPEC, LANGUAGE
from pruning_lib.teaching.homework.definitions import imports_and_definitions
from pruning_lib.teaching.homework.source import FOLDED, FOLDED_ANSWER, Question, Written, questions

_TEST_IMPORTS = "import sys\nfrom contextlib import redirect_stderr"
# nbgrader takes the value of a cell for its points, so that the verdict is printed, and gives none to a cell that
# writes to stderr, as a warning does.
_TEST = """with redirect_stderr(sys.stdout):  # a warning is no mistake
    verdict = {check}
assert verdict.passed, verdict.message
print(verdict)"""


def student(notebook: Any, exercises: list[Written]) -> Any:
    """Return a copy without solutions and model answers; outputs stay, but for those of the exercises."""
    result = _rewritten(notebook, exercises, code=lambda each, source: source, text=lambda each: "")
    for cell in result.cells:
        if cell.cell_type == "markdown":
            cell.source = FOLDED_ANSWER.sub("*Your answer:*\n\n", cell.source).strip()
    return result


def solutions(notebook: Any, exercises: list[Written]) -> Any:
    """Return a copy with each solution in the place of its stub, what it says beside the code below it."""
    return _rewritten(
        notebook,
        exercises,
        code=lambda each, source: f"{each.solved}\n\n\n{each.check}",
        text=lambda each: each.note + "\n\n" if each.note else "",
    )


def _rewritten(notebook: Any, exercises: list[Written], code: Any, text: Any) -> Any:
    """Return a copy with `code` for the exercises' cells, never run, and `text` for the folded solutions."""
    result = copy.deepcopy(notebook)
    for each in exercises:
        cell, after = result.cells[each.cell : each.cell + 2]
        cell.source, cell.outputs, cell.execution_count = code(each, cell.source), [], None
        after.source = FOLDED.sub(lambda _, each=each: text(each), after.source, count=1).strip()
    dropped = {each.cell + 1 for each in exercises if not result.cells[each.cell + 1].source}
    result.cells = [cell for index, cell in enumerate(result.cells) if index not in dropped]
    return result


def assignment(notebook: Any, exercises: list[Written], name: str) -> Any:
    """Return the nbgrader source of `exercises`: what they need, their texts and equations, solutions, locked tests.

    Of the lecture it has the imports and functions that the solutions use, and nothing that takes time. The points of
    a test are those of the difficulty; it fails with the hint of the check as its message. Exercises that are answered
    in words come last, with their model answers and rubrics, for a person to grade.
    """
    title = re.match(r"# (.+)", notebook.cells[0].source)
    if not title:
        raise ValueError(f"{name}: the first cell is no title, must begin with '# '")
    in_words = questions(notebook, name)
    every = [*exercises, *in_words]
    points, minutes = sum(each.points for each in every), sum(each.minutes for each in every)
    cells = [
        nbformat.v4.new_markdown_cell(
            f"# Homework {title[1]}\n\n"
            f"{len(every)} exercises, {points} points, about {minutes} minutes. They belong to the notebook "
            f"`notebooks/{name}.ipynb`; the equations have its numbers.\n\n"
            "Write each function in place of the `...`. The locked cell below it tests it, on new random input each "
            "time or against a target, and gives a hint. Before you hand in, run all cells from the top.",
            id="title",
        ),
        _graded_cell(
            "imports", f"{_TEST_IMPORTS}\n\n{imports_and_definitions(notebook, exercises, name)}", locked=True
        ),
    ]
    for each in exercises:
        cells += [
            _text_cell(notebook, each, each.name),
            _graded_cell(each.name, each.solved, solution=True),
            _graded_cell(f"test_{each.name}", _TEST.format(check=each.check), locked=True, points=each.points),
        ]
    for each in in_words:
        name_of = f"words_{each.number.replace('.', '_')}"
        cells += [
            _text_cell(notebook, each, name_of),
            _graded_cell(name_of, each.answer, solution=True, points=each.points, make=nbformat.v4.new_markdown_cell),
        ]
    metadata = {"kernelspec": KERNELSPEC, "language_info": LANGUAGE}
    return nbformat.v4.new_notebook(cells=cells, metadata=copy.deepcopy(metadata))


def _text_cell(notebook: Any, each: Written | Question, name: str) -> Any:
    """Return the text of an exercise, its points, and the equations that it names."""
    text = f"{each.text} **{each.points} points**."
    return nbformat.v4.new_markdown_cell("\n\n".join([text, *_equations(notebook, each.text)]), id=f"text_{name}")


def _equations(notebook: Any, text: str) -> list[str]:
    """Return the numbered equations of `notebook` that `text` names."""
    texts = [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]
    formulas = [formula for each in texts for formula in re.findall(r"\$\$.+?\$\$", each, flags=re.DOTALL)]
    tags = re.compile(r"\\tag\{([^}]+)\}")
    return [
        formula
        for formula in formulas
        if any(re.search(rf"\b{re.escape(tag)}\b", text) for tag in tags.findall(formula))
    ]


def _graded_cell(
    name: str,
    source: str,
    *,
    locked: bool = False,
    solution: bool = False,
    points: int = 0,
    make: Any = nbformat.v4.new_code_cell,
) -> Any:
    """Return a cell with nbgrader's metadata, form 3; with `points` it is a test, or text that a person grades."""
    nbgrader = {"schema_version": 3, "grade_id": name, "solution": solution, "locked": locked, "task": False}
    nbgrader |= {"grade": True, "points": points} if points else {"grade": False}
    return make(source, id=name, metadata={"nbgrader": nbgrader})
