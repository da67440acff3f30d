"""Widgets of OBS in a real browser without a kernel: keyboard, texts, pictures, themes; Surgery in JupyterLab."""

import nbformat
import torch
from widget_page import PIXELS, all_drawn_anew, check_height, check_page, show

from pruning_lib.teaching.widgets.damped_deletions import DampedDeletions
from pruning_lib.teaching.widgets.surgery import Surgery
from pruning_lib.teaching.widgets.taylor import Taylor

KERNEL = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}
CELLS = [
    "from pathlib import Path\nfrom pruning_lib.teaching.widgets.surgery import Surgery\nsurgery = Surgery()\nsurgery",
    # What Python sees goes to a file; what Python sets goes back to the page.
    "def follow(change):\n"
    '    Path("seen.txt").write_text(f"{surgery.w1:g} {surgery.ratio:g}")\n'
    "    if surgery.w1 == -2:\n"
    "        surgery.correlation = 0.0\n"
    'surgery.observe(follow, ["w1", "ratio"])',
]


def test_surgery(page, page_errors):
    from playwright.sync_api import expect

    show(page, Surgery())
    text, preset = page.locator("[role=status]"), page.locator(".preset")
    expect(text).to_have_text(
        "Magnitude deletes w₂ and leaves w₁: E = 0.64. OBD deletes w₁ and leaves w₂: E = 0.36. "
        "OBS deletes w₁ and moves w₂ from 0.8 to 1.28: E = 0.13. "
        "With two weights OBS's scores are 1 − ρ² = 0.36 of OBD's: both delete the same one."
    )
    expect(preset).to_have_value("magnitude deletes the wrong weight")
    before = page.evaluate(PIXELS)
    for slider in ("w1", "w2", "ratio", "correlation"):
        seen = page.evaluate(PIXELS)
        page.locator(f".{slider}").focus()
        page.keyboard.press("ArrowLeft")
        expect(preset).to_have_value("")
        assert page.evaluate(PIXELS) != seen
    assert all_drawn_anew(page, before)
    expect(page.locator(".w1 + output")).to_have_text("1.15")
    expect(page.locator(".ratio + output")).to_have_text("0.21")
    for _ in range(4):  # the examples by keyboard, to the last
        preset.focus()
        page.keyboard.press("ArrowDown")
    preset.select_option("magnitude deletes the wrong weight")
    assert page.evaluate(PIXELS) == before
    preset.select_option("a round bowl: magnitude suffices")
    expect(text).to_contain_text("OBS deletes w₁ and leaves w₂: E = 0.32")
    page.locator(".w1").focus()
    page.keyboard.press("Home")
    expect(text).to_contain_text("Magnitude deletes w₂ and leaves w₁")
    page.locator(".w2").focus()
    page.keyboard.press("Home")
    page.locator(".correlation").focus()
    page.keyboard.press("End")
    expect(text).to_contain_text("moves w₂ from −2 to −3.9")
    check_page(page, page_errors)


def line(scale: float, slope: float) -> dict[str, list[float]]:
    """ΔE = slope·t + scale·(t² + t³), and a diagonal that sees half of the second term."""
    t = [0.0, 0.01, 0.03, 0.1, 0.3, 1.0]
    second = [scale * x**2 for x in t]
    true = [slope * x + scale * (x**2 + x**3) for x in t]
    return {
        "t": t,
        "true": true,
        "first": [slope * x for x in t],
        "second": second,
        "diagonal": [x / 2 for x in second],
    }


def test_taylor(page, page_errors):
    from playwright.sync_api import expect

    early, late = ({"random": line(2.0, slope), "one weight": line(-1.0, slope)} for slope in (-0.5, 0.0))
    show(page, Taylor({"after 10 steps": early, "after 500 steps": late}))
    text = page.locator("[role=status]")
    expect(page.locator(".point")).to_have_value("after 500 steps")
    expect(text).to_have_text(
        "At t = 1, ΔE = 4. First order is off by 100 %, second by 50 %; second with H's diagonal only by 75 %. "
        "What second order leaves grows as t to the 3.00."
    )
    before = page.evaluate(PIXELS)
    page.locator(".index").focus()
    page.keyboard.press("ArrowLeft")
    expect(text).to_contain_text("At t = 0.3, ΔE = 0.234. First order is off by 100 %, second by 23 %;")
    assert all_drawn_anew(page, before)
    page.keyboard.press("Home")
    expect(text).to_contain_text("At t = 0, ΔE = 0. First order is off by 0,")
    expect(text).not_to_contain_text("grows")
    page.keyboard.press("End")
    assert page.evaluate(PIXELS) == before
    page.locator(".point").select_option("after 10 steps")
    expect(text).to_contain_text("At t = 1, ΔE = 3.5.")
    page.locator(".direction").select_option("one weight")
    expect(text).to_contain_text("At t = 1, ΔE = ")
    assert all_drawn_anew(page, before)
    check_page(page, page_errors)


