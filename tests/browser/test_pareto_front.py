"""The Pareto front in a browser: limit, points under the pointer and the keys, a switch between records, pictures."""

import re

import pytest

from pruning_lib.teaching.widgets.pareto_front import ParetoFront
from tests.comparison_runs import made_up, recorded
from tests.widget_page import PIXELS, all_drawn_anew, check_page, show

EVIDENCE = recorded()
BEST = re.compile(r"the most accurate is (.+?), \d")


@pytest.fixture
def said(page):
    """What the widget says of the limit, once it is about this one."""
    from playwright.sync_api import expect

    def words(bound: str) -> str:
        text = page.locator("[role=status]")
        expect(text).to_contain_text(f"At most {bound}")
        return text.inner_text()

    return words


def test_limit_and_cost(page, page_errors, said):
    show(page, ParetoFront({"LeNet-5": EVIDENCE}))
    text = said("12 % of the dense network's bytes (that is 206,918)")
    assert BEST.search(text)[1] == "gradual magnitude at 95 %"
    assert "Not told apart from it: filters and neurons at 90.5 %, " in text
    assert page.locator(".record").count() == 0

    before = page.evaluate(PIXELS)
    page.locator(".limit").focus()
    page.keyboard.press("Home")
    assert "filters and neurons at 99.2 %" in (text := said("1 % of the dense network's bytes (that is 17,243)"))
    assert text.endswith("Not told apart from it: built small at 99.2 %.") or "told apart" in text
    assert page.locator(".limit").get_attribute("aria-valuetext") == "at most 1 % of the dense network's bytes"
    assert all_drawn_anew(page, before)

    page.locator(".cost").select_option("seconds 64")
    text = said("12 % of the dense network's seconds for 64 images (that is 0.838 ms)")
    assert text.startswith("No point is within 1 %, so the limit is 12 %.") and BEST.search(text)
    assert page.locator(".limit + output").inner_text() == "12 %"
    missing = page.locator(".missing").inner_text()
    assert "Not measured, so not drawn:" in missing and "n:m magnitude 2:4" in missing
    assert all(canvas.get_attribute("aria-label") for canvas in page.locator("canvas").all())
    page.locator(".cost").select_option("macs")
    check_page(page, page_errors)


def test_a_point_under_the_pointer_and_by_keys(page, page_errors):
    from playwright.sync_api import expect

    show(page, ParetoFront({"LeNet-5": EVIDENCE}, cost="weights"))
    pointed = page.locator(".pointed")
    expect(pointed).to_contain_text("gradual magnitude at 90 %: 97.76 %")  # the best, where none is chosen
    page.locator(".point").focus()
    page.keyboard.press("ArrowRight")
    expect(pointed).to_contain_text("filters and neurons at 99.2 %: ")
    expect(pointed).to_contain_text("of dense 0.8 % of the weights, ")
    expect(pointed).to_contain_text("Nothing dominates it.")
    page.keyboard.press("End")
    expect(pointed).to_contain_text("Dominated by ")
    assert page.locator(".point").get_attribute("aria-valuetext") in pointed.inner_text()
    last = pointed.inner_text()
    canvas = page.locator(".plane canvas")
    box = canvas.bounding_box()
    for place in range(8, int(box["width"]), 6):  # along a line through the crowd, that ends elsewhere
        page.mouse.move(box["x"] + place, box["y"] + 110)
    expect(pointed).not_to_have_text(last)
    assert page.locator(".point").get_attribute("aria-valuetext") in pointed.inner_text()
    assert page_errors == []


def test_a_second_network_is_a_switch(page, page_errors, said):
    other = made_up() | {"batches": [], "about": "Made up"}
    other["methods"] = [m | {"points": [p | {"latency": []} for p in m["points"]]} for m in other["methods"]]
    show(page, ParetoFront({"LeNet-5": EVIDENCE, "ResNet": other}, cost="seconds 64", limit=50.0))
    first = said("50 %")
    before = page.evaluate(PIXELS)
    page.locator(".record").select_option("ResNet")
    assert "nothing that was measured is that cheap" in said("50 %")
    page.locator(".cost").select_option("weights")
    assert all_drawn_anew(page, before) and said("50 % of the dense network's weights") != first
    assert "Made up." in page.locator(".missing").inner_text()
    page.locator(".record").select_option("LeNet-5")
    page.locator(".cost").select_option("seconds 64")
    assert said("50 % of the dense network's seconds") == first
    check_page(page, page_errors)
