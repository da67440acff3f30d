"""Hand-outs, slides and site of the real notebooks, opened from disk in a browser that has no network.

The pages are made from the committed notebooks, of which the cells that make widgets are run once for this file.
"""

import re
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from threading import Thread

import nbformat
import pytest
import torch
import widget_keys
import widgets_used
from ipywidgets import Widget
from jupyter_core.utils import run_sync
from live_notebooks import STATE, anywidget, markdown, notebook, view
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_output
from widget_page import LIMIT, new_page

from pruning_lib.reproduction import NOTEBOOKS
from pruning_lib.reproduction.execution import SameInterpreter
from pruning_lib.reproduction.parameters import notebook_paths, read_notebook
from pruning_lib.teaching.publishing.gather import gather
from pruning_lib.teaching.publishing.pages import deck, handout
from pruning_lib.teaching.widgets.layer_race import SPARSITIES, LayerRace
from pruning_lib.teaching.widgets.predict import Predict

NAMES = list(notebook_paths(NOTEBOOKS))
STAND_IN = "from pruning_lib.teaching.widgets.predict import Predict\nPredict('How many of a hundred?', 92)"
every_notebook = pytest.mark.parametrize("name", NAMES)
# Formulas left as text: a dollar outside of code, outputs and formulas.
DOLLARS = """() => {
  const found = [];
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const { parentElement: parent, textContent: text } = walk.currentNode;
    if (text.includes("$") && parent.closest(".jp-RenderedMarkdown") && !parent.closest("pre, code, mjx-container"))
      found.push(text.trim());
  }
  return found;
}"""


@pytest.fixture(scope="session")
def runs(browser, tmp_path_factory) -> Path:
    """A folder of runs with the committed outputs; what widgets need is run again, since their state is not saved.

    All in one kernel, emptied in between: to start one and to import torch takes longer than most cells. Where a
    question's answer must be trained for, another question stands.
    """
    folder, kernel = tmp_path_factory.mktemp("runs"), SameInterpreter()
    try:
        for path in widgets_used.NOTEBOOKS:
            notebook = read_notebook(path)
            needed, makes = widgets_used.needed_cells(notebook), widgets_used.cells(notebook)
            for index, cell in enumerate(notebook.cells):
                if cell.cell_type != "code" or index in needed:
                    continue
                if index in makes:
                    cell.source = STAND_IN
                else:
                    cell.metadata.tags = [*cell.metadata.get("tags", []), "skip-execution"]
            notebook.cells.insert(0, new_code_cell("%reset -f"))
            NotebookClient(notebook, kernel, resources={"metadata": {"path": str(NOTEBOOKS)}}).execute()
            del notebook.cells[0]
            notebook.metadata.papermill = {"end_time": "when it was done"}
            copy = folder / path.stem / "smoke" / path.name
            copy.parent.mkdir(parents=True)
            nbformat.write(notebook, copy)
    finally:
        run_sync(kernel.shutdown_kernel)(now=True)
    return folder


@pytest.fixture(scope="session")
def built(runs, tmp_path_factory) -> Path:
    """Hand-outs and slides of all of them."""
    out = tmp_path_factory.mktemp("build")
    for kind in ("handouts", "slides"):
        gather(kind, runs, out)
    return out


@pytest.fixture
def page(browser):
    """A page without network, 1280 × 720; asking for anything over it fails the test."""
    context = browser.new_context(viewport={"width": 1280, "height": 720}, offline=True)
    asked = []
    context.on("request", lambda request: asked.append(request.url))
    page = context.new_page()
    page.set_default_timeout(LIMIT)
    yield page
    context.close()
    assert [url for url in asked if re.match("https?:|wss?:", url)] == []


def settle(page) -> None:
    """Wait until formulas are set and the deck, if it is one, is ready: step by step, for no promise is waited for."""
    page.wait_for_function("window.MathJax?.startup?.promise")
    page.evaluate("MathJax.startup.promise.then(() => null)")
    page.wait_for_function("!window.Reveal || Reveal.isReady()")


def show(page, path: Path) -> None:
    page.goto(path.as_uri(), wait_until="commit")
    settle(page)


