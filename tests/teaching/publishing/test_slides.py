"""What stands on which slide, what of it comes later, and what is said there."""

from copy import deepcopy

import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_output

from pruning_lib.teaching.publishing.slides import as_slides, read

PICTURE = new_output("display_data", {"image/png": "iVBORw0KGgo="})
TABLE = new_output("display_data", {"text/html": "<table></table>"})
WIDGET = new_output("display_data", {"text/html": '<div class="live-widget"></div>'})
PRINT = new_output("stream", text="They write.\n")


def code(*outputs, name: str = "c", source: str = "draw()"):
    return new_code_cell(source, outputs=list(outputs), id=name)


def outline(cells) -> list[list[str]]:
    """Of each slide its layout, then what is on it; a * before what appears later, notes in brackets."""
    slides = []
    for cell in cells:
        kind, layout = cell.metadata.slideshow["slide_type"], cell.metadata.slideshow["data"]["layout"]
        text = cell.source
        if cell.cell_type == "code":
            text = " ".join(str(next(iter(one.get("data", {"print": 0})))) for one in cell.outputs) or "code"
        if kind == "slide":
            slides.append([layout])
        slides[-1].append(f"({text})" if kind == "notes" else f"*{text}" if kind == "fragment" else text)
    return slides


def test_a_block_with_an_id_stands_for_what_the_cell_shows_and_what_follows_it_comes_later():
    text = (
        "# Two\n\nA line.\n\n---\n\n## See\n\nBefore.\n\n{{c}}\n\nAfter.\n\n- one\n- two\n\nNote: Say it.\n\nAnd why."
    )
    assert outline(as_slides([code(PRINT, TABLE, PICTURE)], text)) == [
        ["title", "# Two", "A line."],
        ["picture", "## See", "(Say it.\n\nAnd why.)", "Before.", "image/png", "*After.", "*- one\n- two"],
    ]


@pytest.mark.parametrize(
    ("asked", "layout", "shown"),
    [
        ("c", "widget", "text/html"),
        ("c picture", "picture", "image/png"),
        ("c picture 2", "picture", "image/svg+xml"),
        ("c table", "table", "text/html"),
        ("c code", "code", "code"),
        ("c print", "words", "print"),
        ("m", "table", "| a |\n|---|"),
        ("m formula", "formula", "$$a$$"),
        ("m formula 2", "formula", "$$b$$"),
    ],
)
def test_what_of_a_cell_is_meant(asked, layout, shown):
    svg = new_output("display_data", {"image/svg+xml": "<svg/>"})
    cells = [
        code(PRINT, TABLE, PICTURE, svg, WIDGET),
        new_markdown_cell("One: $$a$$ no\n\n$$b$$\n\n| a |\n|---|", id="m"),
    ]
    cells[1].source = "One:\n$$a$$\n\n$$b$$\n\n| a |\n|---|"
    assert outline(as_slides(cells, f"# T\n\n{{{{{asked}}}}}"))[0][2:] == [shown]
    assert outline(as_slides(cells, f"## T\n\n{{{{{asked}}}}}"))[0][0] == layout


def test_formulas_and_tables_of_the_text_and_a_picture_beside_a_formula():
    text = "## F\n\nIt is\n\n$$a\n\nb$$\n\n{{c}}\n\n$$c$$\n\n---\n\n## T\n\n| x |\n|---|\n| 1 |"
    text += "\n\n---\n\n## C\n\n```python\nx\n\ny\n```"
    assert outline(as_slides([code(PICTURE)], text)) == [
        ["formula picture", "## F", "It is", "$$a\n\nb$$", "image/png", "*$$c$$"],
        ["table", "## T", "| x |\n|---|\n| 1 |"],
        ["code", "## C", "```python\nx\n\ny\n```"],
    ]


def test_after_a_guess_the_answer_comes_by_itself_and_a_widget_has_its_still():
    drawn = new_output("display_data", {"image/png": "iVBORw0KGgo="}, metadata={"image/png": {"alt": "Bars & dots"}})
    guess = code(deepcopy(WIDGET), name="guess", source='Predict("?", 1)')
    cells = [guess, code(deepcopy(WIDGET)), code(drawn, name="still", source='still("bars", "…")')]
    made = as_slides(cells, "## G\n\n{{guess}}\n\n---\n\n## W\n\n{{c}}")
    assert outline(made)[0] == ["widget", "## G", "text/html", '*<span class="answer"></span>']
    assert '<noscript><img alt="Bars &amp; dots"' in made[-1].outputs[0].data["text/html"]
    assert "noscript" not in made[1].outputs[0].data["text/html"]


def test_warnings_are_not_shown():
    warning = new_output("stream", name="stderr", text="careful\n")
    with pytest.raises(ValueError, match="print 1 of its cell, which has 0"):
        as_slides([code(warning)], "## T\n\n{{c print}}")


def test_questions_for_the_room_are_the_last_slide_and_their_answers_its_notes():
    made = outline(as_slides([], "## A\n\nText.", [("Why?", "So."), ("How?", "Thus.")]))
    assert made[1] == ["words", "## Questions for the room\n\n1. Why?\n2. How?", "(**Why?** So.\n\n**How?** Thus.)"]


def test_the_cells_stay_as_they_are():
    cells = [code(WIDGET, PICTURE)]
    before = deepcopy(cells)
    as_slides(cells, "## A\n\n{{c}}\n\n{{c picture}}")
    assert cells == before


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "slide 1 begins with '', must begin with a heading"),
        ("# A\n\n---\n\nB", "slide 2 begins with 'B', must begin with a heading"),
        ("# A\n\n{{d}}", "slide 1, 'A': 'd' is no cell of the notebook"),
        (
            "# A\n\n---\n\n## B\n\n{{c picture 2}}",
            "slide 2, 'B': {{c picture 2}} is picture 2 of its cell, which has 1",
        ),
        ("# A\n\n{{c table}}", "slide 1, 'A': {{c table}} is table 1 of its cell, which has 0"),
        ("# A\n\n{{c picture 0}}", "is picture 0 of its cell"),
        ("# A\n\n{{ c }}", "'{{ c }}' must be {{id}}, {{id KIND}} or {{id KIND NUMBER}} with widget, picture, table"),
        ("# A\n\n{{c pictures}}", "'{{c pictures}}' must be {{id}}"),
        ("# A\n\n{{e}}", "slide 1, 'A': {{e}} is output 1 of its cell, which has 0"),
    ],
)
def test_refused(text, message):
    with pytest.raises(ValueError) as refused:
        as_slides([code(PICTURE), new_markdown_cell("words", id="e")], text)
    assert message in str(refused.value)


def test_what_parts_slides_and_what_is_text():
    assert [slide.blocks for slide in read("# A {{c}}\n--- \n## B\n\n----\n")] == [["# A {{c}}"], ["## B", "----"]]
