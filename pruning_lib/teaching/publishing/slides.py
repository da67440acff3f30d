"""From a deck's text and an executed notebook's cells to slides: the text says what stands where, the cells show it."""

import copy
import html
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from nbformat import NotebookNode
from nbformat.v4 import new_markdown_cell

EXHIBITS = ("widget", "picture", "table", "formula", "code", "print")  # the first that a cell has is meant
_BLOCK = re.compile(r"```.*?```|^\$\$.*?\$\$|(?:(?!^\$\$|^```|\n\s*\n).)+", re.DOTALL | re.MULTILINE)
_NOTE = re.compile(r"^Note:\s*", re.MULTILINE)
_SHOW = re.compile(rf"\{{\{{([\w-]+)(?: ({'|'.join(EXHIBITS)}))?(?: (\d+))?\}}\}}")
_STARTS = {"#": "heading", "$$": "formula", "```": "code", "|": "table"}


class Slide(NamedTuple):
    """A slide of a deck's text: its blocks, the first of them its heading, and what is said."""

    blocks: list[str]
    note: str


def read(text: str) -> list[Slide]:
    """The slides of a deck's text, which lines of three dashes part; what follows ``Note:`` is said and not shown.

    ValueError where a slide does not begin with a heading.
    """
    slides = []
    for number, part in enumerate(re.split(r"^---[ \t]*$", text, flags=re.MULTILINE), 1):
        shown, *said = _NOTE.split(part, maxsplit=1)
        blocks = [block.strip() for block in _BLOCK.findall(shown) if block.strip()]
        if not blocks or not blocks[0].startswith("#"):
            raise ValueError(f"slide {number} begins with {blocks[0] if blocks else ''!r}, must begin with a heading")
        slides.append(Slide(blocks, "".join(said).strip()))
    return slides


def as_slides(cells: list[NotebookNode], text: str, questions: Sequence[tuple[str, str]] = ()) -> list[NotebookNode]:
    """Cells of a deck; `questions` with their answers make its last slide.

    On a slide of `text` a block ``{{id}}`` stands for what the cell with this id shows: a widget, else a picture, a
    table, a formula, the code, what it printed; ``{{id table 2}}`` for its second table. All else is Markdown. Words
    below one of these, or below a formula or table of the text, appear one by one, as does a second of its kind, and
    below a guess the answer. The attribute ``data-layout`` of a slide names what it shows.

    Raises
    ------
    ValueError
        If a slide does not begin with a heading, or shows what the cells don't have.
    """
    shown = {cell.id: list(_exhibits(cell)) for cell in _with_stills(cells)}
    made = []
    for number, slide in enumerate(read(text), 1):
        try:
            made += _laid_out(slide, shown)
        except ValueError as error:
            raise ValueError(f"slide {number}, {slide.blocks[0].lstrip('# ')!r}: {error}") from None
    if questions:
        asked = "\n".join(f"{number}. {question}" for number, (question, _) in enumerate(questions, 1))
        answers = "\n\n".join(f"**{question}** {answer}" for question, answer in questions)
        made += [_text(f"## Questions for the room\n\n{asked}", "slide", "words"), _text(answers, "notes")]
    return made


def _laid_out(slide: Slide, shown: dict[str, list[tuple[str, NotebookNode]]]) -> Iterator[NotebookNode]:
    parts = [_part(block, shown) for block in slide.blocks]
    kinds = {kind for kind, _ in parts} - {"heading", "words", "print"}
    layout = "title" if slide.blocks[0].startswith("# ") else " ".join(sorted(kinds)) or "words"
    seen: set[str] = set()
    for place, (kind, cell) in enumerate(parts):
        cell = copy.deepcopy(cell)
        late = seen and (kind == "words" or kind in seen)
        build = ("fragment" if late else "-") if place else "slide"
        cell.metadata.slideshow = {"slide_type": build, "data": {"layout": layout}}
        yield cell
        seen |= {kind} - {"heading", "words"}
        if not place and slide.note:
            yield _text(slide.note, "notes")
        if kind == "widget" and "Predict(" in cell.source:
            yield _text('<span class="answer"></span>', "fragment")


def _part(block: str, shown: dict[str, list[tuple[str, NotebookNode]]]) -> tuple[str, NotebookNode]:
    """What a block of a slide is, and the cell that shows it."""
    asked = _SHOW.fullmatch(block)
    if not asked and block.startswith("{{"):
        raise ValueError(
            f"{block!r} must be {{{{id}}}}, {{{{id KIND}}}} or {{{{id KIND NUMBER}}}} with {', '.join(EXHIBITS)}"
        )
    if not asked:
        return next((kind for start, kind in _STARTS.items() if block.startswith(start)), "words"), _text(block)
    name, kind, place = asked[1], asked[2], int(asked[3] or 1)
    if name not in shown:
        raise ValueError(f"{name!r} is no cell of the notebook")
    kinds = {one for one, _ in shown[name]}
    kind = kind or next((one for one in EXHIBITS if one in kinds), "output")
    found = [cell for one, cell in shown[name] if one == kind]
    if not 1 <= place <= len(found):
        raise ValueError(f"{block} is {kind} {place} of its cell, which has {len(found)}")
    return kind, found[place - 1]


def _exhibits(cell: NotebookNode) -> Iterator[tuple[str, NotebookNode]]:
    """All that a slide can show of a cell, each with its kind."""
    if cell.cell_type == "markdown":
        for block in map(str.strip, _BLOCK.findall(cell.source)):
            kind = next((kind for start, kind in _STARTS.items() if block.startswith(start)), "")
            if kind in EXHIBITS:
                yield kind, _text(block)
        return
    yield "code", _of_code(cell, [])
    for output in cell.get("outputs", []):
        data = output.get("data", {})
        page = "".join(data.get("text/html", ""))
        if 'class="live-widget"' in page:
            kind = "widget"
        else:
            drawn = any(one.startswith("image/") for one in data)
            kind = "picture" if drawn else "table" if "<table" in page else "print"
        if output.get("name") != "stderr":
            yield kind, _of_code(cell, [output])


def _of_code(cell: NotebookNode, outputs: list[NotebookNode]) -> NotebookNode:
    """A copy of a code cell with some of its outputs, or with none, which shows the code then."""
    part = copy.copy(cell)
    part.outputs, part.metadata = outputs, copy.deepcopy(cell.metadata)
    if outputs:
        part.metadata["transient"] = {"remove_source": True}
    return part


def _with_stills(cells: list[NotebookNode]) -> list[NotebookNode]:
    """The cells, with the first still of each widget beside it for a page that runs no scripts."""
    cells, widget = copy.deepcopy(cells), None
    for cell in cells:
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            if 'class="live-widget"' in "".join(data.get("text/html", "")):
                widget = data if "Predict(" not in cell.source else None
            elif widget and "still(" in cell.source and "image/png" in data:
                alt = html.escape(output.metadata.get("image/png", {}).get("alt", "The widget"))
                picture = f'<img alt="{alt}" src="data:image/png;base64,{"".join(data["image/png"].split())}">'
                widget["text/html"] = "".join(widget["text/html"]) + f"\n<noscript>{picture}</noscript>"
                widget = None
    return cells


def _text(source: str, slide_type: str = "-", layout: str = "") -> NotebookNode:
    return new_markdown_cell(source, metadata={"slideshow": {"slide_type": slide_type, "data": {"layout": layout}}})
