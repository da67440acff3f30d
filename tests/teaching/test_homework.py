import copy
import html
import json
import os
import re
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import nbformat
import pytest
from click.testing import CliRunner

from pruning_lib.__main__ import main
from pruning_lib.files import CHECKOUT
from pruning_lib.teaching.exercises import EXERCISES, Experiment
from pruning_lib.teaching.homework import course
from pruning_lib.teaching.homework.course import NBGRADER, build_course
from pruning_lib.teaching.homework.exam import QUESTIONS, exam
from pruning_lib.teaching.homework.source import questions, read_exercises, written
from pruning_lib.teaching.homework.versions import assignment, solutions, student

NOTEBOOKS = CHECKOUT / "notebooks"
PATHS = sorted(NOTEBOOKS.glob("*.ipynb"))
PRELUDE = "import torch\nfrom pruning_lib.teaching import exercises"

notebooks = pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)


def run(cell, scope):
    """Execute a cell and return the value of its last line."""
    *lines, last = cell.source.rstrip().split("\n")
    exec("\n".join(lines), scope)
    return eval(last, scope)


def fresh():
    scope = {}
    exec(PRELUDE, scope)
    return scope


def text_of(notebook, first=0):
    return "\n".join(cell.source for cell in notebook.cells[first:])


def tags(notebook):
    return set(re.findall(r"\\tag\{(.+?)\}", text_of(notebook)))


@notebooks
def test_something_to_build_to_find_to_explain_and_to_explore(path):
    notebook, exercises = read_exercises(path)
    picked = re.findall(r'exercises\.pick\("(\w+)"', text_of(notebook))
    assert 1 <= len(picked) <= 2
    stretch = {each.name for each in exercises if each.difficulty == "stretch"}  # one of these may be in an appendix
    built = [name for name in picked if name not in stretch]
    assert built == [each.name for each in exercises[: len(built)]], "what is built comes first"
    assert any("Find the bug" in each.text for each in exercises)
    assert 1 <= len(questions(notebook, path.stem)) <= 2
    # A lesson in several notebooks may have its open experiment in one of them only.
    lesson = [each for part in sorted(NOTEBOOKS.glob(f"{path.stem[:2]}*.ipynb")) for each in read_exercises(part)[1]]
    assert {each.difficulty for each in lesson} == {"core", "stretch"}
    assert any(isinstance(EXERCISES[each.name], Experiment) for each in lesson)


@notebooks
def test_student_version_has_no_trace_of_a_solution(path):
    notebook, exercises = read_exercises(path)
    before = copy.deepcopy(notebook)
    result = student(notebook, exercises)
    nbformat.validate(result)
    assert notebook == before
    assert "<summary>Solution" not in text_of(result)
    assert "BEGIN SOLUTION" not in text_of(result)
    assert "Rubric" not in text_of(result)
    assert not any(each.answer in text_of(result) for each in questions(notebook, path.stem))
    first = exercises[0].cell - 1  # a lecture may define what an exercise asks for again
    whole, left = text_of(notebook, first), text_of(result, first)
    for each in exercises:
        assert each.body in whole
        assert each.body not in left
        assert not each.note or each.note not in left
        assert each.text in left
    cells = [result.cells[each.cell - gone(notebook, result, each.cell)] for each in exercises]
    assert not any(cell.outputs or cell.execution_count for cell in cells)
    others = {cell.id: cell for cell in notebook.cells if cell.cell_type == "code"}
    assert all(cell == others[cell.id] for cell in result.cells if cell.cell_type == "code" and cell not in cells)
    assert len(others) == sum(cell.cell_type == "code" for cell in result.cells)


def gone(notebook, version, index):
    """How many cells before that at `index` the version leaves out."""
    left = {cell.id for cell in version.cells}
    return sum(cell.id not in left for cell in notebook.cells[:index])


@notebooks
def test_stubs_are_rejected_and_solutions_pass(path):
    notebook, exercises = read_exercises(path)
    wanted = [notebook.cells[each.cell].id for each in exercises]
    for version, passed in ((student, False), (solutions, True)):
        result = version(notebook, exercises)
        nbformat.validate(result)
        assert "<summary>Solution" not in text_of(result)
        scope = fresh()
        verdicts = [run(cell, scope) for cell in result.cells if cell.id in wanted]
        assert [verdict.passed for verdict in verdicts] == [passed] * len(wanted)
        assert passed or all("Not written yet" in verdict.message for verdict in verdicts)


