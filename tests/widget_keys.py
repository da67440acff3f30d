"""A widget's controls by keyboard, and how long its drawing takes to follow: for a page in a browser.

A widget is any element with controls in it: sliders, lists, buttons, radio buttons, boxes. Nothing is known about it
but what the page shows.
"""

import statistics
from dataclasses import dataclass

import pytest

# What the page remembers of the last key: when it was pressed, when its own events had been handled, when the widget
# was last drawn (a canvas, or a change of the page's elements) and when the frame after that came; 0: not yet.
WATCH = """(root) => {
  window.watched?.observer.disconnect();
  const watch = (window.watched = { root, pressed: 0, handled: 0, drawn: 0, frame: 0, waits: false });
  watch.note = () => {
    watch.drawn = performance.now();
    if (!watch.waits) requestAnimationFrame(() => ((watch.waits = false), (watch.frame = performance.now())));
    watch.waits = true;
  };
  watch.observer = new MutationObserver(watch.note);
  watch.observer.observe(root, { subtree: true, childList: true, characterData: true, attributes: true });
  if (window.watches) return;
  window.watches = true;
  const drawing = CanvasRenderingContext2D.prototype;
  for (const name of ["fill", "stroke", "fillText", "fillRect", "strokeRect", "clearRect", "drawImage"]) {
    const plain = drawing[name];
    drawing[name] = function (...given) {
      plain.apply(this, given);
      if (window.watched.root.contains(this.canvas)) window.watched.note();
    };
  }
  const press = () => Object.assign(window.watched, { pressed: performance.now(), handled: 0, drawn: 0, frame: 0 });
  window.addEventListener("keydown", press, true);
  for (const name of ["input", "change", "click"])
    window.addEventListener(name, () => (window.watched.handled = performance.now()));
}"""
# Of the last key, once what it drew is shown and nothing more was drawn for `quiet` ms; else false.
SHOWN = """(quiet) => {
  const { pressed, handled, drawn, frame } = window.watched;
  if (!drawn || frame < drawn || performance.now() - drawn < quiet) return false;
  return { redraw: drawn - pressed, frame: frame - pressed, later: drawn > handled };
}"""
# Whether a widget has been drawn and the page is at rest: same place, same size, same text for ten frames.
AT_REST = """(root) => {
  const { top, left, width, height } = root.getBoundingClientRect();
  const canvases = [...root.querySelectorAll("canvas")].map((canvas) => canvas.width);
  const now = [top, left, width, height, ...canvases, root.innerHTML].join();
  const before = window.beforeRest;
  window.beforeRest = { now, frames: before?.now === now ? before.frames + 1 : 0 };
  return width && canvases.every(Boolean) && window.beforeRest.frames >= 10;
}"""
# Pictures, and all else that is shown without the controls and the values beside them.
DRAWING = """(root) => {
  const rest = root.cloneNode(true);
  for (const control of rest.querySelectorAll("label, input, select, button, output")) control.remove();
  const pictures = [...root.querySelectorAll("canvas")].map((canvas) => canvas.toDataURL());
  pictures.push(...[...root.querySelectorAll("svg")].map((svg) => svg.outerHTML));
  return { pictures, rest: rest.innerHTML };
}"""
DIFFERS = f"""([root, before, parts]) => {{
  const now = ({DRAWING})(root);
  return parts.some((part) => String(now[part]) !== String(before[part]));
}}"""
CONTROL = """(control) => {
  const label = [...(control.labels ?? [])].map((one) => one.firstChild?.textContent.trim() || one.textContent.trim());
  const group = control.type === "radio" ? control.closest("[role=radiogroup]") : null;
  const own = control.tagName === "BUTTON" ? control.textContent : "";
  const name = (group ?? control).getAttribute("aria-label") || label.find(Boolean) || own;
  const kind = control.tagName === "INPUT" ? control.type : control.tagName.toLowerCase();
  const numbers = [control.value, control.min, control.max].map(Number);
  const options = [...(control.options ?? [])].filter((option) => !option.disabled).length;
  return { kind, name, numbers, options, text: control.getAttribute("aria-valuetext"), disabled: control.disabled };
}"""
STANDS_FOR_GROUP = """(radio) => {
  const group = [...radio.getRootNode().querySelectorAll("input")].filter(({ name }) => name === radio.name);
  return radio === (group.find(({ checked }) => checked) ?? group[0]);
}"""
FOCUS = "(element) => ['outlineStyle', 'boxShadow'].map((name) => getComputedStyle(element)[name])"
KEYS = {"range": ("ArrowRight", "ArrowLeft"), "select": ("ArrowDown", "ArrowUp"), "radio": ("ArrowRight", "ArrowLeft")}
KEYS |= {
    "number": ("ArrowUp", "ArrowDown"),
    "text": ("ArrowUp", "ArrowDown"),
    "checkbox": ("Space", "Space"),
    "button": ("Enter", "Enter"),
}


