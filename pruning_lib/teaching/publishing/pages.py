"""An executed notebook as one HTML file that needs nothing else: a hand-out to read, a deck to project."""

import base64
import copy
import html
import logging
import re
import zlib
from collections.abc import Sequence
from pathlib import Path

from nbformat import NotebookNode

from pruning_lib.teaching.publishing.live import live
from pruning_lib.teaching.publishing.slides import as_slides

_HERE = Path(__file__).parent
VENDOR, _TEMPLATES = _HERE / "vendor", _HERE / "templates"
_LARGE = 1_000_000  # characters; a longer script goes into pages deflated, which takes less than half of the room
_UNPACK = """(async () => {
  const bytes = Uint8Array.from(atob("%s"), (character) => character.charCodeAt(0));
  const text = new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"))).text();
  document.head.append(Object.assign(document.createElement("script"), { textContent: await text }));
})();"""
_HEADING = re.compile(r"^# +(.+)$", re.MULTILINE)


def handout(notebook: NotebookNode) -> str:
    """Return the executed `notebook` as HTML: everything in it, widgets alive, formulas typeset, no network.

    Raises
    ------
    ValueError
        As `live` does.
    """
    from nbconvert import HTMLExporter

    return _export(HTMLExporter, "handout", without_places(live(notebook, complete=True)))


def deck(notebook: NotebookNode, text: str, questions: Sequence[tuple[str, str]] = ()) -> str:
    """Return slides about the executed `notebook` as HTML for reveal.js, 1280 × 720.

    What is on them says the deck's `text`, as `slides.as_slides` reads it. The last slide asks `questions`.

    Raises
    ------
    ValueError
        As `slides.as_slides` and `live` do.
    """
    from nbconvert import SlidesExporter

    notebook = live(notebook)
    notebook.cells = as_slides(notebook.cells, text, questions)
    for number, cell in enumerate(notebook.cells):
        cell.id = f"part-{number}"  # several may come from one
    return _export(SlidesExporter, "deck", notebook)


def _export(exporter: type, template: str, notebook: NotebookNode) -> str:
    """Fill `template` with the notebook; it takes in shipped files by ``resources.vendored``."""
    logging.getLogger("traitlets").setLevel(logging.ERROR)  # a warning per image without alternative text
    notebook.metadata.title = title(notebook)
    where = {"extra_template_basedirs": [str(_TEMPLATES)], "extra_template_paths": [str(_TEMPLATES)]}
    # nbconvert cleans code that Pygments has escaped already, which takes a third of the time.
    filters = {"clean_html": lambda code: code}
    page = exporter(template_name=template, exclude_anchor_links=True, filters=filters, **where)
    return page.from_notebook_node(notebook, resources={"vendored": _vendored})[0]


def title(notebook: NotebookNode) -> str:
    """The notebook's first heading, or "Notebook"."""
    for cell in notebook.cells:
        if cell.cell_type == "markdown" and (found := _HEADING.search(cell.source)):
            return found[1].replace("`", "")
    return "Notebook"


def without_places(notebook: NotebookNode) -> NotebookNode:
    """Drop from a copy what papermill put into it for this machine: the path of the results."""
    notebook = copy.copy(notebook)
    cells = []
    for cell in notebook.cells:
        if "injected-parameters" in cell.metadata.get("tags", []):
            lines = [line for line in cell.source.strip().splitlines() if not line.startswith("out = ")]
            if lines == ["# Parameters"]:
                continue
            cell.source = "\n".join(lines)
        cells.append(cell)
    notebook.cells = cells
    return notebook


def _vendored(name: str) -> str:
    """A shipped file as text that may stand inside a page: nothing in a script may look like the end of it.

    A large script is one that unpacks and starts it.
    """
    text = (VENDOR / name).read_text(encoding="utf-8")
    if name.endswith(".js"):
        text = text.replace("<!--", "\\x3c!--").replace("<script", "\\x3cscript").replace("</script", "<\\/script")
    return text if len(text) < _LARGE else _UNPACK % base64.b64encode(zlib.compress(text.encode(), 9)).decode()


def index(heading: str, pages: dict[str, str], note: str) -> str:
    """A page that links to others: file name → title."""
    links = "\n".join(f'<li><a href="{html.escape(file)}">{html.escape(name)}</a></li>' for file, name in pages.items())
    page = (_TEMPLATES / "index.html").read_text(encoding="utf-8")
    return page.format(title=html.escape(heading), links=links, note=html.escape(note))
