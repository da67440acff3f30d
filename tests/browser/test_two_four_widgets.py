"""The group of four and the roofline explorer in a browser: keyboard, texts, pictures, themes; both in JupyterLab."""

import json

import nbformat

from pruning_lib.teaching.widgets.roofline_explorer import RooflineExplorer
from pruning_lib.teaching.widgets.two_four_group import PRESETS, TwoFourGroup

STUB = """
const state = STATE;
const model = { get: (name) => state[name], set: (name, value) => (state[name] = value), on() {}, save_changes() {} };
"""
PIXELS = "[...document.querySelectorAll('.charts canvas')].map((canvas) => canvas.toDataURL())"
KERNEL = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}
CELLS = [
    "from pathlib import Path\n"
    "from pruning_lib.teaching.widgets.two_four_group import TwoFourGroup\n"
    "from pruning_lib.teaching.widgets.roofline_explorer import RooflineExplorer\n"
    "group = TwoFourGroup((1, 2, 3, 4))\ngroup",
    "roofline = RooflineExplorer()\nroofline",
    # What Python sees goes to a file; what Python sets goes back to the page.
    "def follow(change):\n"
    '    Path("seen.txt").write_text(f"{group.weights} {roofline.tokens}")\n'
    "    if roofline.tokens == 1:\n"
    '        roofline.gpu = "H100 SXM"\n'
    'group.observe(follow, "weights")\n'
    'roofline.observe(follow, "tokens")',
]


def show(page, widget) -> None:
    names = [name for name, trait in widget.traits(sync=True).items() if not name.startswith("_") and trait.metadata]
    state = {name: getattr(widget, name) for name in names if name not in ("layout", "tabbable", "tooltip", "comm")}
    script = widget._esm.replace("export default", "const widget =")
    page.set_viewport_size({"width": 700, "height": 900})
    page.set_content(
        f"<meta name='color-scheme' content='light dark'><style>{widget._css}</style><div id='here'></div>"
        f"<script type='module'>{script}{STUB.replace('STATE', json.dumps(state))}"
        "widget.render({ model, el: document.getElementById('here') });</script>"
    )


def check_page(page, page_errors) -> None:
    """Nothing sticks out, every picture has words, dark is drawn too, and nobody complained."""
    for width in (700, 340):
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert all(canvas.get_attribute("aria-label") for canvas in page.locator("canvas").all())
    assert all(slider.get_attribute("aria-valuetext") for slider in page.locator("input").all())
    page.set_viewport_size({"width": 700, "height": 900})
    page.wait_for_timeout(100)
    light = page.evaluate(PIXELS)
    page.emulate_media(color_scheme="dark")
    page.wait_for_function(f"(light) => {PIXELS}.every((url, i) => url !== light[i])", arg=light)
    assert page_errors == []


def test_group(page, page_errors):
    from playwright.sync_api import expect

    show(page, TwoFourGroup())
    text, preset = page.locator("[role=status]"), page.locator(".preset")
    expect(text).to_have_text(
        "Stored: values −3 and 2, indices 1 and 3, nibble 1101 (index 1 in the upper two bits). Selected: x₁ and x₃. "
        "(−3) · 1 + 2 · 3 = 3; dense 2.5: −0.5 is lost."
    )
    expect(preset).to_have_value("four of unlike size")
    before = page.evaluate(PIXELS)
    page.locator(".w0").focus()
    page.keyboard.press("End")
    expect(page.locator(".w0 + output")).to_have_text("9")
    expect(text).to_contain_text("values 9 and −3, indices 0 and 1, nibble 0100")
    expect(preset).to_have_value("")
    expect(page.locator(".w3")).to_have_attribute("aria-valuetext", "2, becomes zero")
    assert all(old != new for old, new in zip(before, page.evaluate(PIXELS), strict=True))
    preset.select_option("four of unlike size")
    assert page.evaluate(PIXELS) == before
    for name in PRESETS:  # each can be chosen, also the one without a weight
        preset.select_option(name)
        expect(preset).to_have_value(name)
    expect(text).to_contain_text("values 0 and 0, indices 2 and 3, nibble 1110")
    expect(text).to_contain_text("nothing is lost")
    page.locator(".w1").focus()
    page.keyboard.press("ArrowRight")
    expect(text).to_contain_text("values 0.5 and 0, indices 1 and 2, nibble 1001")
    check_page(page, page_errors)


def test_roofline(page, page_errors):
    from playwright.sync_api import expect

    show(page, RooflineExplorer())
    text = page.locator("[role=status]")
    expect(text).to_contain_text("dense 16.6 µs (bound by memory, 15.9 FLOP per byte), 2:4 9.39 µs (bound by memory")
    expect(text).to_contain_text("at most 1.77 times as fast. A bound, not a forecast")
    before = page.evaluate(PIXELS)
    page.locator(".tokens").focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator(".tokens + output")).to_have_text("32")
    assert all(old != new for old, new in zip(before, page.evaluate(PIXELS), strict=True))
    page.keyboard.press("End")
    expect(page.locator(".tokens + output")).to_have_text("16,384")
    expect(text).to_contain_text("bound by computing")
    expect(text).to_contain_text("at most 2.00 times")
    page.keyboard.press("Home")
    expect(text).to_contain_text("at most 1.78 times")
    page.locator(".dtype").select_option("int8")
    expect(text).to_contain_text("at most 1.60 times")
    page.locator(".gpu").select_option("RTX 4090")
    page.locator(".width").focus()
    page.keyboard.press("Home")
    expect(page.locator(".width + output")).to_have_text("256")
    check_page(page, page_errors)


def test_both_in_jupyterlab(lab, page, page_errors):
    from playwright.sync_api import expect

    cells = [nbformat.v4.new_code_cell(source) for source in CELLS]
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=KERNEL), lab.folder / "two_four.ipynb")
    lab.open(page, "two_four.ipynb")
    seen = lab.folder / "seen.txt"
    text = page.locator(".two-four-group [role=status]")
    expect(text).to_contain_text("values 3 and 4, indices 2 and 3")
    page.locator(".two-four-group .w0").focus()
    page.keyboard.press("Home")
    expect(text).to_contain_text("values −9 and 4, indices 0 and 3")

    # Python follows the page, and the page Python.
    page.locator(".roofline-explorer .tokens").focus()
    page.keyboard.press("Home")
    expect(page.locator(".roofline-explorer .gpu")).to_have_value("H100 SXM")
    assert seen.read_text(encoding="utf-8") == "[-9.0, 2.0, 3.0, 4.0] 1"
    assert page_errors == []