def widgets_of(runs: Path, name: str) -> list[str]:
    """The modules of the anywidgets that the executed copy holds."""
    models = read_notebook(runs / name / "smoke" / f"{name}.ipynb").metadata.get("widgets", {}).get(STATE, {})
    states = [model["state"] for model in models.get("state", {}).values()]
    return [state["_anywidget_id"].split(".")[-2] for state in states if "_esm" in state]


def move(page, place, every: bool = False) -> None:
    """Move a control of a widget, or each, there and back by keys, and see that the drawing follows."""
    root = place.evaluate_handle("(place) => place.shadowRoot.lastElementChild").as_element()
    widget_keys.wait_for_rest(page, root)
    if every:
        widget_keys.move_all(page, root, 0, measured=False)
        return
    page.evaluate(widget_keys.WATCH, root)
    found = [one for one in widget_keys.controls(root) if not (one.details["disabled"] or one.fixed())]
    first = next(one for kind in ("range", "radio", "select") for one in found if one.kind == kind)
    widget_keys.move(page, root, first, 0, measured=False)


@every_notebook
def test_executed_copies_hold_the_widgets_that_the_notebooks_make(runs, name):
    made = widgets_used.used(NOTEBOOKS / f"{name}.ipynb")
    assert set(widgets_of(runs, name)) == {widgets_used.every()[one].__module__.split(".")[-1] for one in made}


@every_notebook
def test_handout(page, page_errors, built, runs, name):
    show(page, path := built / "handouts" / f"{name}.html")
    assert path.stat().st_size < 6e6  # to be sent by mail
    assert page.locator("mjx-container").count() >= 5
    assert page.locator("[data-mml-node=merror]").count() == 0
    assert page.evaluate(DOLLARS) == []
    assert page.evaluate("[...document.images].filter((image) => !image.naturalWidth).length") == 0
    assert page.evaluate("document.documentElement.scrollWidth") <= 1280
    places = page.locator(".live-widget")
    assert places.count() == len(widgets_of(runs, name))
    for place in places.all():
        move(page, place, every=True)
    assert page_errors == []


def test_index_of_the_handouts(page, page_errors, built):
    page.goto((built / "handouts" / "index.html").as_uri())
    assert page.locator("li a").count() == len(NAMES)
    page.locator("li a").first.click()
    settle(page)
    assert page.locator("h1").first.inner_text().startswith("1 · ")
    assert page_errors == []


# What is asked of the slide that is shown, once its pictures, tables and widgets are whole: no text of less than 12 px,
# on canvases neither, or of less than 16 in tables. Text and code may scroll, and a widget that has no room even
# without its heading; on a phone all may, and tables have the type of the rest.
WHOLE = """() => {
  const slide = Reveal.getCurrentSlide();
  const box = (part) => part.getBoundingClientRect();
  const room = box(slide);
  const inside = ({ height, bottom, right }) =>
    height && right <= room.right + 2 && (bottom <= room.bottom + 2 || slide.matches(".tight, .phone *"));
  const widgets = [...slide.querySelectorAll(".live-widget")];
  const ready = widgets.every(({ fitting, shadowRoot }) => shadowRoot && !fitting);
  const tables = [...slide.querySelectorAll("table")].filter((table) => table.checkVisibility()); // not in the notes
  const parts = [...slide.querySelectorAll("img"), ...tables, ...widgets];
  if (!ready || !parts.every((part) => inside(box(part))) || slide.scrollWidth > slide.clientWidth + 1) return false;
  const texts = [];
  const add = (part, text) => {
    const size = parseFloat(getComputedStyle(part).fontSize) * part.currentCSSZoom * Reveal.getScale();
    texts.push([size, text, part.closest("html:not(.phone) table") ? 16 : 12]);
  };
  for (const root of [slide, ...widgets.map(({ shadowRoot }) => shadowRoot)]) {
    const walk = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
    while (walk.nextNode()) {
      const { parentElement: parent, textContent: text } = walk.currentNode;
      const unseen = parent.closest("style, script, noscript, option, mjx-container");
      if (text.trim() && !unseen && parent.checkVisibility()) add(parent, text);
    }
    for (const formula of root.querySelectorAll("mjx-container")) add(formula, "formula");
    for (const canvas of root.querySelectorAll("canvas"))
      for (const [size, text] of canvas.labels ?? []) texts.push([(size * box(canvas).width) / canvas.width, text, 12]);
  }
  const small = texts.filter(([size, , least]) => size < least - 0.1); // a canvas is a whole number of pixels wide
  return { widget: widgets.length > 0, more: Reveal.availableFragments().next, small, seen: texts.length };
}"""
# Keeps what is written on a canvas, with its size in the canvas's own pixels.
LABELS = """() => {
  const [paper, canvas] = [CanvasRenderingContext2D.prototype, HTMLCanvasElement.prototype];
  const [write, width] = [paper.fillText, Object.getOwnPropertyDescriptor(canvas, "width")];
  paper.fillText = function (text, ...place) {
    const { a, b } = this.getTransform();
    this.canvas.labels?.push([parseFloat(this.font.match(/[\\d.]+px/)[0]) * Math.hypot(a, b), text]);
    write.call(this, text, ...place);
  };
  Object.defineProperty(canvas, "width", { ...width, set(value) { this.labels = []; width.set.call(this, value); } });
}"""


