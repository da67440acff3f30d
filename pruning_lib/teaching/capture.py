"""The animated capture of the README: two widgets of the notebooks, moved in Chromium by their own controls."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
from PIL import Image, ImageDraw, ImageFont

from pruning_lib.files import written_whole
from pruning_lib.teaching.stills import STILLS, WIDTH, Still, chromium, page_of, saved

_BAR, _HEIGHT = 44, 620  # CSS pixels: of the line above, and of a frame with it
_SET = """(control, value) => {
  control.value = value;
  if (control.value !== value) throw new Error(`${control.className} can't be ${value}`);
  control.dispatchEvent(new Event("input", { bubbles: true }));
}"""
_HIDE = "(control) => (control.closest('label').style.display = 'none')"
_AT_REST = """(name) =>
  !document.getElementById(name).querySelector(".live-widget").shadowRoot.querySelector("[aria-busy=true]")"""
_FRAME = "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done())))"
WIDGETS = {
    "breaking": Still("01_taxonomy", STILLS["live_network"].call, {"sparsity": 0.0}),
    "mending": Still("05b_sparsegpt_model", STILLS["gpt_writer"].call, {"written": 0}),
}
UNUSED = {"breaking": (), "mending": (".sparsity", ".temperature")}  # controls that are never moved


class Step(NamedTuple):
    """A control set to a value, the line above, and for how many milliseconds the picture then stands."""

    widget: str
    control: str
    value: str
    line: str
    stands: int = 150


def steps() -> Iterator[Step]:
    """A slider breaks a network; then a language model is pruned by magnitude, and as much of it by SparseGPT."""
    line = "A trained network runs in the page. Prune it …"
    for percent in (0, 50, 70, 80, 85, 88, 91):
        yield Step("breaking", ".sparsity", str(percent), line, 300 if percent else 1200)
    line = "… too far, and you see which digits it misreads."
    for percent in (93, 94, 95, 96, 97):
        yield Step("breaking", ".sparsity", str(percent), line, 2000 if percent == 97 else 300)
    for method, line in (
        ("magnitude", "A toy GPT, 70 % of its weights gone, the smallest ones."),
        ("sparsegpt", "The same 70 %, by SparseGPT, which adjusts those that stay."),
    ):
        yield Step("mending", ".written", "0", line, 0)
        yield Step("mending", ".method", method, line, 400)
        for written in range(12, 121, 12):
            yield Step("mending", ".written", str(written), line, 2200 if written == 120 else 120)


def take(path: Path) -> Path:
    """Write the capture to `path` as an animated WebP that plays on and on."""
    with chromium() as browser, page_of(browser, {name: saved(widget) for name, widget in WIDGETS.items()}) as page:
        shots = [(shot(page, step), step.stands) for step in steps()]
    frames, stands = zip(*((frame, stands) for frame, stands in shots if stands), strict=True)
    with written_whole(path) as temporary:
        look = {"quality": 75, "method": 6, "loop": 0}
        frames[0].save(temporary, "WEBP", save_all=True, append_images=frames[1:], duration=stands, **look)
    return path


def shot(page: Any, step: Step) -> Image.Image:
    """Take a step on a page of the widgets, and its picture."""
    for control in UNUSED[step.widget]:
        page.locator(f"#{step.widget} {control}").evaluate(_HIDE)
    page.locator(f"#{step.widget} {step.control}").evaluate(_SET, step.value)
    page.wait_for_function(_AT_REST, arg=step.widget)
    page.evaluate(_FRAME)
    seen = Image.open(io.BytesIO(page.locator(f"#{step.widget}").screenshot())).convert("RGB")
    frame = Image.new("RGB", (WIDTH, _HEIGHT), "white")
    frame.paste(seen.resize((WIDTH, seen.height * WIDTH // seen.width), Image.Resampling.LANCZOS), (0, _BAR))
    bold = Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans-Bold.ttf")
    ImageDraw.Draw(frame).text((WIDTH // 2, _BAR // 2), step.line, "black", ImageFont.truetype(bold, 17), anchor="mm")
    return frame
