"""The texts of the decks: short, with nothing that the notebook does not show, and with all its widgets."""

import html
import re

import pytest
import widgets_used

from pruning_lib.files import CHECKOUT
from pruning_lib.reproduction import NOTEBOOKS
from pruning_lib.reproduction.parameters import notebook_paths, read_notebook
from pruning_lib.teaching.publishing.slides import as_slides, read

FOLDER = CHECKOUT / "docs" / "slides"
SHOWN = re.compile(r"^\{\{([\w-]+)(.*)\}\}$", re.MULTILINE)
FORMULA = re.compile(r"\$\$.+?\$\$|\$.+?\$", re.DOTALL)
NUMBER = re.compile(r"(?<![\w.,\d])\d+(?:,\d{3})*(?:\.\d+)?")
NAMES = list(notebook_paths(NOTEBOOKS))
every_deck = pytest.mark.parametrize("name", NAMES)


def text_of(name: str) -> str:
    return (FOLDER / f"{name}.md").read_text(encoding="utf-8")


def numbers(text: str) -> set[float]:
    return {float(one.replace(",", "")) for one in NUMBER.findall(text)}


def known(name: str) -> set[float]:
    """The numbers of a notebook: of its texts, its code and what it put out."""
    texts = []
    for cell in read_notebook(NOTEBOOKS / f"{name}.ipynb").cells:
        texts.append(cell.source)
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            page = re.sub(r"<[^>]+>", " ", "".join(data.get("text/html", "")))
            texts += [html.unescape(page), "".join(output.get("text") or data.get("text/plain", ""))]
    return numbers("\n".join(texts))


def test_a_deck_for_every_notebook():
    assert sorted(path.stem for path in FOLDER.glob("*.md")) == NAMES


@every_deck
def test_slides_are_short_and_each_has_one_thing_to_see(name):
    slides = read(text_of(name))
    assert 12 <= len(slides) <= 26
    headings = [slide.blocks[0] for slide in slides]
    assert headings[0].startswith("# ") and all(one.startswith("## ") for one in headings[1:])
    assert len(set(headings)) == len(headings)
    for heading, *rest in (slide.blocks for slide in slides):
        words = re.findall(r"\S*\w\S*", FORMULA.sub("x", " ".join(block for block in rest if not SHOWN.match(block))))
        assert len(heading.split()) <= 16 and len(words) <= 60, heading
        shown = [block for block in rest if SHOWN.match(block) or block.startswith(("|", "```"))]
        assert len(shown) <= 2, heading


@every_deck
def test_numbers_are_the_notebooks(name):
    spoken = FORMULA.sub(" ", SHOWN.sub(" ", text_of(name)))
    assert not {one for one in numbers(spoken) if one > 12} - known(name)


@every_deck
def test_every_widget_has_its_slide_and_the_room_guesses(name):
    notebook = read_notebook(NOTEBOOKS / f"{name}.ipynb")
    shown = {match[0] for match in SHOWN.findall(text_of(name))}
    made = {notebook.cells[index].id: names for index, names in widgets_used.cells(notebook).items()}
    assert {cell for cell, names in made.items() if names != {"Predict"}} <= shown
    assert len([cell for cell, names in made.items() if names == {"Predict"} and cell in shown]) >= 2


@every_deck
def test_what_a_slide_shows_is_there(name):
    """In the committed notebook, but for widgets, which are not saved."""
    notebook = read_notebook(NOTEBOOKS / f"{name}.ipynb")
    live = {notebook.cells[index].id for index in widgets_used.cells(notebook)}
    text = SHOWN.sub(lambda match: "" if match[1] in live and match[2] in ("", " widget") else match[0], text_of(name))
    as_slides(notebook.cells, text)