def check_slides(page, path: Path) -> int:
    """Go through a deck, see each slide whole and move its widgets; how many there are."""
    from playwright.sync_api import TimeoutError

    page.add_init_script(f"({LABELS})()")
    show(page, path)
    total = page.evaluate("Reveal.getTotalSlides()")
    for number in range(total):
        try:
            slide = page.wait_for_function(WHOLE).json_value()
        except TimeoutError:
            text = page.evaluate("Reveal.getCurrentSlide().innerText.trim()")
            pytest.fail(f"slide {number + 1} is cut off: {text[:60]}")
        assert (slide["seen"] or not slide["widget"]) and slide["small"] == [], f"slide {number + 1}"
        if slide["widget"]:
            move(page, page.locator("section.present section.present .live-widget").first)
            page.keyboard.press("Escape")
        while slide["more"]:
            page.keyboard.press("Space")
            slide["more"] = page.evaluate("Reveal.availableFragments().next")
        page.keyboard.press("Space")
    assert page.evaluate("Reveal.isLastSlide()")
    return total


@every_notebook
def test_slides(page, page_errors, built, name):
    total = check_slides(page, built / "slides" / f"{name}.html")
    assert total >= 12
    assert page.locator(".slide-number").inner_text().replace(" ", "") == f"{total}/{total}"
    assert page.locator("[data-mml-node=merror]").count() == 0
    assert page.evaluate(DOLLARS) == []
    assert page_errors == []


def test_slides_on_a_phone(page, page_errors, built):
    page.set_viewport_size({"width": 390, "height": 844})
    assert check_slides(page, built / "slides" / "02_snip.html") >= 12
    page.set_viewport_size({"width": 844, "height": 390})  # turned
    page.wait_for_function("Reveal.getCurrentSlide().clientWidth === 844 && Reveal.getScale() === 1")
    assert page_errors == []


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_views_of_one_widget_follow_each_other_and_other_widgets_do_not(page, page_errors, tmp_path):
    from playwright.sync_api import expect

    executed = notebook(view("a"), view("b"), view("a"), a=anywidget(n=3), b=anywidget(n=9))
    page.goto(write(tmp_path / "page.html", handout(executed)).as_uri())
    outputs, sliders = page.locator(".live-widget output"), page.locator(".live-widget input")
    expect(outputs).to_have_text(["3 × 0.5", "9 × 0.5", "3 × 0.5"])
    assert outputs.first.evaluate("(output) => getComputedStyle(output).color") == "rgb(1, 2, 3)"
    sliders.last.press("ArrowRight")
    expect(outputs).to_have_text(["4 × 0.5", "9 × 0.5", "4 × 0.5"])
    sliders.nth(1).press("Home")
    expect(outputs).to_have_text(["4 × 0.5", "0 × 0.5", "4 × 0.5"])
    assert page_errors == []


