"""What stands on which slide, what is said there and what in the notes."""

from copy import deepcopy

import pytest
from live_notebooks import markdown
from nbformat.v4 import new_code_cell, new_output

from pruning_lib.teaching.publishing.slides import as_slides, shortened

PICTURE = new_output("display_data", {"image/png": "iVBORw0KGgo="})
TABLE = new_output("display_data", {"text/html": "<table></table>"})
WIDGET = new_output("display_data", {"text/html": '<div class="live-widget"></div>'})
LONG = "The first sentence says it. " + "Then come many more words that nobody reads from the back row, " * 4 + "end."


def code(*outputs, slide: str = "-", tags: tuple = (), source: str = "draw()"):
    return new_code_cell(
        source, outputs=list(outputs), metadata={"slideshow": {"slide_type": slide}, "tags": list(tags)}
    )


def outline(cells) -> list[list[str]]:
    """Of each slide its layout, then what is on it; a * before what appears later, notes in brackets."""
    slides = []
    for cell in cells:
        kind = cell.metadata.slideshow["slide_type"]
        text = (
            cell.source if cell.cell_type == "markdown" else "".join(one.output_type for one in cell.outputs) or "code"
        )
        if kind in ("slide", "subslide"):
            slides.append([cell.metadata.slideshow["data"]["layout"]])
        slides[-1].append(f"({text})" if kind == "notes" else f"*{text}" if kind == "fragment" else text)
    return slides


def test_one_exhibit_a_slide_and_the_heading_stays():
    cells = [markdown("## Two\n\nA line.", "slide"), code(PICTURE, TABLE), code(WIDGET), markdown("Seen?")]
    assert outline(as_slides(cells)) == [
        ["picture", "## Two", "A line.", "display_data"],
        ["table", "## Two", "display_data"],
        ["widget", "## Two", "display_data"],
        ["words", "## Two", "Seen?"],
    ]


def test_what_shows_nothing_makes_no_slide():
    folded = new_output("display_data", {"text/html": "<details><summary>All</summary><table></table></details>"})
    cells = [markdown("## A\n\nB.", "slide"), code(folded, slide="slide"), markdown("Say it.", "notes")]
    assert outline(as_slides(cells)) == [["words", "## A", "B."]]


def test_a_title_stands_alone():
    assert outline(as_slides([markdown("# Title\n\nOne.\n\nTwo.", "slide"), code(PICTURE)])) == [
        ["title", "# Title", "(# Title\n\nOne.\n\nTwo.)", "One."],
        ["picture", "display_data"],
    ]


def test_formulas_share_a_slide_and_have_a_picture_beside_them_and_appear_one_by_one():
    text = "## F\n\nLet $a$:\n\n$$a$$\n\nso\n\n$$b$$\n\nDone."
    assert outline(as_slides([markdown(text, "slide"), code(PICTURE)])) == [
        ["formula picture", "## F", f"({text})", "display_data", "Let $a$:", "$$a$$", "*so", "$$b$$"]
    ]
    assert outline(as_slides([markdown(text, "slide")])) == [
        ["formula", "## F", "Let $a$:", "$$a$$", "*so", "$$b$$", "*Done."]
    ]
    # What comes after a formula leads to a table or to code.
    assert outline(as_slides([markdown("## F\n\n$$a$$\n\nCheck:", "slide"), code(tags=("slide-code",))])) == [
        ["formula", "## F", "$$a$$"],
        ["code", "## F", "Check:", "code"],
    ]


def test_what_is_cut_is_in_the_notes_with_what_was_there():
    cells = [
        markdown(f"## H\n\n{LONG}", "slide"),
        code(PICTURE),
        markdown("Say this.", "notes"),
        markdown("Out", "skip"),
    ]
    source = cells[0].source
    assert outline(as_slides(cells)) == [
        ["picture", "## H", f"({source}\n\nSay this.)", "The first sentence says it.", "display_data"]
    ]


def test_code_is_shown_where_it_is_tagged_and_warnings_never():
    warning = new_output("stream", name="stderr", text="careful")
    printed = new_output("stream", text="42")
    cells = [markdown("## C", "slide"), code(warning), code(printed, tags=("slide-code",))]
    made = as_slides(cells)
    assert outline(made) == [["code", "## C", "code", "stream"]]
    assert [cell.metadata.get("transient") for cell in made[1:]] == [None, {"remove_source": True}]
    assert "transient" not in cells[2].metadata and len(cells[2].outputs) == 1  # the notebook's own stay as they were


def test_beside_a_formula_one_check_is_enough():
    line = new_output("stream", text="a\n")
    checks = [new_output("display_data", {"text/html": f"F-1 ✓ {n}"}) for n in range(2)]
    made = as_slides([markdown("$$a$$", "slide"), code(line, *checks)])
    assert outline(made) == [["formula", "$$a$$", "(```\na\n```)", "*display_data"]]
    assert made[-1].outputs == checks[:1]
    assert outline(as_slides([markdown("$$a$$", "slide"), code(line, line)]))[0][-1] == "*stream"


