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


SLIDES = (
    "# Tiny\n\n{{formula}}\n\n{{shown code}}\n\n{{shown print}}\n\nSeen?\n\nNote: Say this.\n\n---\n\n## Try\n\n{{a}}"
)


def tagged(source: str, *tags: str, **made: str):
    output = new_output("stream", text=f"printed by {source.split()[0]}\n")
    return new_code_cell(source, outputs=[output], metadata={"tags": list(tags)}, **made)


def slides(executed):
    return deck(executed, SLIDES)


@pytest.fixture(scope="module")
def executed():
    cells = [
        tagged('# Parameters\nlr = 0.1\nout = "/place/of/results.json"', "injected-parameters"),
        markdown("Let $x^2$ be.\n\n$$y = x \\tag{T-1}$$", id="formula"),
        tagged("secret()"),
        tagged("shown()", id="shown"),
        view("a", id="a"),
    ]
    return notebook(*cells, a=anywidget())


@pytest.mark.parametrize("make", [handout, slides])
def test_a_page_fetches_nothing(executed, make):
    assert FETCHED.findall(without_scripts(make(executed))) == []


def test_a_handout_holds_everything_but_the_places_of_this_machine(executed):
    page = handout(executed)
    assert "<title>The tiny one</title>" in page
    for text in ("Let $x^2$ be.", "\\tag{T-1}", "secret", "shown", "lr"):
        assert text in page
    assert "/place/of" not in page and "/place/of" in executed.cells[1].source


def test_a_handout_leaves_out_parameters_that_are_only_a_place():
    page = handout(notebook(tagged('# Parameters\nout = "/place"\n', "injected-parameters")))
    assert "injected" not in page and "printed by" not in page


def test_slides_show_what_their_text_says(executed):
    page = slides(executed)
    shown = page[page.index('<div class="slides">') :]
    assert shown.count("<section") == 2 * 2  # each in one of its own
    assert shown.count('class="fragment"') == 1  # what is said below
    assert "Let $x^2$" not in shown and "/place/of" not in shown and "secret" not in shown
    assert "printed by shown" in shown
    assert "Say this." in shown[shown.index('<aside class="notes">') : shown.index("</aside>")]
    assert shown.count('class="live-widget"') == 1


@pytest.mark.parametrize("make", [handout, lambda executed: deck(executed, "# P\n\n{{p}}\n\n{{p picture 2}}")])
def test_a_picture_keeps_its_alternative_text_and_its_size(make):
    metadata = {"image/png": {"alt": "two & <three>", "width": 860}}
    outputs = [new_output("display_data", {"image/png": "iVBORw0KGgo="}, metadata=metadata)]
    outputs += [new_output("display_data", {"image/png": "iVBORw0KGgo="})]
    cell = new_code_cell("pictures", outputs=outputs, id="p")
    first, second = re.findall(r"<img [^>]*>", without_scripts(make(notebook(cell))))
    assert 'alt="two &amp; &lt;three&gt;"' in first and 'width="860"' in first and 'alt="No description' in second


def test_shipped_files_are_those_of_the_list():
    listed = dict(re.findall(r"^\| `([\w.-]+)` .* `([0-9a-f]{64})` \|$", (VENDOR / "README.md").read_text(), re.M))
    shipped = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in VENDOR.glob("*.*s")}
    assert len(shipped) == 4 and listed == shipped
