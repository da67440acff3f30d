"""A widget on a page that never had a kernel, as in a hand-out: how it is put there and what must hold of each."""

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import anywidget

# In place of JupyterLab's model: keeps what is set, tells nobody.
STUB = """
const state = STATE;
for (const name of BYTES) state[name] = new DataView(Uint8Array.from(atob(state[name]), (c) => c.charCodeAt(0)).buffer);
const model = { get: (name) => state[name], set: (name, value) => (state[name] = value), on() {}, save_changes() {} };
"""
TEXTS = (Path(__file__).parent / "widget_texts.js").read_text(encoding="utf-8")
LIMIT = 300_000  # ms that a page may take for anything: a busy machine is no failure
MARGINS = 16  # px that the page of `show` has on both sides together
TWO_FRAMES = "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done())))"
PIXELS = "[...document.querySelectorAll('canvas')].map((canvas) => canvas.toDataURL())"


@contextmanager
def new_page(browser) -> Iterator:
    """A fresh page, 1200 × 900, with patience."""
    context = browser.new_context(viewport={"width": 1200, "height": 900})
    context.set_default_timeout(LIMIT)
    yield context.new_page()
    context.close()


def state_of(widget) -> dict:
    """The traits of a widget's own that the page gets, the bytes among them as they are."""
    own = widget.traits(sync=True).keys() - anywidget.AnyWidget.class_traits(sync=True).keys()
    return {name: getattr(widget, name) for name in own if not name.startswith("_")}


def show(page, widget, width: int = 700) -> None:
    """Put `widget` alone on a page of that width, in the colors that the browser prefers."""
    state = state_of(widget)
    sent = [name for name, value in state.items() if isinstance(value, bytes)]
    state |= {name: base64.b64encode(state[name]).decode() for name in sent}
    stub = STUB.replace("STATE", json.dumps(state)).replace("BYTES", json.dumps(sent))
    script = widget._esm.replace("export default", "const widget =")
    page.set_viewport_size({"width": width, "height": 900})
    page.set_content(
        f"<!doctype html><meta name='color-scheme' content='light dark'><style>{widget._css}</style>"
        f"<script>{TEXTS}</script><div id='here'></div><script type='module'>{script}{stub}"
        "window.end = widget.render({ model, el: document.getElementById('here') });</script>"
    )


def check_texts(page) -> None:
    """All of a widget can be read on a notebook's page and in a hand-out on a phone, which leaves it 340 of 390 px."""
    for width in (1100, 340 + MARGINS):
        page.set_viewport_size({"width": width, "height": 900})
        page.evaluate(TWO_FRAMES)  # drawn at that width: the first tells the widget of it
        assert page.evaluate("unreadable(document)") == [], f"{width} px wide"


def check_height(page) -> None:
    """In a hand-out on a screen of 1280 × 720 the controls and all they move are seen at once."""
    page.set_viewport_size({"width": 986 + MARGINS, "height": 900})
    page.evaluate(TWO_FRAMES)
    assert page.locator(".charts").bounding_box()["height"] <= 720


def check_page(page, page_errors: list[str], widths: tuple[int, ...] = (1100, 700, 340)) -> None:
    """All can be read, nothing sticks out at any of the `widths`, dark is drawn too, and nobody complained."""
    check_texts(page)
    for width in widths:
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.evaluate(TWO_FRAMES)  # drawn at the last width: the first tells the widget of it
    light = page.evaluate(PIXELS)
    page.emulate_media(color_scheme="dark")
    page.wait_for_function(f"(light) => {PIXELS}.every((url, i) => url !== light[i])", arg=light)
    assert page_errors == []


def all_drawn_anew(page, before: list[str]) -> bool:
    """Whether every picture differs from what it was."""
    return all(old != new for old, new in zip(before, page.evaluate(PIXELS), strict=True))


def heard(page, selector: str):
    """A function that gives every text an element has had since: short-lived ones are not missed on a busy machine."""
    page.locator(selector).evaluate("""(element) => {
      window.heard = [];
      const hear = () => window.heard.push(element.textContent);
      new MutationObserver(hear).observe(element, { childList: true, characterData: true, subtree: true });
    }""")
    return lambda: page.evaluate("window.heard")