@dataclass
class Control:
    """One control of a widget: its element on the page, its kind (a key of `KEYS`) and the name that is read out."""

    element: object
    kind: str
    name: str
    details: dict

    def keys(self) -> tuple[str, str]:
        """The key that moves it, away from the end where it is at one, and the key that moves it back."""
        value, _, high = self.details["numbers"]
        last = {"select": not self.choices_after(), "range": value == high}.get(self.kind, False)
        return KEYS[self.kind][::-1] if last else KEYS[self.kind]

    def choices_after(self) -> int:
        """How many choices of a list come after the one that is chosen."""
        return self.element.evaluate(
            "(list) => [...(list.options ?? [])].slice(list.selectedIndex + 1).filter((one) => !one.disabled).length"
        )

    def fixed(self) -> bool:
        """Whether there is nothing to choose: a list of one, a slider without length."""
        _, low, high = self.details["numbers"]
        return {"select": self.details["options"] < 2, "range": low == high}.get(self.kind, False)


def controls(root) -> list[Control]:
    """All controls of a widget in the page's order; of a group of radio buttons the chosen one, or else the first."""
    found = []
    for element in root.query_selector_all("input, select, button"):
        details = element.evaluate(CONTROL)
        if details["kind"] != "radio" or element.evaluate(STANDS_FOR_GROUP):
            found.append(Control(element, details["kind"], details["name"], details))
    return found


def check_words(root) -> None:
    """Everything that can be used or seen has words for those who do not see it."""
    for control in controls(root):
        assert control.name, f"a {control.kind} without a label"
        assert control.kind != "range" or control.details["text"], f"{control.name}: no aria-valuetext"
    for picture in root.query_selector_all("canvas, svg:not([aria-hidden=true])"):
        assert picture.get_attribute("role") == "img" and picture.get_attribute("aria-label")
    assert root.query_selector("[role=status], [aria-live=polite]"), "no text that is read out when it changes"


def check_tab(page, root) -> None:
    """Tab reaches every control that can be used, in the page's order, and the focus is seen."""
    able = [one for one in controls(root) if not one.details["disabled"]]
    able[0].element.focus()
    for control in able:
        assert control.element.evaluate("(element) => element === document.activeElement"), f"{control.name}: no Tab"
        assert control.element.evaluate(FOCUS) != ["none", "none"], f"{control.name}: the focus is not seen"
        page.keyboard.press("Tab")


def press(page, control: Control, key: str, quiet: float = 0) -> dict:
    """Press a key and wait for the drawing: ms to the last of it and to the next frame, whether it came later."""
    page.keyboard.press(key)
    return wait_for(page, SHOWN, quiet, f"{control.name}: nothing is drawn after {key}").json_value()


def wait_for(page, state: str, arg, otherwise: str):
    """What `state` of `arg` gives once it is true; fails with the words `otherwise` if it never is."""
    from playwright.sync_api import TimeoutError

    try:
        return page.wait_for_function(state, arg=arg)
    except TimeoutError:
        pytest.fail(otherwise)


def wait_for_rest(page, root) -> None:
    """Wait until a widget has been drawn for the first time and nothing moves."""
    wait_for(page, AT_REST, root, "the page does not come to rest")


def move(page, root, control: Control, presses: int, measured: bool) -> dict | None:
    """Move a control there and back, `presses` times and one, see the drawing follow, and tell the medians in ms.

    None for a button, and for a control without a choice. "computed" says where: JavaScript draws in the key's own
    event, Python later. What is `measured` waits after each key whether an answer from Python comes.
    """
    if control.fixed():
        return None
    control.element.focus()
    forward, back = control.keys()
    before = root.evaluate(DRAWING)
    parts = ["pictures"] if control.kind == "range" and before["pictures"] else ["pictures", "rest"]
    choices = control.choices_after() or control.details["options"] - 1
    times = [press(page, control, forward, 400 if measured else 0)]
    away = 1
    while away < choices and not page.evaluate(DIFFERS, [root, before, parts]):  # two of a list may look alike
        press(page, control, forward)
        away += 1
    wait_for(page, DIFFERS, [root, before, parts], f"{control.name}: {forward} changes nothing")
    if control.kind == "button":
        if control.element.get_attribute("aria-pressed") == "true":
            press(page, control, forward)  # ends the film
        return None
    quiet = 0 if not measured else 300 if times[0]["later"] else 30
    times += [press(page, control, key, quiet) for key in (back, forward) * (presses // 2)]
    for _ in range(away):
        press(page, control, back, quiet)  # as it was: what comes next may depend on it
    redraws = [one["redraw"] for one in times]
    return {
        "control": control.name,
        "kind": control.kind,
        # Most keys: the first may have to wait for what the page unpacks or computes once.
        "computed": "Python" if sum(one["later"] for one in times) > len(times) / 2 else "JavaScript",
        "presses": len(times),
        "redraw_ms": round(statistics.median(redraws), 2),
        "longest_ms": round(max(redraws), 2),
        "frame_ms": round(statistics.median(one["frame"] for one in times), 2),
    }


def move_all(page, root, presses: int, measured: bool) -> list[dict]:
    """`move` every control of a widget, and those that were locked once others have moved; none may stay locked."""
    moved = {}
    page.evaluate(WATCH, root)
    for kinds in (("range", "number", "text"), ("radio", "select", "checkbox"), ("button",)):  # a button may go far
        for _ in range(3):
            for place, control in enumerate(controls(root)):
                if control.kind in kinds and place not in moved and control.element.is_enabled():
                    moved[place] = move(page, root, control, presses, measured)
    missed = [control.name for place, control in enumerate(controls(root)) if place not in moved]
    assert not missed, f"never moved: {missed}"
    return [one for _, one in sorted(moved.items()) if one]
