"""A widget on a page that never had a kernel, as in a hand-out: how it is put there and what must hold of each."""

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager

import anywidget

# In place of JupyterLab's model: keeps what is set, tells nobody.
STUB = """
const state = STATE;
for (const name of BYTES) state[name] = new DataView(Uint8Array.from(atob(state[name]), (c) => c.charCodeAt(0)).buffer);
const model = { get: (name) => state[name], set: (name, value) => (state[name] = value), on() {}, save_changes() {} };
"""
# Of every canvas the texts of its last drawing (setting its width clears it), each with the box of its ink and its size,
# in pixels of the page.
WATCH_TEXTS = """
const drawing = CanvasRenderingContext2D.prototype, plain = drawing.fillText;
const width = Object.getOwnPropertyDescriptor(HTMLCanvasElement.prototype, "width");
Object.defineProperty(HTMLCanvasElement.prototype, "width", { ...width, set(value) { this.texts = []; width.set.call(this, value); } });
drawing.fillText = function (text, x, y) {
  plain.call(this, text, x, y);
  const { actualBoundingBoxLeft: l, actualBoundingBoxRight: r, actualBoundingBoxAscent: a, actualBoundingBoxDescent: d } = this.measureText(text);
  const at = this.getTransform(), ratio = window.devicePixelRatio;
  const corners = [[-l, -a], [r, -a], [-l, d], [r, d]].map(([dx, dy]) => at.transformPoint({ x: x + dx, y: y + dy }));
  const [xs, ys] = ["x", "y"].map((axis) => corners.map((corner) => corner[axis] / ratio));
  const [left, right, top, bottom] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
  const size = (parseFloat(this.font.match(/[\\d.]+px/)) * Math.hypot(at.a, at.b)) / ratio;
  if (right > left) this.canvas.texts.push({ text, size, left, right, top, bottom });
};
"""
# What can't be read: texts that leave their canvas, run into another or are small; choices and tables that are cut.
UNREADABLE = """() => {
  const found = [];
  const seen = (element) => element.clientWidth > 0;
  for (const canvas of [...document.querySelectorAll("canvas")].filter(seen)) {
    const [texts, where] = [canvas.texts, canvas.closest("figure")?.className];
    texts.forEach((one, i) => {
      if (one.size < 12) found.push(`${where}: “${one.text}” has ${one.size} px`);
      if (one.left < -1 || one.top < -1 || one.right > canvas.clientWidth + 1 || one.bottom > canvas.clientHeight + 1) found.push(`${where}: “${one.text}” leaves its canvas`);
      for (const other of texts.slice(i + 1))
        if (one.left < other.right + 2 && other.left < one.right + 2 && one.top < other.bottom - 1 && other.top < one.bottom - 1) found.push(`${where}: “${one.text}” runs into “${other.text}”`);
    });
  }
  const g = document.createElement("canvas").getContext("2d");
  for (const list of [...document.querySelectorAll("select")].filter(seen)) {
    const { font, paddingLeft, paddingRight } = getComputedStyle(list);
    g.font = font;
    const room = list.clientWidth - parseFloat(paddingLeft) - parseFloat(paddingRight) - 14; // the arrow
    const text = list.selectedOptions[0]?.text ?? "";
    if (g.measureText(text).width > room + 1) found.push(`${list.className}: the choice “${text}” is cut`);
  }
  for (const figure of [...document.querySelectorAll("figure")].filter(seen))
    if (figure.scrollWidth > figure.clientWidth + 1) found.push(`${figure.className} is cut: it has ${figure.scrollWidth} of ${figure.clientWidth} px`);
  const texts = document.createTreeWalker(document.querySelector(".charts"), NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const [text, element] = [texts.currentNode.data.trim(), texts.currentNode.parentElement];
    if (text && seen(element) && parseFloat(getComputedStyle(element).fontSize) < 12) found.push(`“${text}” is under 12 px`);
  }
  return found;
}"""
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
        f"<script>{{{WATCH_TEXTS}}}</script><div id='here'></div><script type='module'>{script}{stub}"
        "window.end = widget.render({ model, el: document.getElementById('here') });</script>"
    )


def check_texts(page) -> None:
    """All of a widget can be read: on a notebook's page, and in a hand-out on a phone, which leaves it 340 of 390 px."""
    for width in (1100, 340 + MARGINS):
        page.set_viewport_size({"width": width, "height": 900})
        page.evaluate(TWO_FRAMES)  # drawn at that width: the first tells the widget of it
        assert page.evaluate(UNREADABLE) == [], f"{width} px wide"


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