def test_a_button_that_is_disabled_hands_the_keyboard_on(page, page_errors, tmp_path):
    from playwright.sync_api import expect

    race = LayerRace({"magnitude": {"fc.weight": torch.arange(1.0, 21.0)}}, step=len(SPARSITIES) - 2)
    saved = Widget.get_manager_state(widgets=[race, asked := Predict("How many?", 92.0)])["state"]
    cells = notebook(view("a"), view("b"), a=saved[race.model_id], b=saved[asked.model_id])
    page.goto(write(tmp_path / "page.html", handout(cells)).as_uri())
    page.locator(".next").press("Enter")
    expect(page.locator(".next")).to_be_disabled()
    expect(page.locator(".step")).to_be_focused()
    guess, button = page.locator(".predict input"), page.locator(".predict button")
    guess.press("End")
    button.press("Enter")
    button.press("Enter")
    expect(button).to_be_disabled()
    expect(guess).to_be_focused()
    assert page_errors == []


MODEL = """
export default async () => ({
  initialize({ model }) { model.seen = []; },
  render({ model, el }) {
    const first = (self, value) => model.seen.push(`n=${value}`);
    model.on("change:n", first);
    model.on("change:list change", () => model.seen.push("either"));
    model.set("n", 3); // as it is: nothing
    model.set({ n: 4, list: [1] }); // two changes, and one of all
    model.set("list", [1]); // equal: nothing
    model.off("change:n", first);
    model.set("n", 5);
    model.off();
    model.set("n", 6);
    el.textContent = model.seen.join(" ") + `; ${model.get("n")}`;
  },
});
"""


def test_a_model_tells_what_changed_to_who_listens(page, page_errors, tmp_path):
    from playwright.sync_api import expect

    page.goto(write(tmp_path / "page.html", handout(notebook(view("a"), a=anywidget(module=MODEL)))).as_uri())
    expect(page.locator(".live-widget > div, .live-widget div")).to_have_text("n=4 either either either; 6")
    assert page_errors == []


def test_a_widget_that_fails_says_so_and_leaves_the_others_alone(page, page_errors, tmp_path):
    from playwright.sync_api import expect

    broken = anywidget(module="export default { render() { throw new Error('no luck'); } };")
    page.goto(write(tmp_path / "page.html", handout(notebook(view("b"), view("a"), a=anywidget(), b=broken))).as_uri())
    expect(page.locator(".live-widget").first.locator("div")).to_have_text("This widget did not start: Error: no luck")
    expect(page.locator(".live-widget output")).to_have_text("3 × 0.5")
    assert [error.splitlines()[0] for error in page_errors] == ["no luck"]


@pytest.fixture
def tiny_deck(tmp_path) -> Path:
    """A title, a widget with a note, a slide that is built, one that is too full."""
    text = (
        "# Title\n\n---\n\n## One\n\n{{a}}\n\nNote: Say $y$ aloud.\n\n---\n\n## Two\n\n{{table}}\n\nfragment\n\n---\n\n"
    )
    text += "## Three\n\n" + "\n\n".join(["A line."] * 60)
    executed = notebook(view("a", id="a"), markdown("| x |\n|---|\n| y |", id="table"), a=anywidget())
    return write(tmp_path / "deck.html", deck(executed, text))


def test_slider_and_slides_share_the_keyboard(page, page_errors, tiny_deck):
    from playwright.sync_api import expect

    show(page, tiny_deck)
    slider, output = page.locator(".live-widget input"), page.locator(".live-widget output")
    page.keyboard.press("Space")
    slider.focus()
    for key in ("ArrowRight", "ArrowUp", "PageDown", "Space"):
        page.keyboard.press(key)
    assert output.inner_text() != "3 × 0.5"
    slider.press("End")
    expect(output).to_have_text("10 × 0.5")
    assert page.evaluate("Reveal.getIndices().h") == 1
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement === document.body && !Reveal.isOverview()")
    page.keyboard.press("ArrowRight")
    assert page.evaluate("Reveal.getIndices().h") == 2
    page.keyboard.press("ArrowLeft")
    # Whoever changes slides with the mouse has the keys at once, though the slider had them.
    slider.focus()
    page.evaluate("Reveal.next()")
    page.keyboard.press("ArrowRight")
    assert page.locator(".fragment.visible").count() == 1 and page.evaluate("Reveal.getIndices().h") == 2
    expect(output).to_have_text("10 × 0.5")
    page.keyboard.press("Escape")
    assert page.evaluate("Reveal.isOverview()")
    assert page_errors == []


