"""The glossary keeps its promises: sorted, no term twice, and every term and equation in the notebook it points to."""

import re

import pytest

from pruning_lib.files import CHECKOUT
from pruning_lib.reproduction.parameters import read_notebook

GLOSSARY = CHECKOUT / "docs" / "glossary.md"
ENTRY = re.compile(r"\*\*(.+?)\*\* · (.+?)\. (.+) \[(\w+)\]\((\S+)\)(?:, ([A-Z]+-\d+))?")


def entries():
    """(term, Russian, definition, notebook, link, equation or "") of every list item."""
    items = re.split(r"^- ", GLOSSARY.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    found = []
    for item in items:
        text = " ".join(item.split("\n## ")[0].split())
        match = ENTRY.fullmatch(text)
        assert match, f"not of the form '**term** · Russian. Definition. [notebook](path), EQUATION-1': {text}"
        found.append(match.groups(default=""))
    return found


def test_alphabetical_with_no_term_twice():
    terms = [entry[0].casefold() for entry in entries()]
    assert len(terms) > 100
    assert terms == sorted(set(terms))


def test_headings_are_the_first_letters():
    text = GLOSSARY.read_text(encoding="utf-8")
    for heading, section in re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", text, flags=re.MULTILINE | re.DOTALL):
        first = {term[0].upper() for term in re.findall(r"^- \*\*(.+?)\*\*", section, flags=re.MULTILINE)}
        assert first == ({heading} if heading != "0–9" else first & set("0123456789")) != set()


def test_every_entry_is_in_russian_and_defined():
    for term, russian, definition, *_ in entries():
        assert re.search("[а-яё]", russian.lower()), f"{term}: {russian}"
        assert definition.endswith((".", ".)")) and len(definition.split()) >= 5, f"{term}: {definition}"


@pytest.mark.parametrize("name", sorted({entry[3] for entry in entries()}))
def test_terms_and_equations_are_in_the_notebook(name):
    notebook = read_notebook(CHECKOUT / "notebooks" / f"{name}.ipynb")
    text = " ".join(" ".join(cell.source for cell in notebook.cells).split())
    for term, _, _, notebook_name, link, equation in entries():
        if notebook_name == name:
            assert link == f"../notebooks/{name}.ipynb"
            assert re.search(rf"(?<!\w){re.escape(term)}", text, flags=re.IGNORECASE), f"{term} is not in {name}"
            assert not equation or rf"\tag{{{equation}}}" in text, f"{term}: {equation} is not in {name}"
