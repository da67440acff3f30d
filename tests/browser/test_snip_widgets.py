"""The tangent explorer and the layer race on a page without a kernel: keyboard, mouse, texts, pictures, both themes."""

import torch
from widget_page import PIXELS, all_drawn_anew, check_page, show

from pruning_lib.teaching.widgets.layer_race import SPARSITIES, LayerRace
from pruning_lib.teaching.widgets.tangent_explorer import TangentExplorer


def a_network() -> dict[str, torch.Tensor]:
    """The tiny network of notebook 02."""
    generator = torch.Generator().manual_seed(4)
    sizes = {"first": (3, 2), "second": (2, 3), "inputs": (5, 2)}
    drawn = {name: torch.randn(*size, generator=generator, dtype=torch.float64) for name, size in sizes.items()}
    return drawn | {"targets": torch.tensor([0, 1, 1, 0, 1])}


def test_tangent_explorer(page, page_errors):
    from playwright.sync_api import expect

    show(page, TangentExplorer(**a_network()))
    text, indicator = page.locator("[role=status]"), page.locator(".indicator")
    expect(text).to_have_text(
        "x₁→h₁ at c = 1: loss 0.701. From 0.701 at c = 1 the tangent promises 0.537 at c = 0, a fall by 0.164; the "
        "truth is 0.754, a rise by 0.0531: even the sign is wrong. Of 12 it ranks 1 by |g| and 6 by |ΔL|."
    )
    before = page.evaluate(PIXELS)
    indicator.focus()
    page.keyboard.press("ArrowLeft")
    expect(text).to_contain_text("x₁→h₁ at c = 0.99: loss 0.699")
    page.keyboard.press("Home")
    expect(text).to_contain_text("x₁→h₁ at c = 0: loss 0.754")
    expect(text).to_contain_text("it ranks 1 by |g| and 6 by |ΔL|")  # while it is dragged no rank moves
    page.locator(".connection").focus()
    page.keyboard.press("ArrowRight")
    expect(text).to_contain_text("x₂→h₁ at c = 1: loss 0.754")
    expect(text).to_contain_text("All this with x₁→h₁ at 0.")
    assert all_drawn_anew(page, before)
    page.locator(".restore").press("Enter")
    expect(text).to_contain_text("x₂→h₁ at c = 1: loss 0.701")
    page.locator(".connection").press("Home")
    assert page.evaluate(PIXELS) == before
    check_page(page, page_errors)


def test_tangent_explorer_where_nothing_changes(page, page_errors):
    from playwright.sync_api import expect

    show(page, TangentExplorer(**a_network(), connection=6))  # h₁→o₁ and h₁→o₂ gone: what enters h₁ ends there
    text, connection, indicator = (page.locator(one) for one in ("[role=status]", ".connection", ".indicator"))
    expect(text).to_contain_text("h₁→o₁ at c = 1")
    indicator.press("Home")
    for _ in range(3):
        connection.press("ArrowRight")
    expect(text).to_contain_text("h₁→o₂ at c = 1")
    indicator.press("Home")
    connection.press("Home")
    expect(text).to_contain_text(", no change; the truth is ")
    expect(text).to_contain_text(", no change: the tangent is right. Of 12 it ranks ")
    expect(text).not_to_contain_text("NaN")
    assert page_errors == []


