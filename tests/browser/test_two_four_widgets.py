"""The group of four and the roofline explorer in a browser: keyboard, texts, pictures, themes; both in JupyterLab."""

import re

import nbformat
from widget_page import PIXELS, all_drawn_anew, check_height, check_page, show

from pruning_lib.teaching.widgets.roofline_explorer import RooflineExplorer
from pruning_lib.teaching.widgets.two_four_group import PRESETS, TwoFourGroup

KERNEL = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}
CELLS = [
    "from pathlib import Path\n"
    "from pruning_lib.teaching.widgets.two_four_group import TwoFourGroup\n"
    "from pruning_lib.teaching.widgets.roofline_explorer import RooflineExplorer\n"
    "group = TwoFourGroup()\ngroup",
    "roofline = RooflineExplorer()\nroofline",
    # What Python sees goes to a file; what Python sets goes back to the page.
    "def follow(change):\n"
    '    Path("seen.txt").write_text(f"{group.weights[:4]} {roofline.tokens}")\n'
    "    if roofline.tokens == 1:\n"
    '        roofline.gpu = "H100 SXM"\n'
    'group.observe(follow, "weights")\n'
    'roofline.observe(follow, "tokens")',
]


def test_group(page, page_errors):
    from playwright.sync_api import expect

    show(page, TwoFourGroup(row=3))
    text, preset = page.locator("[role=status]"), page.locator(".preset")
    expect(text).to_have_text(
        "Group 0 is stored as −9 and 2 from places 1 and 2: nibble 1001, the second place in front. "
        "(−9) · 1 + 2 · (−1) = −11; dense it is −7.5, so it is off by −3.5. The row in float16: 64 bytes become 32 of "
        "values and 4 of words, 0xD9C9 and 0xEC4D; stored as row 3 they are the lower (left) halves of loads 12 and 13."
    )
    expect(preset).to_have_value("our group: 1, −9, 2, 0.5")
    before = page.evaluate(PIXELS)
    page.locator(".w0").focus()
    page.keyboard.press("End")
    expect(page.locator(".w0 + output")).to_have_text("9")
    expect(text).to_contain_text("stored as 9 and −9 from places 0 and 1: nibble 0100")
    expect(preset).to_have_value("")
    expect(page.locator(".w3")).to_have_attribute("aria-valuetext", "0.5, left out")
    assert all_drawn_anew(page, before)
    preset.select_option("our group: 1, −9, 2, 0.5")
    assert page.evaluate(PIXELS) == before
    preset.select_option("its lost products cancel")
    expect(text).to_contain_text("= −11; dense it is the same.")
    for name in PRESETS:  # each can be chosen, also the one without a weight
        preset.select_option(name)
        expect(preset).to_have_value(name)
    expect(text).to_contain_text("stored as 0 and 0 from places 2 and 3: nibble 1110")
    expect(text).to_contain_text("dense it is the same.")
    expect(page.locator(".w0")).to_have_attribute("aria-valuetext", "0, left out")  # of four zeros the last are stored
    expect(page.locator(".w3")).to_have_attribute("aria-valuetext", "0, stored")
    page.locator(".w1").focus()
    page.keyboard.press("ArrowRight")
    expect(text).to_contain_text("stored as 0.5 and 0 from places 1 and 2: nibble 1001")

    # another group: by slider, by click; the row elsewhere in the matrix
    page.locator("input.group").focus()
    page.keyboard.press("ArrowRight")
    expect(text).to_contain_text("Group 1 is stored as 4 and −2.5 from places 0 and 3")
    expect(page.locator(".w0 + output")).to_have_text("4")
    page.locator(".whole canvas").scroll_into_view_if_needed()
    box = page.locator(".whole canvas").bounding_box()
    page.mouse.click(box["x"] + 0.9 * box["width"], box["y"] + 20)
    expect(text).to_contain_text("Group 3 is stored as 2.5 and 7")
    page.locator("input.row").press("End")
    expect(text).to_contain_text("stored as row 31 they are the upper (right) halves of loads 30 and 31")
    expect(page.locator("input.row")).to_have_attribute("aria-valuetext", "as row 31")
    page.locator("input.row").press("Home")
    expect(page.locator("input.row")).to_have_attribute("aria-valuetext", "not shown")
    expect(text).not_to_contain_text("halves of loads")
    expect(page.locator(".loads")).to_be_hidden()
    page.locator("input.row").press("End")
    check_height(page)
    check_page(page, page_errors, (1100, 700, 390, 340))