@notebooks
def test_assignment_runs_alone_and_is_short(path, capsys):
    notebook, exercises = read_exercises(path)
    result = assignment(notebook, exercises, path.stem)
    nbformat.validate(result)
    in_words = questions(notebook, path.stem)
    assert len(result.cells) == 2 + 3 * len(exercises) + 2 * len(in_words)
    scope = {}
    for cell in result.cells:
        if cell.cell_type == "code":
            exec(cell.source, scope)
    assert capsys.readouterr().out.count("✔") == len(exercises)
    data = [cell.metadata.nbgrader for cell in result.cells if cell.cell_type == "code"]
    assert [each.locked for each in data] == [True, *[False, True] * len(exercises)]
    assert [each.points for each in data if each.grade] == [
        {"core": 4, "stretch": 8}[each.difficulty] for each in exercises
    ]
    for each, cell in zip(in_words, result.cells[-2 * len(in_words) + 1 :: 2], strict=True):
        assert cell.source == each.answer
        assert (cell.metadata.nbgrader.grade, cell.metadata.nbgrader.solution) == (True, True)
    named = {tag for each in [*exercises, *in_words] for tag in re.findall(r"\b[A-Z]+-\d+\b", each.text)}
    assert tags(result) == named & tags(notebook)


def test_notes_and_model_answers_are_in_the_solutions():
    notebook, exercises = read_exercises(NOTEBOOKS / "05b_sparsegpt_model.ipynb")
    noted = [each.note for each in exercises if each.note]
    answers = [each.answer for each in questions(notebook, "05b_sparsegpt_model")]
    assert noted
    assert all(text in text_of(solutions(notebook, exercises)) for text in noted + answers)


# A small notebook, and what may be wrong with it

HEADER = "Text.\n\n**1.1 Exactly k** (core, 5 minutes). Return the mask of TAX-1."
STUB = 'def mine(scores, k):\n    ...\n\n\nexercises.check("keep_k_largest", mine)'
FOLDED = """<details><summary>Solution</summary>

```python
def mine(scores, k):
    # stable: of equal scores the first stays
    return helper(scores, k)
```
</details>
"""
HELPER = """import torch as t
unused = t.ones(3)
class Unused:
    pass
def helper(scores, k):
    flat = t.cat([score.flatten() for score in scores.values()])
    keep = t.zeros_like(flat, dtype=t.bool)
    keep[order(flat)[:k]] = True
    parts = keep.split([score.numel() for score in scores.values()])
    return {name: part.view(scores[name].shape) for name, part in zip(scores, parts)}
def order(scores):
    return scores.argsort(descending=True, stable=True)
"""


def small(header=HEADER, stub=STUB, folded=FOLDED, helper=HELPER):
    cell = nbformat.v4.new_markdown_cell, nbformat.v4.new_code_cell
    sources = ("# 1 · Small", f"{PRELUDE}\nfrom torch import nn", r"$$a \tag{TAX-1}$$ and $$b \tag{TAX-11}$$")
    cells = [make(source) for make, source in zip((cell[0], cell[1], cell[0]), sources, strict=True)]
    return nbformat.v4.new_notebook(cells=[*cells, cell[1](helper), cell[0](header), cell[1](stub), cell[0](folded)])


def test_assignment_takes_definitions_that_a_solution_uses(capsys):
    notebook = small()
    result = assignment(notebook, written(notebook, "small"), "small")
    code = [cell.source for cell in result.cells if cell.cell_type == "code"]
    exec("\n".join(code), {})
    assert "Right" in capsys.readouterr().out
    assert "nn" not in code[0]
    assert "nused" not in code[0]
    assert "# stable" in code[1]
    assert r"\tag{TAX-1}" in text_of(result)
    assert "TAX-11" not in text_of(result)