def test_what_does_not_fit_is_made_smaller_then_scrolls(page, page_errors, tiny_deck):
    show(page, tiny_deck)
    zoom = "Number(getComputedStyle(Reveal.getCurrentSlide()).zoom)"
    assert page.evaluate(zoom) == 1
    page.evaluate("Reveal.slide(3)")
    assert page.evaluate(zoom) == pytest.approx(0.6)
    slide = page.locator("section.present > section.present")
    assert slide.evaluate("(slide) => slide.getBoundingClientRect().bottom") <= 720
    slide.evaluate("(slide) => slide.scrollTo(0, 1e6)")
    assert slide.evaluate("(slide) => slide.scrollTop") > 100
    assert page_errors == []


def test_printed_a_slide_is_a_page(page, page_errors, tiny_deck):
    from playwright.sync_api import expect

    page.goto(f"{tiny_deck.as_uri()}?print-pdf", wait_until="commit")
    settle(page)
    page.wait_for_selector(".pdf-page")
    place = page.locator(".live-widget output")
    page.wait_for_function("(place) => place.textContent", arg=place.element_handle())
    expect(place).to_be_visible()
    expect(page.get_by_text("fragment")).to_be_visible()
    heading, late = (page.get_by_text(text, exact=True).first.bounding_box() for text in ("Two", "fragment"))
    assert heading["y"] + heading["height"] <= late["y"] and heading["x"] == late["x"]
    printed = page.pdf(prefer_css_page_size=True, print_background=True)
    assert len(re.findall(rb"/Type\s*/Page\b", printed)) == page.evaluate("Reveal.getTotalSlides()") == 4
    assert page_errors == []


def test_printed_a_slide_of_a_real_deck_is_a_page(page, page_errors, built):
    page.goto(f"{(built / 'slides' / '06_two_four.html').as_uri()}?print-pdf", wait_until="commit")
    settle(page)
    page.wait_for_selector(".pdf-page")
    page.wait_for_selector("html[data-fitted]", state="attached")
    printed = page.pdf(prefer_css_page_size=True, print_background=True)
    assert len(re.findall(rb"/Type\s*/Page\b", printed)) == page.evaluate("Reveal.getTotalSlides()") >= 12
    assert page_errors == []


@pytest.fixture
def page_without_scripts(browser):
    context = browser.new_context(viewport={"width": 1280, "height": 720}, offline=True, java_script_enabled=False)
    context.set_default_timeout(LIMIT)
    yield context.new_page()
    context.close()


def stills_of(runs: Path, name: str) -> list[str]:
    """The alternative texts of a notebook's stills."""
    cells = read_notebook(runs / name / "smoke" / f"{name}.ipynb").cells
    outputs = [output for cell in cells if "still(" in cell.source for output in cell.get("outputs", [])]
    return [output.metadata["image/png"]["alt"] for output in outputs if "image/png" in output.get("data", {})]


def test_a_handout_without_scripts_shows_stills(page_without_scripts, built, runs):
    from playwright.sync_api import expect

    page_without_scripts.goto((built / "handouts" / "05_sparsegpt.html").as_uri())
    expect(page_without_scripts.get_by_text("This widget needs JavaScript.").first).to_be_visible()
    stills = stills_of(runs, "05_sparsegpt")
    assert len(stills) >= 2
    for alt in stills:
        box = page_without_scripts.get_by_alt_text(alt, exact=True).bounding_box()
        assert box["width"] > 600 and box["height"] > 200  # a picture that is broken is as large as its text


