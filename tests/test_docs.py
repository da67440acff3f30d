"""The front: links that lead somewhere, one version everywhere, a citation that tools can read."""

import re
import tomllib

import pytest
import yaml

import pruning_lib
from pruning_lib.files import CHECKOUT

DOCUMENTS = [*sorted(CHECKOUT.glob("*.md")), *sorted((CHECKOUT / "docs").rglob("*.md"))]


def text_of(name):
    return (CHECKOUT / name).read_text(encoding="utf-8")


def anchors(text):
    """The places in a page that a link can name, as code hosts and the site do: its headings."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.relative_to(CHECKOUT).as_posix())
def test_links_lead_somewhere(path):
    links = re.findall(r"\]\(([^)\s]+)\)", path.read_text(encoding="utf-8"))
    for link in (link for link in links if "://" not in link):
        file, _, place = link.partition("#")
        target = (path.parent / file).resolve() if file else path
        assert target.exists(), link
        assert not place or place in anchors(target.read_text(encoding="utf-8")), link


def test_one_version_everywhere():
    citation, project = yaml.safe_load(text_of("CITATION.cff")), tomllib.loads(text_of("pyproject.toml"))["project"]
    first = re.search(r"^## (\d+\.\d+\.\d+)", text_of("CHANGELOG.md"), re.MULTILINE)[1]
    assert {citation["version"], project["version"], first} == {pruning_lib.__version__}


def test_citation_has_what_its_format_asks_for():
    citation = yaml.safe_load(text_of("CITATION.cff"))
    assert {"cff-version", "message", "title", "authors"} <= set(citation)
    assert citation["license"] == tomllib.loads(text_of("pyproject.toml"))["project"]["license"]
    (survey,) = citation["references"]
    assert {"type", "title", "authors"} <= set(survey) and re.fullmatch(r"10\.\d{4,}/\S+", survey["doi"])


def test_set_up_without_make_has_every_target():
    targets = re.search(r"^\.PHONY: help (.+)$", text_of("Makefile"), re.MULTILINE)[1].split()
    table = text_of("docs/setup.md")
    named = set(re.findall(r"`(?:make )?([\w-]+)`", "\n".join(re.findall(r"^\| `make .*$", table, re.MULTILINE))))
    assert set(targets) - named == {"bench-gpu"}