def test_assignment_does_not_run_the_lecture():
    notebook = small(helper="computed = 3\ndef helper(scores, k):\n    return computed")
    with pytest.raises(ValueError, match=r"^small, exercise 1.1: helper uses 'computed', must be imported"):
        assignment(notebook, written(notebook, "small"), "small")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"header": "Text."}, "cell 6: no header"),
        ({"header": HEADER.replace("core", "simple")}, "exercise 1.1: difficulty is 'simple', must be one of core"),
        ({"stub": STUB.split("\n\n\n")[0]}, "exercise 1.1: the code must be a stub"),
        ({"stub": STUB.split("\n\n\n")[1]}, "exercise 1.1: the code must be a stub"),
        ({"stub": STUB.replace("...", "return 1")}, "exercise 1.1: the code must be a stub"),
        (
            {"stub": STUB.replace("keep_k_largest", "nothing")},
            "exercise 1.1: exercise is 'nothing', must be one of 'keep_k_largest'",
        ),
        ({"stub": STUB.replace(", mine", ", yours")}, "exercise 1.1: the check is of 'yours', must be of"),
        ({"stub": "x = 1"}, "exercise 1.1 has no stub"),
        ({"stub": "x = 1", "header": "Text."}, "cell 7: a solution must follow the cell of its exercise"),
        ({"folded": ""}, "exercise 1.1: no solution"),
        ({"folded": FOLDED.replace("python", "")}, "exercise 1.1: no solution"),
        ({"folded": FOLDED.replace("return", "return return")}, "exercise 1.1: the solution is no Python"),
        ({"folded": FOLDED.replace("def mine", "x = 1\ndef mine")}, "exercise 1.1: the solution must be one function"),
        ({"folded": FOLDED.replace("scores, k):", "k):")}, r"the solution is mine\(k\), must be mine\(scores, k\)"),
        ({"folded": FOLDED * 2}, "cell 7: a solution must follow the cell of its exercise, one each"),
    ],
)
def test_malformed_exercise_is_named(changes, message):
    with pytest.raises(ValueError, match=f"^small(, |: ).*{message}"):
        written(small(**changes), "small")


def test_an_exercise_appears_once():
    notebook = small()
    notebook.cells += copy.deepcopy(notebook.cells[-3:])
    with pytest.raises(ValueError, match="small: name 'keep_k_largest' is that of 2 exercises"):
        written(notebook, "small")


WORDS = "**1.2 Why** (core, 5 minutes, in words). Explain TAX-1."
ANSWER = "<details><summary>Model answer</summary>\n\nBecause.\n\n**Rubric.** 1 point.\n</details>"


def with_words(text=WORDS, answer=ANSWER):
    notebook = small()
    notebook.cells += [nbformat.v4.new_markdown_cell(source) for source in (text, answer)]
    return notebook


def test_a_question_in_words_and_its_answer():
    notebook = with_words()
    (question,) = questions(notebook, "small")
    assert (question.number, question.points, question.answer) == ("1.2", 4, "Because.\n\n**Rubric.** 1 point.")
    assert len(written(notebook, "small")) == 1
    assert "Because" not in text_of(student(notebook, written(notebook, "small")))


@pytest.mark.parametrize("number", ["1.1", "1.2"])
def test_a_number_is_that_of_one_exercise_in_code_or_words(number):
    notebook = with_words()
    more = (WORDS.replace("1.2", number), ANSWER)
    notebook.cells += [nbformat.v4.new_markdown_cell(source) for source in more]
    with pytest.raises(ValueError, match=f"small: number '{number}' is that of 2 exercises, must be of one"):
        written(notebook, "small")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"answer": "Because."},
            "exercise 1.2: no answer: the next text must begin with <details><summary>Model answer",
        ),
        ({"text": WORDS.replace("core", "hard")}, "exercise 1.2: difficulty is 'hard', must be one of core, stretch"),
    ],
)
def test_malformed_question_is_named(changes, message):
    with pytest.raises(ValueError, match=f"^small, {message}"):
        questions(with_words(**changes), "small")


# The exam


def answers_to(numbers):
    return "".join(f"## {number}\nThe answer to {number}.\n\n" for number in numbers)


def test_exam_has_answers_only_with_their_file(tmp_path):
    assert list(exam()) == ["questions.md"]
    headings = re.findall(r"^## (\d+) · .+ \(.+\), (\d+) points$", QUESTIONS.read_text("utf-8"), flags=re.MULTILINE)
    assert [int(number) for number, _ in headings] == list(range(1, 21))
    assert sum(int(points) for _, points in headings) == 100
    (tmp_path / "answers.md").write_text(answers_to(range(1, 21)), "utf-8")
    answered = exam(tmp_path / "answers.md")["answers.md"]
    for number in range(1, 21):
        question = re.search(rf"^## {number} ·.*?(?=^## |\Z)", answered, re.DOTALL | re.MULTILINE)[0]
        assert question.rstrip().endswith(f"**Answer.** The answer to {number}.")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (answers_to(range(1, 20)), "it has no answer to question 20"),
        (answers_to(range(1, 22)), "it has an answer, but there is no question 21"),
        (answers_to([1, 2, 2]), "a question's number stands twice"),
        ("## 1\n\n## 2\nTwo.\n", "nothing stands below number 1"),
        (b"\xff\xfe\xff", "must be a text file that can be read"),
    ],
)
def test_answers_that_do_not_fit_are_refused(tmp_path, text, message):
    path = tmp_path / "answers.md"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ValueError, match=message):
        exam(path)