def test_taylor_with_a_third_term_and_one_point_only(page, page_errors):
    from playwright.sync_api import expect

    curve = line(2.0, 0.0)
    curve["cubic"] = [2.0 * x**3 for x in curve["t"]]
    show(page, Taylor({"the end": {"random": curve}}))
    expect(page.locator("[role=status]")).to_contain_text("third by ")
    expect(page.locator(".curves figcaption")).to_contain_text("third order")
    assert page_errors == []


def ends(error: list[list[float]]) -> dict[str, torch.Tensor]:
    table = torch.tensor(error, dtype=torch.float64)
    return {"error": table, "unseen": table + 0.05, "moved": 4 * (table - table[:, :1])}


def test_damped_deletions(page, page_errors):
    from playwright.sync_api import expect

    methods = {
        "OBS": ends([[0.25, 0.251, 0.9, 0.5], [0.25, 0.252, 0.32, 0.5]]),
        "OBD": ends([[0.25, 0.26, 0.35, 0.5], [0.25, 0.26, 0.35, 0.5]]),
        "magnitude, following": ends([[0.25, 0.262, 0.36, 0.5], [0.25, 0.262, 0.34, 0.5]]),
        "magnitude": ends([[0.25, 0.27, 0.33, 0.5]]),
    }
    show(page, DampedDeletions([1e-3, 1e-2], methods, alpha=1e-3, deleted=1))
    text = page.locator("[role=status]")
    expect(text).to_have_text(
        "1 of 3 weights gone, α = 0.001. Training error (unseen): OBS 0.251 (0.301), OBD 0.26 (0.31), "
        "magnitude, following 0.262 (0.312), magnitude 0.27 (0.32). Least on unseen samples: OBS."
    )
    before = page.evaluate(PIXELS)
    page.locator(".deleted").focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator(".deleted + output")).to_have_text("2 of 3")
    expect(text).to_contain_text("OBS 0.9 (0.95)")  # above the picture, and marked at its edge
    expect(text).to_contain_text("Least on unseen samples: magnitude.")
    assert all_drawn_anew(page, before)
    page.locator(".alpha").focus()
    page.keyboard.press("ArrowUp")
    expect(page.locator(".alpha + output")).to_have_text("0.01")
    expect(text).to_contain_text("OBS 0.32 (0.37)")
    expect(text).to_contain_text("Least on unseen samples: OBS.")
    page.keyboard.press("Home")
    page.locator(".deleted").focus()
    for end in ("Home", "End"):
        page.keyboard.press(end)
        expect(text).to_contain_text("All are alike.")
    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")
    assert page.evaluate(PIXELS) == before
    check_height(page)
    check_page(page, page_errors)


def test_surgery_in_jupyterlab(lab, page, page_errors):
    from playwright.sync_api import expect

    cells = [nbformat.v4.new_code_cell(source) for source in CELLS]
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=KERNEL), lab.folder / "surgery.ipynb")
    lab.open(page, "surgery.ipynb")
    text, seen = page.locator(".surgery [role=status]"), lab.folder / "seen.txt"
    expect(text).to_contain_text("moves w₂ from 0.8 to 1.28")
    page.locator(".surgery .preset").select_option("no correlation: OBS is OBD")
    expect(text).to_contain_text("OBS deletes w₁ and leaves w₂: E = 0.36.")
    page.locator(".surgery .preset").select_option("strong correlation: OBS is nearly free")
    expect(text).to_contain_text("OBS deletes w₁ and moves w₂ from 1.6 to 2.55")

    # Python follows the page, and the page Python.
    page.locator(".surgery .w1").focus()
    page.keyboard.press("Home")
    expect(page.locator(".surgery .correlation + output")).to_have_text("0")
    expect(text).to_contain_text("OBS deletes w₂ and leaves w₁: E = 1.28.")
    assert seen.read_text(encoding="utf-8") == "-2 1"
    assert page_errors == []
