"""The lecturer's pages: one for each notebook, complete, and true about headings, minutes and exercises."""

import re

import pytest

from pruning_lib.files import CHECKOUT
from pruning_lib.reproduction.parameters import read_notebook
from pruning_lib.teaching.publishing.gather import room_questions

FOLDER = CHECKOUT / "docs" / "lecturer"
PAGES = sorted(FOLDER.glob("0*.md"))
SECTIONS = [
    "Goals",
    "Before the lecture",
    "90 minutes",
    "45 minutes",
    "What to show",
    "What goes wrong",
    "Questions and answers",
    "Exercises",
    "What it cannot do",
]

pages = pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)


def texts_of(path):
    """The text cells of the notebook that the page is about."""
    notebook = read_notebook(CHECKOUT / "notebooks" / f"{path.stem}.ipynb")
    return [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]


def text_of(path):
    return "\n\n".join(texts_of(path))


def section(path, name):
    return re.search(rf"^## {name}\n(.*?)(?=^## |\Z)", path.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)[1]


def rows(text):
    """The cells of the table in `text`, without its head."""
    lines = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line] for line in lines[2:]]


def notebook_minutes(path):
    return int(re.search(r"\*\*After this notebook \(about (\d+) minutes\)", text_of(path))[1])


def exercises_of(path, level=r"\w+"):
    """Number and title → minutes."""
    found = re.findall(
        rf"^\*\*(\d+[a-z]?\.\d+ .+?)\*\* \({level}, (\d+) minutes(?:, in words)?\)", text_of(path), flags=re.MULTILINE
    )
    return {name: int(minutes) for name, minutes in found}


def minutes_of(path):
    """Minutes of reading, of core and of stretch exercises; reading is all of it where nothing else is said."""
    (about,) = (text for text in texts_of(path) if "**After this notebook (about" in text)
    reading = re.search(r"(\d+)(?: minutes)? of reading", about)
    core, stretch = (sum(exercises_of(path, level).values()) for level in ("core", "stretch"))
    return int(reading[1]) if reading else notebook_minutes(path), core, stretch


def test_a_page_for_every_notebook():
    assert [path.stem for path in PAGES] == sorted(path.stem for path in (CHECKOUT / "notebooks").glob("0*.ipynb"))


@pages
def test_sections(path):
    assert re.findall(r"^## (.+)$", path.read_text(encoding="utf-8"), flags=re.MULTILINE) == SECTIONS


@pages
def test_three_questions_for_the_end_of_the_deck(path):
    asked = room_questions(CHECKOUT / "notebooks", path.stem)
    assert len(asked) == 3 and all(question.endswith("?") or "? " in question for question, _ in asked)
    assert all(answer in path.read_text(encoding="utf-8") for _, answer in asked)


@pages
def test_headings_of_the_notebook_exist(path):
    named = re.findall(r"\[§ (.+?)\]", " ".join(path.read_text(encoding="utf-8").split()))
    assert len(named) >= 5
    assert set(named) <= set(re.findall(r"^#{2,} (.+)$", text_of(path), flags=re.MULTILINE))


@pages
def test_plans_add_up(path):
    for minutes in (90, 45):
        assert sum(int(row[0]) for row in rows(section(path, f"{minutes} minutes"))) == minutes


@pages
def test_minutes_are_the_notebooks(path):
    minutes = notebook_minutes(path)
    assert f"{minutes} minutes for someone alone" in " ".join(path.read_text(encoding="utf-8").split())
    reading, core, stretch = minutes_of(path)
    assert reading <= minutes <= reading + core
    table = (FOLDER / "README.md").read_text(encoding="utf-8")
    row = re.search(rf"^\| \[.+?\]\({path.name}\) \| (\d+) \| (\d+) \| (\d+) \|", table, flags=re.MULTILINE)
    assert [int(minutes) for minutes in row.groups()] == [reading, core, stretch]
    readme = (CHECKOUT / "README.md").read_text(encoding="utf-8")
    row = re.search(rf"^\| \[\w+\]\(notebooks/{path.stem}.ipynb\).*\| (\d+) \| (\d+) \|$", readme, flags=re.MULTILINE)
    assert [int(minutes) for minutes in row.groups()] == [reading, core]


def test_sums_of_minutes_in_readme():
    minutes = {path.stem.split("_")[0]: minutes_of(path) for path in PAGES}
    reading, core = (sum(each[place] for each in minutes.values()) for place in (0, 1))
    readme = (CHECKOUT / "README.md").read_text(encoding="utf-8")
    hours = [round(each / 60) for each in (reading, core)]
    total = f"{hours[0]} hours of reading, {hours[1]} hours of core exercises** | | **{reading}** | **{core}** |"
    assert total in readme
    path, *promised = re.search(
        r"Shortest path: ([\w →]+), (\d+) minutes of\s+reading and (\d+) of exercises", readme
    ).groups()
    assert [sum(minutes[number][place] for number in path.split(" → ")) for place in (0, 1)] == list(map(int, promised))
    of_language_models = sum(sum(minutes[number][:2]) for number in ("01", "04", "05", "05b", "05c"))
    assert f"01, then 04, 05, 05b, 05c, {round(of_language_models / 60)} hours" in readme


@pages
def test_exercises_are_the_notebooks(path):
    assert {row[0]: int(row[1]) for row in rows(section(path, "Exercises"))} == exercises_of(path)