def test_answers_in_the_repository_are_refused(tmp_path):
    with pytest.raises(ValueError, match="answers is .*, must lie outside the repository"):
        exam(QUESTIONS)
    with pytest.raises(ValueError, match="must be a text file that can be read"):
        exam(tmp_path / "none.md")
    answer = CliRunner().invoke(main, ["homework", "--answers", str(QUESTIONS)])
    assert (answer.exit_code, answer.stderr.count("\n")) == (2, 1)


@pytest.mark.parametrize("out", [CHECKOUT / "course", CHECKOUT, CHECKOUT / "build" / ".." / "docs"])
def test_answers_go_to_no_place_where_they_might_be_committed(tmp_path, out):
    (tmp_path / "answers.md").write_text(answers_to(range(1, 21)), "utf-8")
    with pytest.raises(ValueError, match=r"out is .*, must be outside the repository or below .*build.* with answers"):
        build_course([], NOTEBOOKS, out, BROKEN, tmp_path / "answers.md")
    assert not (CHECKOUT / "course").exists()


def test_old_answers_go_when_a_build_has_none(tmp_path, monkeypatch):
    nbformat.write(small(), tmp_path / "small.ipynb")
    (tmp_path / "answers.md").write_text(answers_to(range(1, 21)), "utf-8")
    monkeypatch.setattr(course, "_release", lambda *_: None)
    out = tmp_path / "course"
    for answers, files in ((tmp_path / "answers.md", ["answers.md", "questions.md"]), (None, ["questions.md"])):
        build_course([], tmp_path, out, BROKEN, answers)
        assert sorted(path.name for path in (out / "exam").iterdir()) == files


# The course, up to nbgrader

BROKEN = Path(sys.executable)  # a Python without nbgrader


def test_refused_input_leaves_nothing(tmp_path):
    out = tmp_path / "deep" / "course"
    with pytest.raises(ValueError, match="notebook is 'nothing', must be one of 01_taxonomy"):
        build_course(["nothing"], NOTEBOOKS, out)
    with pytest.raises(ValueError, match="make homework installs it there"):
        build_course(["01_taxonomy"], NOTEBOOKS, out, tmp_path / "none" / "nbgrader")
    nbformat.write(small(folded=""), tmp_path / "small.ipynb")
    with pytest.raises(ValueError, match=r"^small, exercise 1.1: no solution"):
        build_course([], tmp_path, out, BROKEN)
    assert [path.name for path in tmp_path.iterdir()] == ["small.ipynb"]


def test_failure_of_nbgrader_leaves_all_as_it_was(tmp_path):
    nbformat.write(small(), tmp_path / "small.ipynb")
    with pytest.raises(ValueError, match="nbgrader did not release the assignments: ModuleNotFoundError"):
        build_course([], tmp_path, tmp_path / "course", BROKEN)
    assert not (tmp_path / "course").exists()
    (tmp_path / "course" / "source").mkdir(parents=True)
    with pytest.raises(ValueError, match="did not release"):
        build_course([], tmp_path, tmp_path / "course", BROKEN)
    assert [path.name for path in (tmp_path / "course").rglob("*")] == ["source"]


def test_a_file_in_the_way_of_the_folder(tmp_path):
    nbformat.write(small(), tmp_path / "small.ipynb")
    (tmp_path / "course").write_text("mine")
    for out in (tmp_path / "course", tmp_path / "course" / "below"):
        with pytest.raises(ValueError, match=r"course.*, must be a writable folder: [\w ]+$"):
            build_course([], tmp_path, out, BROKEN)
    assert (tmp_path / "course").read_text() == "mine"


def test_command_refuses_in_one_line():
    answer = CliRunner().invoke(main, ["homework", "nothing"])
    assert (answer.exit_code, answer.stderr.count("\n")) == (2, 1)
    assert "notebook is 'nothing'" in answer.stderr


# nbgrader's whole cycle

NAME = "01_taxonomy"
KEEPS_THE_SMALLEST = EXERCISES["keep_k_largest"].mistakes[3]


def filled(path, bodies):
    """The released assignment at `path` with `bodies` (exercise -> code) for the dots, as a student hands it in."""
    notebook = nbformat.read(path, 4)
    for cell in notebook.cells:
        if cell.id in bodies:
            assert cell.source.endswith("    ...")
            cell.source = cell.source.removesuffix("    ...") + bodies[cell.id]
    return notebook