def test_a_deck_without_scripts_shows_slides_below_each_other(page_without_scripts, built, runs):
    from playwright.sync_api import expect

    page_without_scripts.goto((built / "slides" / "06_two_four.html").as_uri())
    note = page_without_scripts.locator("body > noscript p")
    expect(note).to_be_visible()
    expect(note).to_contain_text("JavaScript, which is off here")
    slides = page_without_scripts.locator(".slides > section > section")
    boxes = [slide.bounding_box() for slide in slides.all()]
    assert len(boxes) >= 12 and all(box["height"] > 50 for box in boxes)
    assert all(one["y"] + one["height"] <= two["y"] + 1 for one, two in pairwise(boxes))
    (alt,) = stills_of(runs, "06_two_four")
    box = page_without_scripts.get_by_alt_text(alt, exact=True).bounding_box()
    assert box["width"] > 600 and box["height"] > 200


def test_rows_without_room_are_left_to_the_handout(page, page_errors, tmp_path):
    rows = "".join(f"<tr><td>{'a word ' * 20}</td><td>{n}</td></tr>" for n in range(40))
    table = f"<table class='dataframe'><thead><tr><th>a</th><th>b</th></tr></thead><tbody>{rows}</tbody></table>"
    cell = new_code_cell("table", outputs=[new_output("display_data", {"text/html": table})], id="table")
    show(page, write(tmp_path / "deck.html", deck(notebook(cell), "## Rows\n\n{{table}}")))
    assert page.wait_for_function(WHOLE).json_value()["small"] == []
    shown = page.locator("section.present tbody tr:visible").count()
    assert 6 <= shown < 40
    assert page.locator("section.present caption").inner_text() == "… all 40 rows in the hand-out"
    assert page_errors == []


PLOT = """iVBORw0KGgoAAAANSUhEUgAAAAMAAAACCAIAAAASFvFNAAAAEklEQVR4nGP8//8/AwwwMSABADkJAwHw2ZQIAAAAAElFTkSuQmCC"""


def test_layouts(page, page_errors, tmp_path):
    """A picture fills its slide; a formula has its picture beside it, and its lines appear one by one."""
    lines = "$$\\begin{aligned} a &= b \\\\ &= c \\end{aligned} \\tag{T-1}$$"
    picture = new_code_cell("draw()", outputs=[new_output("display_data", {"image/png": PLOT})], id="plot")
    text = f"## Alone\n\nOne line.\n\n{{{{plot}}}}\n\n---\n\n## Beside\n\nLet $a$ be.\n\n{lines}\n\n{{{{plot}}}}"
    show(page, write(tmp_path / "deck.html", deck(notebook(picture), text, [("Why?", "Because.")])))
    box = page.locator("section.present > section.present img").bounding_box()
    assert box["width"] > 1100 and box["height"] > 450
    page.evaluate("Reveal.next()")
    beside = page.locator("section.present > section.present")
    image, formula = beside.locator("img").bounding_box(), beside.locator("mjx-container[display]").bounding_box()
    assert image["x"] > formula["x"] + formula["width"] - 2 and image["width"] > 500
    assert (beside.locator(".fragment").count(), beside.locator(".fragment.visible").count()) == (1, 0)
    page.keyboard.press("Space")
    assert beside.locator("g.fragment.visible").count() == 1
    page.keyboard.press("Space")
    assert page.locator("section.present > section.present").inner_text().split("\n")[0] == "Questions for the room"
    assert page.evaluate("Reveal.isLastSlide()") and page_errors == []


def test_a_question_is_asked_before_its_answer_is_shown(page, page_errors, tmp_path):
    from playwright.sync_api import expect

    saved = Widget.get_manager_state(widgets=[asked := Predict("How many?", 92.0)])["state"][asked.model_id]
    cell = view("a", id="a")
    cell.source = 'Predict("How many?", 92.0)'
    show(page, write(tmp_path / "deck.html", deck(notebook(cell, a=saved), "## Guess\n\n{{a}}")))
    text = page.locator(".live-widget [role=status]")
    expect(text).to_have_text("Guess first.")
    page.keyboard.press("Space")
    expect(text).to_contain_text("Measured: 92 %.")
    assert page.evaluate("Reveal.isLastSlide()") and page_errors == []


