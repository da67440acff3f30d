import hashlib
import re

import pytest
from live_notebooks import anywidget, markdown, notebook, view
from nbformat.v4 import new_code_cell, new_output

from pruning_lib.teaching.publishing.pages import VENDOR, deck, handout

# What a browser would fetch: an address in a tag, a style sheet or a module.
FETCHED = re.compile(
    r"""<(?:script|img|link|iframe|source)\b[^>]*?\s(?:src|href)\s*=\s*["']?(?!data:)([^"'>\s]+)"""
    r"""|@import\s+([^;]+);|url\(\s*["']?(?!data:|#)([^)"']+)""",
    re.IGNORECASE,
)


def without_scripts(page: str) -> str:
    return re.sub(r"<script\b([^>]*)>.*?</script>", r"<script\1></script>", page, flags=re.DOTALL)


def tagged(source: str, *tags: str, slide: str = "-"):
    output = new_output("stream", text=f"printed by {source.split()[0]}\n")
    return new_code_cell(source, outputs=[output], metadata={"tags": list(tags), "slideshow": {"slide_type": slide}})


@pytest.fixture(scope="module")
def executed():
    cells = [
        tagged('# Parameters\nlr = 0.1\nout = "/place/of/results.json"', "injected-parameters"),
        markdown("Let $x^2$ be.\n\n$$y = x \\tag{T-1}$$", "slide"),
        tagged("secret()"),
        tagged("shown()", "slide-code", slide="fragment"),
        markdown("Not on a slide.", "skip"),
        markdown("Say this.", "notes"),
        view("a", "subslide"),
    ]
    return notebook(*cells, a=anywidget())


@pytest.mark.parametrize("make", [handout, deck])
def test_a_page_fetches_nothing(executed, make):
    assert FETCHED.findall(without_scripts(make(executed))) == []


def test_a_handout_holds_everything_but_the_places_of_this_machine(executed):
    page = handout(executed)
    assert "<title>The tiny one</title>" in page
    for text in ("Let $x^2$ be.", "\\tag{T-1}", "secret", "shown", "Not on a slide.", "Say this.", "lr"):
        assert text in page
    assert "/place/of" not in page and "/place/of" in executed.cells[1].source


def test_a_handout_leaves_out_parameters_that_are_only_a_place():
    page = handout(notebook(tagged('# Parameters\nout = "/place"\n', "injected-parameters")))
    assert "injected" not in page and "printed by" not in page


def test_slides_follow_the_tags(executed):
    page = deck(executed)
    slides = page[page.index('<div class="slides">') :]
    assert slides.count("<section") == 4 + 2  # four subslides in two slides
    assert slides.count('class="fragment"') == 2  # what was printed under the formula, and under the code
    assert "Not on a slide." not in slides and "/place/of" not in slides and "lr" not in slides[: slides.index("shown")]
    assert "secret" in slides and ">secret<" not in slides  # its output is there, its code is not
    assert ">shown<" in slides
    assert "Say this." in slides[slides.index('<aside class="notes">') : slides.index("</aside>")]
    assert slides.count('class="live-widget"') == 1


@pytest.mark.parametrize("make", [handout, deck])
def test_a_picture_keeps_its_alternative_text_and_its_size(make):
    metadata = {"image/png": {"alt": "two & <three>", "width": 860}}
    outputs = [new_output("display_data", {"image/png": "iVBORw0KGgo="}, metadata=metadata)]
    outputs += [new_output("display_data", {"image/png": "iVBORw0KGgo="})]
    cell = new_code_cell("pictures", outputs=outputs, metadata={"slideshow": {"slide_type": "slide"}})
    first, second = re.findall(r"<img [^>]*>", without_scripts(make(notebook(cell))))
    assert 'alt="two &amp; &lt;three&gt;"' in first and 'width="860"' in first and 'alt="No description' in second


def test_a_deck_without_slides_is_refused_by_name():
    empty = notebook(markdown("text"))
    empty.cells[0].metadata = {}
    with pytest.raises(
        ValueError, match=r"'The tiny one' has no cell with a slide type, must have one of slide, subslide, fr"
    ):
        deck(empty)


def test_shipped_files_are_those_of_the_list():
    listed = dict(re.findall(r"^\| `([\w.-]+)` .* `([0-9a-f]{64})` \|$", (VENDOR / "README.md").read_text(), re.M))
    shipped = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in VENDOR.glob("*.*s")}
    assert len(shipped) == 4 and listed == shipped