def graded(course, *command):
    path = os.pathsep.join([str(NBGRADER.parent), os.environ["PATH"]])
    done = subprocess.run(
        ["nbgrader", *command], cwd=course, env=os.environ | {"PATH": path}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


def state(course):
    """All files of the course, and the marks in its gradebook."""
    with closing(sqlite3.connect(course / "gradebook.db")) as gradebook:
        marks = gradebook.execute("SELECT * FROM grade ORDER BY id").fetchall()
    files = {path: path.read_bytes() for path in course.rglob("*") if path.is_file() and path.suffix != ".db"}
    return {"marks": marks, "files": files, "databases": sorted(course.rglob("*.db"))}


@pytest.mark.skipif(not NBGRADER.exists(), reason=f"no {NBGRADER}: make homework (or make test) makes it")
def test_release_autograde_and_feedback(tmp_path):
    folder, course = tmp_path / "notebooks", tmp_path / "course"
    folder.mkdir()
    source = json.loads((NOTEBOOKS / f"{NAME}.ipynb").read_text("utf-8"))
    (folder / f"{NAME}.ipynb").write_text(json.dumps(source), "utf-8")
    answers = tmp_path / "answers.md"
    answers.write_text(answers_to(range(1, 21)), "utf-8")
    (released,) = build_course([], folder, course, answers=answers)
    assert "The answer to 7." in (course / "exam" / "answers.md").read_text("utf-8")
    with (course / "nbgrader_config.py").open("a", encoding="utf-8") as config:  # the busiest machine must do
        config.write("c.ExecutePreprocessor.timeout = c.ExecutePreprocessor.iopub_timeout = 1800\n")
    _, exercises = read_exercises(folder / f"{NAME}.ipynb")
    handed_out = released.read_text("utf-8")
    assert "SOLUTION" not in handed_out
    assert "Rubric" not in handed_out
    assert "YOUR ANSWER HERE" in handed_out
    lines = [line for each in exercises for line in each.body.split("\n") if line]
    assert not any(json.dumps(line)[1:-1] in handed_out for line in lines)

    right = {each.name: each.body for each in exercises}
    right["keep_k_largest"] = "    import warnings\n    warnings.warn('no mistake')\n" + right["keep_k_largest"]
    wrong = right | {"keep_k_largest": right["keep_k_largest"].replace("descending=True", "descending=False")}
    for who, bodies in {"right": right, "wrong": wrong, "empty": {}}.items():
        handed_in = course / "submitted" / who / NAME / released.name
        handed_in.parent.mkdir(parents=True)
        nbformat.write(filled(released, bodies), handed_in)
    assert "Warning" not in graded(course, "autograde", NAME)
    graded(course, "generate_feedback", NAME)
    pages = {path.parts[-3]: path.read_text("utf-8") for path in course.glob("feedback/*/*/*.html")}
    total = sum(each.points for each in exercises)
    most = total + sum(each.points for each in questions(nbformat.read(folder / f"{NAME}.ipynb", 4), NAME))
    scores = {who: re.search(r"Score: ([\d.]+) / ([\d.]+)", page).groups() for who, page in pages.items()}
    assert scores == {
        "right": (f"{total}.0", f"{most}.0"),
        "wrong": (f"{total - 4}.0", f"{most}.0"),
        "empty": ("0.0", f"{most}.0"),
    }
    assert html.escape(KEEPS_THE_SMALLEST.hint, quote=False) in pages["wrong"]
    assert KEEPS_THE_SMALLEST.hint not in pages["right"]
    assert pages["empty"].count("AssertionError</span>: Not written yet") == len(exercises)

    # A second call keeps what was handed in, graded and configured.
    kept = state(course)
    assert kept["marks"]
    assert build_course([], folder, course, answers=answers) == [released]
    assert state(course) == kept

    # An exercise less, where marks depend on it, is refused, and nothing changes.
    last = exercises[-1].cell
    del source["cells"][last]
    before = "".join(source["cells"][last - 1]["source"])  # may end the exercise before it
    source["cells"][last - 1]["source"] = [before.split(f"**{exercises[-1].number} ")[0]]
    source["cells"][last]["source"] = ["Text."]
    (folder / f"{NAME}.ipynb").write_text(json.dumps(source), "utf-8")
    with pytest.raises(ValueError, match="RuntimeError: Cannot add or remove cells .* there are submissions"):
        build_course([], folder, course)
    assert state(course) == kept
