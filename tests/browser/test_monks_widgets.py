"""MONK's networks pruned by hand, and H with its inverse, in a real browser: keyboard, clicks, texts, themes."""

import json
import re

import pytest
from widget_page import PIXELS, all_drawn_anew, check_page, show

from pruning_lib.files import CHECKOUT
from pruning_lib.teaching.widgets.inverse_hessian import InverseHessian
from pruning_lib.teaching.widgets.prune_by_hand import Learned, PruneByHand
from pruning_lib.workbench import monks


@pytest.fixture(scope="module")
def by_hand():
    record = json.loads((CHECKOUT / "figures" / "measured" / "04_monks.json").read_text(encoding="utf-8"))
    learned = {}
    for problem in (2, 3):
        task = monks.load(problem)
        network = monks.network(task, seed=problem)
        monks.minimize(network, task.train, 0.01)
        learned[task.name] = Learned(task, network, 0.01, {2: (15, 100.0), 3: (4, 97.2)}[problem])
    return PruneByHand(learned, record["runs"])


def test_prune_by_hand(page, page_errors, by_hand):
    from playwright.sync_api import expect

    show(page, by_hand)
    text, choice, one = (page.locator(selector) for selector in ("[role=status]", ".choice", ".one"))
    expect(text).to_contain_text("39 of 39 weights left, the others follow: ")
    expect(page.locator(".undo")).to_be_disabled()
    before = page.evaluate(PIXELS)
    page.locator(".five").click()
    expect(text).to_contain_text("34 of 39 weights left")
    assert all_drawn_anew(page, before)
    page.locator(".paper").press("Enter")
    expect(text).to_contain_text("15 of 39 weights left")
    expect(page.locator(".paper")).to_be_disabled()
    expect(choice).to_be_focused()  # a disabled button does not keep the keyboard
    choice.press("ArrowDown")
    choice.press("ArrowDown")
    expect(choice).to_have_value("magnitude")
    one.press("Enter")
    expect(text).to_contain_text("14 of 39 weights left")
    following = text.text_content()
    page.locator(".others").select_option("stay")
    expect(text).to_contain_text("the others stay")
    after = page.locator(".loss canvas").get_attribute("aria-label")
    losses = {name: float(re.search(f"{name} ([0-9.]+)", after)[1]) for name in ("magnitude", "OBD", "OBS")}
    least = min(losses, key=losses.get)
    assert losses[least] < 0.98 * losses["OBS"]
    expect(text).to_contain_text(f"Here {least}'s choice costs less than OBS's, which counts on the others to follow.")
    page.locator(".others").select_option("follow")
    expect(text).to_have_text(following)
    page.locator(".undo").press("Enter")
    expect(text).to_contain_text("15 of 39 weights left")
    page.locator(".start").press("Enter")
    expect(text).to_contain_text("39 of 39 weights left")
    choice.select_option("OBS")
    assert page.evaluate(PIXELS) == before
    page.locator(".problem").select_option("MONK3")
    expect(text).to_contain_text("39 of 39 weights left")
    check_page(page, page_errors, widths=(1100, 700, 390, 340))


def test_a_connection_is_pointed_at_clicked_and_chosen_by_name(page, page_errors, by_hand):
    from playwright.sync_api import expect

    show(page, by_hand)
    text, canvas = page.locator("[role=status]"), page.locator(".network canvas")
    box = canvas.bounding_box()
    found = {}  # what the text says of the connection at each place that has one
    for k in range(12):  # across the lines from inputs to hidden units
        place = box["x"] + 0.45 * box["width"], box["y"] + (0.1 + 0.06 * k) * box["height"]
        page.mouse.move(*place)
        if canvas.evaluate("(canvas) => canvas.style.cursor") == "pointer":
            found[place] = text.text_content().split("Without ")[1]
    assert len(set(found.values())) > 5 and all(" → h" in said for said in found.values())
    place, pointed = found.popitem()
    page.mouse.click(*place)
    expect(text).to_contain_text("38 of 39 weights left")
    accuracy = pointed.split("): ")[1].split(",")[0]
    expect(text).to_contain_text(f"the others follow: {accuracy} of the test cases right")  # as it was foretold
    page.mouse.move(0, 0)
    page.locator(".choice").select_option("bias → out")
    expect(text).to_contain_text("Without bias → out")
    expect(page.locator(".five")).to_be_disabled()  # a connection goes once
    page.locator(".one").click()
    expect(text).to_contain_text("37 of 39 weights left")
    assert page.locator(".choice option", has_text="bias → out").count() == 0
    expect(page.locator(".choice")).to_have_value("OBS")
    assert page_errors == []


def test_inverse_hessian(page, page_errors):
    from playwright.sync_api import expect

    task = monks.xor()
    network = monks.network(task, seed=0)
    monks.minimize(network, task.train, 1e-3)
    show(page, InverseHessian(task, network, weight=4), width=860)
    text = page.locator("[role=status]")
    expect(text).to_have_text(
        "Trained: 4 of 4 cases right, E = 0.00295. Without w₅, bias → h1 (−0.969): others stay, 2 of 4 cases right, "
        "E = 0.375; others follow by 0.00155 times the column, 4 of 4 cases right, E = 0.0263. "
        "E rises by 0.0233, 31 times OBS's forecast L = 7.5e−4, which takes E for a parabola. It is OBS's choice."
    )
    before = page.evaluate(PIXELS)
    page.locator(".weight").press("ArrowDown")
    expect(text).to_contain_text("Without w₆, bias → h2")
    assert all_drawn_anew(page, before)
    page.locator(".weight").press("ArrowUp")
    assert page.evaluate(PIXELS) == before
    page.locator(".alpha").press("End")
    expect(page.locator(".alpha + output")).to_have_text("1")
    expect(text).to_contain_text("others follow by 0.987 times the column, 2 of 4")  # that is: nobody moves
    page.locator(".alpha").press("Home")
    expect(page.locator(".alpha + output")).to_have_text("1.0e−6")
    box = page.locator(".inverse canvas").bounding_box()
    page.mouse.move(box["x"] + 40, box["y"] + 100)
    expect(text).to_contain_text("Without w₁, x1 → h1")
    page.mouse.click(box["x"] + 40, box["y"] + 100)
    expect(page.locator(".weight")).to_have_value("0")
    page.mouse.move(0, 0)
    expect(text).to_contain_text("Without w₁, x1 → h1")
    # The squares begin at 30; to the right of the matrix stands the move δw, which is no column of it.
    side = (box["height"] - 30) / 9
    page.mouse.move(box["x"] + 30 + 8.5 * side, box["y"] + 100)
    expect(text).to_contain_text("Without w₉, ")
    page.mouse.move(box["x"] + 30 + 9.9 * side, box["y"] + 100)
    expect(text).to_contain_text("Without w₁, x1 → h1")
    page.mouse.click(box["x"] + 30 + 9.9 * side, box["y"] + 100)
    expect(page.locator(".weight")).to_have_value("0")
    check_page(page, page_errors, widths=(1100, 700, 390, 340))
