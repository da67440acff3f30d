"""From a notebook's cells to slides for the back row: one exhibit each, a line or two of words, the rest as notes."""

import copy
import html
import re
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

from nbformat import NotebookNode
from nbformat.v4 import new_markdown_cell

_EXHIBITS = {"formula", "table", "code", "picture", "widget"}
_FEW, _LEADING = 28, 45  # words of a paragraph on a slide; of one before a formula, whose symbols it names
_TITLE = 5  # words in bold at the head of a paragraph; more of them are a claim
_BLOCK = re.compile(
    r"```.*?```|<details.*?</details>|^\$\$.*?\$\$|(?:(?!^\$\$|^```|\n\s*\n).)+", re.DOTALL | re.MULTILINE
)
_WHOLE = re.compile(  # no sentence ends in there
    r"\$.+?\$|`[^`]+`|\b(?:al|vs|[Cc]f|[Ee]\.g|[Ii]\.e|Eqs?|Figs?|Secs?)\.", re.DOTALL
)
_END = re.compile(r"""[.!?]["')*_]*\s+(?=["'(*_\[]*[A-Z\d])""")  # of a sentence
_BOLD = re.compile(r"(?<!\S)\*\*[^*]+[.!?]\*\*(?!\S)")
_ITEM = re.compile(r"^(?=(?:[-*]|\d+\.) )", re.MULTILINE)
_MARKER = re.compile(r"(?:(?:[-*]|\d+\.) +)?")  # of an item, or nothing


class _Piece(NamedTuple):
    """A part of a slide, what it is, the text that it is from, and whether it is less than that."""

    kind: str  # one of _EXHIBITS, or "heading", "words", "print", "notes", "answer"
    cell: NotebookNode
    complete: str = ""
    cut: bool = False


def as_slides(cells: list[NotebookNode], questions: Sequence[tuple[str, str]] = ()) -> list[NotebookNode]:
    """Cells of a deck, made from those of an executed notebook; `questions` with their answers make its last slide.

    A slide begins where ``slideshow.slide_type`` says so, and where a second exhibit comes: a formula, a table,
    code, a picture, a widget. Only formulas share a slide, and a picture stands beside them; a widget has its slide
    to itself, with its still for where no script runs. Paragraphs and items of lists shrink to their first
    sentences, or to those in bold; the complete text goes to the speaker's notes, as does what was printed beside a
    widget, a picture or a table, but for a line that heads a table; beside formulas or code one output stays. A
    folded table is left out. What comes after the first formula, or after a picture, appears one by one. The
    attribute ``data-layout`` of a slide names its exhibits.
    """
    slides: list[list[NotebookNode]] = [[]]
    for cell in _with_stills(cells):
        if _type(cell) in ("slide", "subslide"):
            slides.append([])
        if _type(cell) != "skip":
            slides[-1].append(cell)
    made: list[NotebookNode] = []
    heading = None
    for slide in filter(None, slides):
        groups = _groups([piece for cell in slide for piece in _pieces(cell)])
        for place, group in enumerate(group for group in groups if any(one.kind != "notes" for one in group)):
            heading = group[0] if group[0].kind == "heading" else heading
            made += _laid_out(group, heading, "subslide" if place else _type(slide[0]))
    if questions:
        asked = "\n".join(f"{number}. {question}" for number, (question, _) in enumerate(questions, 1))
        answers = "\n\n".join(f"**{question}** {answer}" for question, answer in questions)
        made += [_text(f"## Questions for the room\n\n{asked}", "slide", "words"), _text(answers, "notes")]
    return made


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


def _type(cell: NotebookNode) -> str:
    return cell.metadata.get("slideshow", {}).get("slide_type", "-")


def _text(source: str, slide_type: str = "-", layout: str = "") -> NotebookNode:
    return new_markdown_cell(source, metadata={"slideshow": {"slide_type": slide_type, "data": {"layout": layout}}})


def _laid_out(group: list[_Piece], heading: _Piece | None, begin: str) -> Iterator[NotebookNode]:
    """The cells of one slide; without a heading of its own it goes on under the last one."""
    shown = [piece for piece in group if piece.kind != "notes"]
    if heading and not _is_title(heading) and shown[:1] != [heading]:
        shown.insert(0, heading)
    layout = "title" if _is_title(group[0]) else " ".join(sorted({one.kind for one in group} & _EXHIBITS)) or "words"
    built = list(_built(shown, layout))
    left_out = [piece for piece in group if all(piece is not one for one, _ in built)]
    said = dict.fromkeys(piece.complete for piece in group if piece.cut or piece in left_out)
    notes = "\n\n".join(filter(None, said))
    for place, (piece, build) in enumerate(built):
        cell = copy.deepcopy(piece.cell)
        cell.metadata.slideshow = {"slide_type": build if place else begin, "data": {"layout": layout}}
        yield cell
        if notes and not place:
            yield _text(notes, "notes")


def _is_title(piece: _Piece) -> bool:
    return piece.kind == "heading" and piece.cell.source.startswith("# ")


def _groups(pieces: list[_Piece]) -> list[list[_Piece]]:
    """What stands on one slide together."""
    groups: list[list[_Piece]] = [[]]
    for piece in pieces:
        here = groups[-1]
        has = {one.kind for one in here} & _EXHIBITS
        full = (bool(has) or _is_title(here[0])) if here else False
        room = {"formula", "picture"} if has == {"formula"} else set() if full else _EXHIBITS
        text = {"words"} if here and _is_title(here[0]) else {"words", "print"}
        stays = piece.kind in {*room, "notes", "answer"} or (piece.kind in text and has != {"widget"})
        if here and not stays:
            # Words after a formula lead to what comes next.
            leads = has == {"formula"} and here[-1].kind == "words" and piece.kind != "heading"
            groups.append([here.pop()] if leads else [])
        groups[-1].append(piece)
    return groups


