"""The swap row in a real browser: keyboard, clicks, texts, themes."""

import re

import pytest
import torch
from widget_page import PIXELS, all_drawn_anew, check_height, check_page, check_texts, show

from pruning_lib.teaching.widgets.swap_row import SwapRow, example

# Two pairs of inputs that nearly say the same, and two that stand alone.
H = torch.eye(6, dtype=torch.float64)
H[0, 1] = H[1, 0] = H[2, 3] = H[3, 2] = 0.9
WEIGHT = torch.tensor([2.0, 1.9, -1.5, -1.4, 1.0, 0.5], dtype=torch.float64)
STARTS = {
    "magnitude": torch.tensor([True, True, True, False, False, False]),
    "by lot": torch.tensor([False, False, True, True, False, True]),
}


@pytest.fixture
def row():
    return SwapRow(WEIGHT, H, STARTS)


def test_swap_row(page, page_errors, row):
    from playwright.sync_api import expect

    show(page, row)
    text = page.locator("[role=status]")
    out, back, swap, best = (page.locator(f".{name}") for name in ("out", "back", "swap", "best"))
    start = "After 0 swaps the error is 100 % of the start's; the best of all 20 masks has "
    expect(text).to_contain_text(start)
    expect(page.locator(".undo")).to_be_disabled()
    before = page.evaluate(PIXELS)

    # What is seen before a swap is what comes of it: w₂ is nearly w₁'s double, and w₅ stands alone.
    out.focus()
    page.keyboard.press("ArrowDown")
    back.focus()
    page.keyboard.press("ArrowDown")
    expect(text).to_contain_text("w₂ out, w₅ back: alone, losing w₂ costs ")
    expect(text).to_contain_text("together the error would go from 100 % to ")
    foretold = page.locator(".path canvas").get_attribute("aria-label").split("marked ")[1].split(";")[0]
    assert all_drawn_anew(page, before)
    swap.press("Enter")
    expect(text).to_contain_text("After 1 swap (last w₂ for w₅) the error is ")
    expect(page.locator(".path canvas")).to_have_attribute(
        "aria-label", re.compile(re.escape(f"Least error after each swap, start 1: 1.000, {foretold};"))
    )
    expect(out).to_have_value("0")  # w₂ is no longer there to be given up
    page.locator(".undo").press("Enter")
    expect(text).to_contain_text("After 0 swaps")
    expect(text).to_contain_text("w₂ out, w₅ back")

    # Until none pays: here the best of all masks, which then cannot be improved.
    best.press("Enter")
    expect(text).to_contain_text("After 1 swap")
    expect(text).to_contain_text("This is the best mask.")
    expect(best).to_be_disabled()
    expect(out).to_be_focused()  # a disabled button does not keep the keyboard
    page.locator(".again").press("Enter")
    expect(text).to_contain_text("After 0 swaps")
    page.locator(".start").focus()
    page.keyboard.press("ArrowDown")
    expect(page.locator(".start")).to_have_value("by lot")
    page.locator(".climb").press("Enter")
    expect(text).to_contain_text("This is the best mask.")
    check_height(page)
    check_page(page, page_errors, widths=(1100, 700, 390, 340))


def test_weights_are_clicked(page, page_errors, row):
    from playwright.sync_api import expect

    show(page, row)
    text, canvas = page.locator("[role=status]"), page.locator(".row canvas")
    box = canvas.bounding_box()
    left, wide = 62, box["width"] - 74  # chart()'s margins; axis from −0.6 to 5.6

    def click(place: int) -> None:
        page.mouse.click(box["x"] + left + wide * (place + 0.6) / 6.2, box["y"] + 0.5 * box["height"])

    click(2)
    click(5)
    expect(text).to_contain_text("w₃ out, w₆ back: ")
    expect(page.locator(".out")).to_have_value("2")
    expect(page.locator(".back")).to_have_value("5")
    click(4)
    expect(text).to_contain_text("w₃ out, w₅ back: ")
    assert page_errors == []


def test_where_swaps_end_is_said_and_an_exchange_that_harms_is_seen(page, page_errors):
    from playwright.sync_api import expect

    w, hessian = example()
    largest = torch.zeros(12, dtype=torch.bool).index_fill(0, w.abs().topk(6).indices, True)
    show(page, SwapRow(w, hessian, {"magnitude": largest}, out=5, back=0))
    text = page.locator("[role=status]")
    expect(text).to_contain_text("w₆ out, w₁ back: alone, losing w₆ costs 363 %")
    expect(text).to_contain_text("together the error would go from 100 % to 346 %")
    page.locator(".climb").press("Enter")
    expect(text).to_contain_text(
        re.compile("After 3 swaps \\(last w.+ for w.+\\) the error is 68 % of the start's; the best")
    )
    expect(text).to_contain_text("of all 924 masks has 51 %.")
    expect(text).to_contain_text("No exchange pays any more: a local optimum.")
    check_texts(page)
    assert page_errors == []
