"""The page to try: up to date, and alive when opened from disk with no network."""

import re

import numpy as np
from widget_page import PIXELS

from pruning_lib.files import CHECKOUT
from pruning_lib.teaching import try_it

PATH = CHECKOUT / "figures" / "try.html"
NUMBER = re.compile(r"-?\d+\.?\d*(?:e-?\d+)?")


def test_committed_page_is_what_the_notebooks_make():
    texts = PATH.read_text(encoding="utf-8"), try_it.page()
    ours, made = (NUMBER.sub("#", text) for text in texts)
    assert ours == made, "run: make figures"
    ours, made = (np.array(NUMBER.findall(text), dtype=float) for text in texts)
    np.testing.assert_allclose(ours, made, rtol=1e-4, atol=1e-6, err_msg="run: make figures")
    assert PATH.stat().st_size < 500_000


def test_every_widget_of_the_page_is_alive(page, page_errors):
    from playwright.sync_api import expect

    page.context.set_offline(True)
    page.goto(PATH.as_uri())
    pixels = PIXELS.replace("document", "widget.shadowRoot")
    for place, control in enumerate((".sparsity", "input[type=range]", ".step", "input[type=range]")):
        widget = page.locator(".live-widget").nth(place)
        text = widget.locator("[role=status]").first.text_content()
        before = widget.evaluate(f"(widget) => {pixels}")
        assert before
        widget.locator(control).first.focus()
        page.keyboard.press("End")
        expect(widget.locator("[role=status]").first).not_to_have_text(text)
        assert widget.evaluate(f"(widget, before) => {pixels}.some((url, i) => url !== before[i])", before)
    assert page.locator(".live-widget").count() == len(try_it.PARTS) == 4
    assert page_errors == []