def _built(pieces: list[_Piece], layout: str) -> Iterator[tuple[_Piece, str]]:
    """What of the pieces is shown, and whether at once or later ("fragment")."""
    prints = [piece for piece in pieces if piece.kind == "print"]
    if layout == "widget":
        pieces, stay = [piece for piece in pieces if piece.kind != "words"], []
    elif layout in ("formula", "code"):  # one, a check where there is one
        stay = sorted(prints, key=lambda piece: piece.complete != "")[:1]
    elif layout != "words":
        stay = [one for one, table in pairwise(pieces) if table.kind == "table" and one.complete.count("\n") == 2]
    else:
        stay = prints
    pieces = [piece for piece in pieces if piece.kind != "print" or any(piece is one for one in stay)]
    if layout == "formula picture":  # what the formula says, the picture shows
        last = max(place for place, piece in enumerate(pieces) if piece.kind == "formula")
        pieces = [piece for place, piece in enumerate(pieces) if piece.kind != "words" or place < last]
    elif layout not in ("words", "formula"):  # one line is enough
        kinds = [piece.kind for piece in pieces]
        pieces = [piece for place, piece in enumerate(pieces) if kinds[max(place - 1, 0) : place + 1] != ["words"] * 2]
    if layout == "formula picture":
        pieces = sorted(pieces, key=lambda piece: piece.kind not in ("heading", "picture"))
    marks, late = "formula" if "formula" in layout else "picture", False
    for last, piece in zip([None, *pieces], pieces, strict=False):
        leads = last and last.kind == "words" and piece.kind == "formula"
        later = (late and not leads) or _type(piece.cell) == "fragment"
        yield piece, "fragment" if later and piece.kind != "widget" else "-"
        late = late or piece.kind == marks


def _pieces(cell: NotebookNode) -> Iterator[_Piece]:
    if _type(cell) == "notes":
        yield _Piece("notes", cell, cell.source)
    elif cell.cell_type == "markdown":
        yield from _of_text(cell)
    else:
        yield from _of_code(cell)


def _of_text(cell: NotebookNode) -> Iterator[_Piece]:
    blocks = [part.strip() for block in _BLOCK.findall(cell.source) for part in _with_list_apart(block)]
    blocks = list(filter(None, blocks))
    found = []
    for block, follows in zip(blocks, [*blocks[1:], ""], strict=True):
        starts = {"$$": "formula", "```": "code", "|": "table", "#": "heading", "<details": "notes"}
        kind = next((kind for start, kind in starts.items() if block.startswith(start)), "words")
        short = shortened(block, _LEADING if follows.startswith("$$") else _FEW) if kind == "words" else block
        found.append((kind, _text(short, _type(cell)), short != block))
    yield from (_Piece(kind, each, cell.source, cut) for kind, each, cut in found)


def _of_code(cell: NotebookNode) -> Iterator[_Piece]:
    if "slide-code" in cell.metadata.get("tags", []):
        yield _Piece("code", _part(cell, []))
    for output in cell.outputs:
        data = output.get("data", {})
        page = "".join(data.get("text/html", ""))
        if page.startswith("<details") and "<table" in page:
            continue  # folded for those who read on
        if 'class="live-widget"' in page:
            kind = "widget"
        else:
            drawn = any(one.startswith("image/") for one in data)
            kind = "picture" if drawn else "table" if "<table" in page else "print"
        if output.get("name") != "stderr":
            plain = kind == "print" and not data.keys() - {"text/plain"}
            printed = "".join(output.get("text") or data.get("text/plain", "")).strip() if plain else ""
            yield _Piece(kind, _part(cell, [output]), printed and f"```\n{printed}\n```")
        if kind == "widget" and "Predict(" in cell.source:
            yield _Piece("answer", _text('<span class="answer"></span>', "fragment"))


def _part(cell: NotebookNode, outputs: list[NotebookNode]) -> NotebookNode:
    """A copy of a code cell with some of its outputs, or with none, which shows the code then."""
    part = copy.copy(cell)
    part.outputs, part.metadata = outputs, copy.deepcopy(cell.metadata)
    if outputs:
        part.metadata["transient"] = {"remove_source": True}
    return part


def _with_list_apart(block: str) -> list[str]:
    """A block of text as the paragraph that it begins with, and the list below."""
    head = _ITEM.split(block)[0] if not block.startswith(("```", "$$", "<")) else block
    return [head, block[len(head) :]]


def shortened(text: str, few: int) -> str:
    """The first sentences of a paragraph, as many as have at most `few` words, at least one; or those in bold.

    Of a list every item.
    """
    head, *items = (part.strip() for part in _ITEM.split(text))
    claims = [] if items else [bold for bold in _BOLD.findall(head) if _words(bold) > _TITLE]
    if claims and _words(head) > few:
        return " ".join(claims)
    return "\n".join(_first(part, few) for part in [head, *items] if part)


def _first(text: str, few: int) -> str:
    marker = _MARKER.match(text)[0]
    text = text.removeprefix(marker)
    hidden = _WHOLE.sub(lambda whole: "X" * len(whole[0]), text)
    ends = [*(found.end() for found in _END.finditer(hidden)), len(text)]
    return marker + text[: max([end for end in ends if _words(text[:end]) <= few], default=ends[0])].strip()


def _words(text: str) -> int:
    return len(_WHOLE.sub("x", text).split())
