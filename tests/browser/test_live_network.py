"""The networks that run in the page, in a real browser that has no kernel and no network."""

import re

import pytest
from widget_page import PIXELS, all_drawn_anew, check_page, show

from pruning_lib.teaching.recorded_lenet import from_vector, load
from pruning_lib.teaching.widgets.at_initialization import AtInitialization
from pruning_lib.teaching.widgets.live_network import LiveNetwork
from pruning_lib.workbench import training
from pruning_lib.workbench.data import load as load_data

POINTS = "(root) => root.querySelector('.curve canvas').getAttribute('aria-label').match(/[\\d.]+ %/g).length"


@pytest.fixture(scope="module")
def recorded():
    return load()


@pytest.fixture(scope="module")
def digits():
    return load_data("digits").test


BEFORE = "The mask was chosen before training. "


def sentence(widget, digits) -> str:
    """What the text has to say of the network that the widget shows, by PyTorch."""
    accuracy, loss = training.evaluate(widget.pruned(), digits)
    right = round(accuracy * len(digits[1]))
    return (
        f"{100 * widget.masks().sparsity:.1f} % of the weights pruned: {right} of 360 images are read right, "
        f"{100 * accuracy:.1f} % (dense: 96.9 %); loss {loss:.3f} (dense: 0.096)."
    )


def test_all_follows_every_control(page, page_errors, recorded, digits):
    from playwright.sync_api import expect

    twin = LiveNetwork(from_vector(recorded.dense), digits, sparsity=0.95, image=40)
    show(page, twin)
    text, root = page.locator("[role=status]"), page.locator(".live-network")
    sparsity, structure, scope = (page.locator(f".{name}") for name in ("sparsity", "structure", "scope"))
    expect(text).to_have_text(sentence(twin, digits))
    expect(page.locator(".logits figcaption")).to_contain_text("Logits of a 1: dense, read as 1; pruned, read as 8")
    expect(page.locator(".wall figcaption")).to_contain_text(
        "82 misread because of pruning, 9 of the 11 misread before still are, 2 no longer."
    )

    expect(page.locator(".shares")).to_contain_text("5.6 % kept")
    labels = structure.locator("option").all_inner_texts()
    assert labels == [
        "single weights",
        "2 of every 4 (2:4)",
        "1 of every 4 (1:4)",
        "inputs (columns)",
        "neurons (rows)",
    ]

    # A key moves the slider, everything is drawn, and the curve has a point more; there and back it has no other.
    before, points = page.evaluate(PIXELS), root.evaluate(POINTS)
    sparsity.press("ArrowRight")
    twin.sparsity = 0.96
    expect(text).to_have_text(sentence(twin, digits))
    assert all_drawn_anew(page, before) and root.evaluate(POINTS) == points + 1
    sparsity.press("ArrowLeft")
    assert root.evaluate(POINTS) == points + 1

    twin.sparsity = 0.95
    for how in ("layer", "global"):
        scope.select_option(how)
        twin.scope = how
        expect(text).to_have_text(sentence(twin, digits))
    for how in ("neurons", "columns", "2:4", "1:4"):
        structure.select_option(how)
        twin.structure = how
        expect(text).to_have_text(sentence(twin, digits))
        expect(scope).to_be_enabled() if how == "neurons" else expect(scope).to_be_disabled()
        expect(sparsity).to_be_disabled() if ":" in how else expect(sparsity).to_be_enabled()
    structure.select_option("neurons")
    expect(page.locator(".network-note")).to_have_text("Broken: every image is read as a 2.")
    assert page_errors == []


def test_another_image_by_slider_button_and_click(page, page_errors, recorded, digits):
    from playwright.sync_api import expect

    show(page, LiveNetwork(from_vector(recorded.dense), digits, sparsity=0.9))
    image, caption = page.locator(".image"), page.locator(".logits figcaption")
    expect(image).to_have_attribute("aria-valuetext", "0, a 0")
    before = page.evaluate(PIXELS)
    image.press("End")
    expect(image).to_have_attribute("aria-valuetext", "359, a 9")
    assert page.evaluate(PIXELS)[0] == before[0]  # the curve stays as it was
    button = page.get_by_role("button", name="next misread")
    seen = set()
    for _ in range(30):  # all 29, and then from the start
        button.click()
        expect(caption).to_have_text(re.compile(r"Logits of a (\d):\s+dense, read as \d;\s+pruned,\s+read as (?!\1)\d"))
        seen.add(image.input_value())
    assert len(seen) == 360 - 331
    page.locator(".wall canvas").click(position={"x": 20 + 18 * 4 + 5, "y": 2 + 18 * 2 + 5})
    expect(image).to_have_attribute("aria-valuetext", "40, a 1")
    page.locator(".wall canvas").click(position={"x": 5, "y": 5})  # a name, no image
    expect(image).to_have_attribute("aria-valuetext", "40, a 1")
    assert page_errors == []


