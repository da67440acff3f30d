"""The perplexity slider on a page without a kernel: keyboard, texts, pictures, both themes."""

import json

from pruning_lib.teaching.widgets.perplexity_slider import PerplexitySlider

STUB = """
const state = STATE;
const model = { get: (name) => state[name], set: (name, value) => (state[name] = value), on() {}, save_changes() {} };
"""
PIXELS = "[...document.querySelectorAll('canvas')].map((canvas) => canvas.toDataURL())"
NAMES = ("pattern", "runs", "looks", "palette")
FOUND = {"50 %": (8.0, 5.0), "80 %": (60.0, 9.0), "2:4": (12.0, 6.0)}


def test_perplexity_slider(page, page_errors):
    from playwright.sync_api import expect

    runs = [{"pattern": "dense", "method": "dense", "sparsity": 0.0, "perplexity": 4.0}]
    for pattern, values in FOUND.items():
        for method, value in zip(("magnitude", "sparsegpt"), values, strict=True):
            sparsity = 0.8 if pattern == "80 %" else 0.5
            runs.append({"pattern": pattern, "method": method, "sparsity": sparsity, "perplexity": value})
    widget = PerplexitySlider(runs)
    state = json.dumps({name: getattr(widget, name) for name in NAMES})
    script = widget._esm.replace("export default", "const widget =")
    page.set_viewport_size({"width": 700, "height": 900})
    page.set_content(
        f"<meta name='color-scheme' content='light dark'><style>{widget._css}</style><div id='here'></div>"
        f"<script type='module'>{script}{STUB.replace('STATE', state)}"
        "widget.render({ model, el: document.getElementById('here') });</script>"
    )
    text = page.locator("[role=status]")
    expect(text).to_have_text("50 %: magnitude 8.00 (2.00 × dense), sparsegpt 5.00 (1.25 × dense); dense 4.00.")
    before = page.evaluate(PIXELS)
    page.locator("input").focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator("output")).to_have_text("80 %")
    expect(text).to_contain_text("80 %: magnitude 60.00")
    assert all(old != new for old, new in zip(before, page.evaluate(PIXELS), strict=True))
    page.keyboard.press("ArrowRight")
    page.locator("select").select_option("magnitude")
    expect(text).to_have_text("2:4: magnitude 12.00, sparsegpt 6.00 (25 % of its increase); dense 4.00.")
    assert page.locator("input").get_attribute("aria-valuetext") == "2:4"
    assert all(canvas.get_attribute("aria-label") for canvas in page.locator("canvas").all())
    assert page.evaluate("document.documentElement.scrollWidth") <= 700
    light = page.evaluate(PIXELS)
    page.emulate_media(color_scheme="dark")
    page.wait_for_function(f"(light) => {PIXELS}.every((url, i) => url !== light[i])", arg=light)
    assert page_errors == []