def test_an_answer_that_was_shown_by_hand_stays(page, page_errors, tmp_path):
    from playwright.sync_api import expect

    saved = Widget.get_manager_state(widgets=[asked := Predict("How many?", 92.0)])["state"][asked.model_id]
    cells = [view("a", id="a"), view("b", id="b")]
    for cell in cells:
        cell.source = 'Predict("How many?", 92.0)'
    broken = anywidget(module="export default { render() { throw new Error('no luck'); } };")
    text = "## Guess\n\n{{a}}\n\n---\n\n## Again\n\n{{b}}"
    show(page, write(tmp_path / "deck.html", deck(notebook(*cells, a=saved, b=broken), text)))
    page.locator(".live-widget input").press("End")
    page.locator(".live-widget button").press("Enter")
    text = page.locator(".live-widget [role=status]")
    expect(text).to_contain_text("Measured: 92 %.")
    page.keyboard.press("Escape")
    page.keyboard.press("Space")
    assert page.locator(".fragment.visible").count() == 1
    expect(text).to_contain_text("Measured: 92 %.")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Space")  # nothing has started there, so there is nothing to show
    assert page.locator(".fragment.visible").count() == 2 and page.evaluate("Reveal.isLastSlide()")
    assert [error.splitlines()[0] for error in page_errors] == ["no luck"]


def test_speaker_notes(page, page_errors, tiny_deck):
    from playwright.sync_api import expect

    show(page, tiny_deck)
    page.keyboard.press("Space")
    with page.expect_popup() as opened:
        page.keyboard.press("s")
    notes = opened.value.locator(".speaker-controls-notes .value")
    expect(notes).to_contain_text("aloud.")
    assert notes.locator("mjx-container svg").count() == 1
    assert page_errors == []


@pytest.fixture(scope="session")
def site(runs, tmp_path_factory) -> Path:
    """The folder of the whole site."""
    from pruning_lib.teaching.publishing.site import build_site

    return build_site(runs, tmp_path_factory.mktemp("build")).parent


@every_notebook
def test_page_of_the_site(page, page_errors, site, runs, name):
    show(page, site / "notebooks" / f"{name}.html")
    assert page.locator("mjx-container").count() >= 5
    assert page.locator("[data-mml-node=merror]").count() == 0
    assert page.evaluate("[...document.images].filter((image) => !image.naturalWidth).length") == 0
    assert page.evaluate("document.documentElement.scrollWidth") <= 1280
    solution = page.locator("details:has(pre)").first
    assert solution.evaluate("(details) => !details.open && details.querySelector('pre') !== null")
    places = page.locator(".live-widget")
    assert places.count() == len(widgets_of(runs, name))
    if places.count():
        move(page, places.first)
    assert page_errors == []


def test_search_of_the_site(page, page_errors, site):
    from playwright.sync_api import expect

    page.goto((site / "index.html").as_uri())
    page.locator("input.sidebar-search").fill("saliency")
    page.keyboard.press("Enter")
    found = page.locator("#search-results li a", has_text="4 · ")
    expect(found).to_have_count(1)
    found.click()
    settle(page)
    assert page.url.split("?")[0].endswith("/notebooks/04_obs.html")
    page.goto((site / "search.html").as_uri() + "?q=обрезка")
    expect(page.locator("#search-results li a", has_text="Glossary")).to_have_count(1)
    assert page_errors == []


def test_search_of_a_served_site_shows_what_stands_around_the_word(browser, site):
    from playwright.sync_api import expect

    served = partial(SimpleHTTPRequestHandler, directory=site)
    with ThreadingHTTPServer(("127.0.0.1", 0), served) as server, new_page(browser) as page:
        Thread(target=server.serve_forever).start()
        try:
            page.goto(f"http://127.0.0.1:{server.server_port}/search.html?q=saliency")
            around = page.locator("#search-results li", has_text="4 · ").first.locator(".context")
            expect(around).to_contain_text(re.compile("saliency", re.IGNORECASE))
        finally:
            server.shutdown()