def test_sweep_draws_the_whole_curve_and_comes_back(page, page_errors, recorded, digits):
    from playwright.sync_api import expect

    show(page, LiveNetwork(from_vector(recorded.dense), digits, sparsity=0.9, seen=[]))
    sweep, root = page.get_by_role("button", name="Sweep"), page.locator(".live-network")
    expect(page.locator(".sparsity")).to_have_attribute("aria-valuetext", "90 %")
    sweep.click()
    expect(sweep).to_have_attribute("aria-pressed", "true")
    page.wait_for_function(f"({POINTS})(document.querySelector('.live-network')) === 101 + 1")
    expect(sweep).to_have_attribute("aria-pressed", "false")
    expect(page.locator(".sparsity")).to_have_attribute("aria-valuetext", "90 %")
    sweep.click()
    page.locator(".sparsity").press("Home")
    expect(sweep).to_have_attribute("aria-pressed", "false")
    expect(page.locator(".sparsity")).to_have_attribute("aria-valuetext", "0 %")
    assert root.evaluate(POINTS) == 102 and page_errors == []


def test_a_click_on_the_curve_sets_the_sparsity(page, page_errors, recorded, digits):
    from playwright.sync_api import expect

    twin = LiveNetwork(from_vector(recorded.dense), digits, sparsity=0.5)
    show(page, twin)
    curve, sparsity = page.locator(".curve canvas"), page.locator(".sparsity")
    left, wide = 62, curve.bounding_box()["width"] - 62 - 12  # of the chart within its canvas

    def click(percents):
        curve.click(position={"x": left + wide * percents / 100, "y": 60})

    for structure, percents in (("unstructured", 90), ("unstructured", 20), ("columns", 60)):
        page.locator(".structure").select_option(structure)
        click(percents)
        expect(sparsity).to_have_value(re.compile(f"^{percents - 1}|{percents}|{percents + 1}$"))
    page.locator(".structure").select_option("neurons")
    click(75)  # of the weights, for which fewer of the neurons go: each takes a row and a column along
    twin.structure, twin.sparsity = "neurons", int(sparsity.input_value()) / 100
    assert twin.sparsity < 0.75 and abs(twin.masks().sparsity - 0.75) < 0.03
    page.locator(".structure").select_option("2:4")
    click(90)
    expect(page.locator("[role=status]")).to_contain_text("50.0 % of the weights pruned")
    assert page_errors == []


def test_widths_themes_and_no_error(page, page_errors, recorded, digits):
    show(page, LiveNetwork(from_vector(recorded.dense), digits, sparsity=0.95))
    page.locator("[role=status]").get_by_text("74.7 %").wait_for()
    check_page(page, page_errors)


def test_masks_at_initialization(page, page_errors, recorded, digits):
    from playwright.sync_api import expect

    twin = AtInitialization(recorded, digits)
    show(page, twin)
    text = page.locator("[role=status]")
    expect(text).to_have_text(BEFORE + sentence(twin, digits))
    before = page.evaluate(PIXELS)
    page.locator(".level").press("ArrowRight")
    twin.sparsity = 0.98
    expect(text).to_have_text(BEFORE + sentence(twin, digits))
    assert all_drawn_anew(page, before)
    for score in ("magnitude", "random"):
        page.locator(".score").select_option(score)
        twin.score = score
        expect(text).to_have_text(BEFORE + sentence(twin, digits))
    expect(page.locator(".network-note")).to_contain_text("Broken: every image is read as a")
    page.locator(".curve canvas").click(position={"x": 66, "y": 60})
    expect(page.locator(".level")).to_have_value("0")
    page.locator(".level").press("ArrowRight")
    page.locator(".stage").select_option("as initialized")
    expect(text).to_contain_text("(dense: 7.5 %); loss")
    assert page.locator(".curve figcaption span").all_inner_texts()[-2] == "△ random, as initialized"
    check_page(page, page_errors)
