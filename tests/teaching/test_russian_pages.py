"""The Russian pages: one for each notebook, with its minutes, its objectives and what to remember, point by point."""

import re

import pytest

from pruning_lib.files import CHECKOUT
from pruning_lib.reproduction.parameters import notebook_paths, read_notebook

FOLDER = CHECKOUT / "docs" / "ru"
PAGES = sorted(FOLDER.glob("0*.md"))
NOTEBOOKS = notebook_paths(CHECKOUT / "notebooks")
POINT = re.compile(r"^- (.+(?:\n(?!\n|- ).+)*)", re.MULTILINE)
FACT = re.compile(r"\$[^$]+\$|`[^`]+`|[A-Z]+-\d+|\d+(?:[.,]\d+)?")  # formulas, code, names of equations, numbers

pages = pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)


def points(text):
    return [" ".join(point.split()) for point in POINT.findall(text)]


def facts(point):
    """What must be the same in both languages; a number is written 1,234.5 in one and 1234,5 in the other."""
    return sorted(re.sub(r",(?=\d{3}\b)", "", fact).replace(",", ".") for fact in FACT.findall(point))


def english(path):
    """Heading, minutes, objectives and what to remember of the notebook that the page is about."""
    cells = [cell.source for cell in read_notebook(NOTEBOOKS[path.stem]).cells if cell.cell_type == "markdown"]
    (objectives,) = (cell for cell in cells if cell.startswith("**After this notebook"))
    (remember,) = (cell for cell in cells if cell.startswith("## What to remember"))
    return (
        cells[0].split("\n")[0],
        re.search(r"about (\d+) minutes", objectives)[1],
        points(objectives),
        points(remember),
    )


def russian(path):
    text = path.read_text(encoding="utf-8")
    heading, goals, remember = re.fullmatch(
        r"(# .+?)\n.*\n## Цели\n(.*)\n## Что запомнить\n(.*)", text, re.DOTALL
    ).groups()
    return heading, re.search(r"около (\d+) минут", goals)[1], points(goals), points(remember)


def test_a_page_for_every_notebook():
    assert [path.stem for path in PAGES] == sorted(NOTEBOOKS)


@pages
def test_heading_and_minutes_are_the_notebooks(path):
    ours, theirs = russian(path), english(path)
    assert ours[0].split(" · ")[0] == theirs[0].split(" · ")[0]
    assert re.search("[а-яё]", ours[0])
    assert ours[1] == theirs[1]
    row = re.search(rf"\]\({path.name}\) \|.*\| (\d+) \|", (FOLDER / "README.md").read_text(encoding="utf-8"))
    assert row[1] == ours[1]


@pages
@pytest.mark.parametrize("part", [2, 3], ids=["objectives", "remember"])
def test_point_by_point_the_same_formulas_equations_and_numbers(path, part):
    ours, theirs = russian(path)[part], english(path)[part]
    assert len(ours) == len(theirs) >= 3
    for own, their in zip(ours, theirs, strict=True):
        assert facts(own) == facts(their), f"{own}\n{their}"
        assert len(re.findall("[а-яё]+", own.lower())) >= 5, own


@pages
def test_it_names_its_notebook(path):
    assert f"[{path.stem}](../../notebooks/{path.stem}.ipynb)" in path.read_text(encoding="utf-8")


def test_typos_of_the_digest_are_not_repeated():
    typos = (
        "гессенец",
        "гессенц",
        "лангражин",
        "sparce",
        "prunni",
        "prunun",
        "trainn",
        "unstructir",
        "отсавш",
        "пренебресь",
    )
    text = "\n".join(
        path.read_text(encoding="utf-8").casefold() for path in [*PAGES, CHECKOUT / "docs" / "glossary.md"]
    )
    assert [typo for typo in typos if typo in text] == []