def test_roofline(page, page_errors):
    from playwright.sync_api import expect

    show(page, RooflineExplorer())
    text = page.locator("[role=status]")
    expect(text).to_contain_text("dense 16.6 µs (bound by memory, 15.9 FLOP per byte), 2:4 9.39 µs (bound by memory")
    expect(text).to_contain_text(
        "at most 1.77 times as fast; with 80 % of a model's time in such products, the whole model at most 1.53 times. "
        "Bounds, not forecasts. Nobody's times on this card are given."
    )
    before = page.evaluate(PIXELS)
    page.locator(".tokens").focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator(".tokens + output")).to_have_text("32")
    assert all_drawn_anew(page, before)
    page.keyboard.press("End")
    expect(page.locator(".tokens + output")).to_have_text("16,384")
    expect(text).to_contain_text("bound by computing")
    expect(text).to_contain_text("at most 2.00 times")
    page.keyboard.press("Home")
    expect(text).to_contain_text("at most 1.78 times")
    whole = page.locator(".gain canvas")
    page.locator(".share").focus()
    page.keyboard.press("End")
    expect(page.locator(".share + output")).to_have_text("100 %")
    expect(whole).to_have_attribute(
        "aria-label", re.compile("at most 1.78 times as fast, the whole model at most 1.78")
    )
    page.keyboard.press("Home")
    expect(text).to_contain_text("with 0 % of a model's time in such products, the whole model at most 1.00 times")
    page.locator(".dtype").select_option("int8")
    expect(text).to_contain_text("at most 1.60 times")
    page.locator(".gpu").select_option("RTX 4090")
    page.locator(".width").focus()
    page.keyboard.press("Home")
    expect(page.locator(".width + output")).to_have_text("256")
    check_page(page, page_errors, (1100, 700, 390, 340))


def test_recorded_runs_are_drawn(page, page_errors):
    from playwright.sync_api import expect

    text = page.locator("[role=status]")
    show(page, RooflineExplorer(tokens=64))
    expect(text).not_to_be_empty()  # and drawn, in the same frame
    alone = page.evaluate(PIXELS)
    product = {"shape": "4096²", "dtype": "float16", "tokens": 64, "rows": 4096, "columns": 4096}
    times = {"dense_call": 4e-5, "sparse_call": 3e-5, "dense_graph": 3e-5, "sparse_graph": 2e-5}
    record = {"gpu": {"name": "NVIDIA A100-SXM4-80GB"}, "runs": [product | times]}
    show(page, RooflineExplorer([record], tokens=64))
    expect(text).to_contain_text("Hollow marks: 1 product timed on this card, each of its own size.")
    assert all_drawn_anew(page, alone)
    page.locator(".gpu").select_option("H200 SXM")
    expect(text).to_contain_text("Nobody's times on this card are given.")
    assert page_errors == []


def test_both_in_jupyterlab(lab, page, page_errors):
    from playwright.sync_api import expect

    cells = [nbformat.v4.new_code_cell(source) for source in CELLS]
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=KERNEL), lab.folder / "two_four.ipynb")
    lab.open(page, "two_four.ipynb")
    seen = lab.folder / "seen.txt"
    text = page.locator(".two-four-group [role=status]")
    expect(text).to_contain_text("stored as −9 and 2 from places 1 and 2")
    page.locator(".two-four-group .w0").focus()
    page.keyboard.press("Home")
    expect(text).to_contain_text("stored as −9 and −9 from places 0 and 1")

    # Python follows the page, and the page Python.
    page.locator(".roofline-explorer .tokens").focus()
    page.keyboard.press("Home")
    expect(page.locator(".roofline-explorer .gpu")).to_have_value("H100 SXM")
    assert seen.read_text(encoding="utf-8") == "[-9.0, -9.0, 2.0, 0.5] 1"
    assert page_errors == []