def test_tangent_explorer_by_mouse(page, page_errors):
    from playwright.sync_api import expect

    show(page, TangentExplorer(**a_network()))
    text = page.locator("[role=status]")
    box = page.locator(".curve canvas").bounding_box()
    page.mouse.move(box["x"] + 0.8 * box["width"], box["y"] + 80)
    page.mouse.down()
    page.mouse.move(box["x"] + 2, box["y"] + 80)  # left of zero
    page.mouse.up()
    expect(text).to_contain_text("x₁→h₁ at c = 0: loss 0.754")
    page.mouse.move(box["x"] + 0.8 * box["width"], box["y"] + 80)  # no button: nothing is dragged
    expect(text).to_contain_text("x₁→h₁ at c = 0: loss 0.754")
    page.locator(".restore").click()
    page.mouse.move(box["x"] + 0.5 * box["width"], box["y"] + 80)
    page.mouse.down(button="right")
    page.mouse.move(box["x"] + 2, box["y"] + 80)
    page.mouse.up(button="right")
    page.mouse.move(box["x"] + 0.5 * box["width"], box["y"] - 5)
    page.mouse.down()  # beside the drawing
    page.mouse.move(box["x"] + 2, box["y"] + 80)
    page.mouse.up()
    expect(text).to_contain_text("x₁→h₁ at c = 1: loss 0.701")
    page.locator(".ranks canvas").click(position={"x": 60, "y": 52 + 24})
    expect(text).to_contain_text("it ranks 2 by |g|")
    width = page.locator(".ranks canvas").bounding_box()["width"]
    page.locator(".ranks canvas").click(position={"x": width - 60, "y": 52})
    expect(text).to_contain_text("and 1 by |ΔL|")
    page.locator(".ranks canvas").click(position={"x": 60, "y": 5})  # the heading
    expect(text).to_contain_text("and 1 by |ΔL|")
    page.locator(".network canvas").click(position={"x": 90, "y": 62})
    expect(text).to_contain_text("x₁→h₁ at c = 1")
    page.locator(".ranks canvas").click(position={"x": 60, "y": 52 + 24})
    expect(text).to_contain_text("it ranks 2 by |g|")
    page.locator(".network canvas").click(position={"x": 3, "y": 3})  # where no connection is
    expect(text).to_contain_text("it ranks 2 by |g|")
    assert page_errors == []


def test_layer_race(page, page_errors):
    from playwright.sync_api import expect

    generator = torch.Generator().manual_seed(0)
    sizes = {"conv.weight": (8, 1, 3, 3), "stage1.0.shortcut.conv": (8, 8, 3, 3), "fc.weight": (10, 8)}
    rising = {name: torch.rand(size, generator=generator) * (k + 1) for k, (name, size) in enumerate(sizes.items())}
    even = {name: torch.rand(size, generator=generator) for name, size in sizes.items()}
    signal = {"SNIP": [10 ** (-step / 5) for step in range(len(SPARSITIES))], "random": [1.0] * len(SPARSITIES)}
    show(page, LayerRace({"SNIP": rising, "random": even}, signal))
    text, output = page.locator("[role=status]"), page.locator(".step + output")
    expect(text).to_have_text(
        "At 0.0 % sparsity 728 of 728 weights are left. Layers emptied: SNIP 0, random 0. "
        "Of the dense network's signal arrives: SNIP 100.0 %, random 100.0 %."
    )
    before = page.evaluate(PIXELS)
    page.locator(".next").press("Enter")
    expect(output).to_have_text("14.2 %")
    assert all_drawn_anew(page, before)
    page.locator(".step").press("End")
    expect(output).to_have_text("99.954 %")
    expect(text).to_contain_text("SNIP 3 (last at 99.9")
    expect(text).to_contain_text("signal arrives: SNIP nothing, random 100.0 %")
    page.locator(".start").click()
    assert page.evaluate(PIXELS) == before
    page.locator(".play").click()
    expect(output).to_have_text("99.954 %")
    check_page(page, page_errors)


def test_layer_race_without_a_signal(page, page_errors):
    from playwright.sync_api import expect

    show(page, LayerRace({"magnitude": {"fc.weight": torch.arange(1.0, 21.0)}}, step=20))
    text = "At 95.4 % sparsity 1 of 20 weights are left. Layers emptied: magnitude 0."
    expect(page.locator("[role=status]")).to_have_text(text)
    assert page.locator("canvas").count() == 2 and page_errors == []