def test_a_widget_has_its_slide_to_itself_and_what_was_printed_is_in_the_notes():
    printed = new_output("stream", text="one: 1\ntwo: 2\n")
    cells = [markdown("## W\n\nA line.", "slide"), code(printed, WIDGET, printed, slide="fragment")]
    assert outline(as_slides(cells)) == [
        ["widget", "## W", "(## W\n\nA line.\n\n```\none: 1\ntwo: 2\n```)", "display_data"],
        ["words", "## W", "*stream"],
    ]


def test_what_was_printed_beside_a_picture_or_a_table_is_in_the_notes_but_for_a_line_that_heads_a_table():
    line, lines = (new_output("stream", text=text) for text in ("accuracy in %\n", "a\nb\n"))
    assert outline(as_slides([code(lines, PICTURE, line, slide="slide")])) == [
        ["picture", "display_data", "(```\na\nb\n```\n\n```\naccuracy in %\n```)"]
    ]
    assert outline(as_slides([code(line, TABLE, line, slide="slide"), code(lines, TABLE)])) == [
        ["table", "stream", "(```\naccuracy in %\n```\n\n```\na\nb\n```)", "display_data"],
        ["table", "display_data"],
    ]


def test_what_is_printed_below_the_title_gets_a_slide():
    cells = [markdown("# Title", "slide"), code(new_output("stream", text="They write.\n"))]
    assert outline(as_slides(cells)) == [["title", "# Title"], ["words", "stream"]]


def test_a_widget_brings_its_first_still_for_pages_without_scripts():
    drawn = {"image/png": {"alt": "a <still>"}}
    stills = [
        code(new_output("display_data", {"image/png": f"{n}BORw0KGgo="}, metadata=drawn), slide="skip") for n in "ij"
    ]
    for still in stills:
        still.source = 'still("name", "a <still>")'
    cells = [code(WIDGET, slide="slide", source='Predict("?", 1)'), code(deepcopy(WIDGET), slide="slide"), *stills]
    predicted, _, shown = as_slides(cells)
    assert "<noscript>" not in predicted.outputs[0].data["text/html"]
    picture = '<img alt="a &lt;still&gt;" src="data:image/png;base64,iBORw0KGgo=">'
    assert shown.outputs[0].data["text/html"].endswith(f"\n<noscript>{picture}</noscript>")
    assert "<noscript>" not in cells[1].outputs[0].data["text/html"]  # the notebook's own stays as it was


def test_a_prediction_is_a_question_and_then_an_answer():
    cells = [markdown("## P\n\nLeads to it.", "slide"), code(WIDGET, source='Predict("?", 1)'), markdown("After.")]
    assert outline(as_slides(cells)) == [
        ["widget", "## P", "(## P\n\nLeads to it.)", "display_data", '*<span class="answer"></span>'],
        ["words", "## P", "After."],
    ]


def test_questions_come_last_with_answers_for_the_lecturer_only():
    made = outline(as_slides([markdown("## A\n\nText.", "slide")], [("Why?", "So."), ("How?", "Thus.")]))
    assert made[-1] == ["words", "## Questions for the room\n\n1. Why?\n2. How?", "(**Why?** So.\n\n**How?** Thus.)"]


@pytest.mark.parametrize(
    ("text", "short"),
    [
        ("Few words. All stay.", "Few words. All stay."),
        ("One two three. Four five six.", "One two three."),
        ("One two three. **This is what counts in bold.** Five six.", "**This is what counts in bold.**"),
        ("**A run-in title.** One two three four.", "**A run-in title.**"),
        ("See Meng et al. 2024 for this one. More of it here.", "See Meng et al. 2024 for this one."),
        ("With $a. B$ and `c. D` it ends here. And goes on.", "With $a. B$ and `c. D` it ends here."),
        ("Nothing ends in all of these many words", "Nothing ends in all of these many words"),
        ("Head:\n- one. Two three four five six.\n- b", "Head:\n- one.\n- b"),
        ("- **Bold.** One two. Three four five.\n- b", "- **Bold.** One two.\n- b"),
        ("1. one two. Three four five six.\n2. c", "1. one two.\n2. c"),
        ("1. One two three four five six. And then.\n2. Short.", "1. One two three four five six.\n2. Short."),
        ("- one two three four five. Six.\n- b", "- one two three four five.\n- b"),
        ("This is the paper's Eq. 7 and no other. More.", "This is the paper's Eq. 7 and no other."),
        (
            "See e.g. Fig. 3, i.e. Sec. 4 (cf. Eqs. 5), one vs. Two. More.",
            "See e.g. Fig. 3, i.e. Sec. 4 (cf. Eqs. 5), one vs. Two.",
        ),
        ("One two three. $a$ and four five six.", "One two three."),
        ("One two three. `code` and four five six.", "One two three."),
    ],
)
def test_shortened(text, short):
    assert shortened(text, 5) == short
