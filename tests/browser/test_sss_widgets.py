"""The APG stepper and the λ paths explorer on a page without a kernel: keyboard, texts, pictures, both themes."""

import pytest
import torch
from widget_page import PIXELS, all_drawn_anew, check_page, heard, show

from pruning_lib.teaching.widgets.apg_stepper import APGStepper, Lasso
from pruning_lib.teaching.widgets.lambda_paths import LambdaPaths


@pytest.fixture
def lasso() -> Lasso:
    matrix, target = torch.tensor([[1.0, 0.8], [0.0, 0.3]]), torch.tensor([1.4, 0.13])
    return Lasso(matrix, target, gamma=0.4, start=torch.tensor([-1.0, 2.0]), steps=5)


def test_apg_stepper(page, page_errors, lasso):
    from playwright.sync_api import expect

    show(page, APGStepper(lasso, t=3))
    text, output = page.locator("[role=status]"), page.locator("output")
    expect(output).to_have_text("3 of 5")
    expect(text).to_contain_text("APG, t = 3: momentum 0.25")
    before = page.evaluate(PIXELS)
    page.locator(".next").focus()
    page.keyboard.press("Enter")
    expect(output).to_have_text("4 of 5")
    assert all_drawn_anew(page, before)
    page.keyboard.press("ArrowRight")
    expect(output).to_have_text("5 of 5")
    expect(page.locator(".next")).to_be_disabled()
    expect(page.locator(".t")).to_be_focused()  # the keyboard goes on where the button cannot
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    expect(output).to_have_text("3 of 5")
    assert page.evaluate(PIXELS) == before
    page.locator(".method").select_option("ista")
    expect(text).to_contain_text("ISTA, t = 3: momentum 0,")
    page.locator(".start").click()
    expect(text).to_contain_text("The start: λ = (−1, 2)")
    texts = heard(page, ".play")
    page.locator(".play").click()
    expect(output).to_have_text("5 of 5")
    expect(page.locator(".play")).to_have_text("play")
    assert texts()[0] == "pause"
    check_page(page, page_errors)


def test_lambda_paths(page, page_errors):
    from playwright.sync_api import expect

    def run(gamma, last, seed):
        scales = {"stage1.0": [[1.0], [0.5]], "stage1.1": [[1.0], [last]]}
        gates, macs = {"stage1.0": 1, "stage1.1": 1}, 1000 if last else 600
        return {"gamma": gamma, "seed": seed, "accuracy": 0.95, "macs": macs, "gates": gates, "scales": scales}

    runs = [run(gamma, last, seed) for seed in (0, 1) for gamma, last in ((0.0, 1.0), (0.1, 0.0))]
    show(page, LambdaPaths(runs, {"accuracy": 0.97, "macs": 1000}))
    text = page.locator("[role=status]")
    expect(text).to_contain_text("γ = 0: 0 of 2 gates closed")
    expect(text).to_contain_text("No gate closed: γ is too small")
    before = page.evaluate(PIXELS)
    page.locator(".gamma").focus()
    page.keyboard.press("ArrowRight")
    expect(text).to_have_text(
        "γ = 0.1: 1 of 2 gates closed, test accuracy 95.00 % (dense 97.00 %), MACs 60.0 % of the dense network's. "
        "Closed as a whole: stage1.1."
    )
    after = page.evaluate(PIXELS)
    assert all(old != new for old, new in zip(before, after, strict=True))
    page.locator(".unit").select_option("stage1.1")
    assert page.evaluate(PIXELS)[0] != after[0]
    page.locator(".seed").select_option("1")
    check_page(page, page_errors)
