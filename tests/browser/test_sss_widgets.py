"""The APG stepper and the λ paths explorer on a page without a kernel: keyboard, texts, pictures, both themes."""

import json

import pytest
import torch

from pruning_lib.teaching.widgets.apg_stepper import APGStepper, Lasso
from pruning_lib.teaching.widgets.lambda_paths import LambdaPaths

STUB = """
const state = STATE;
const model = { get: (name) => state[name], set: (name, value) => (state[name] = value), on() {}, save_changes() {} };
"""
PIXELS = "[...document.querySelectorAll('canvas')].map((canvas) => canvas.toDataURL())"


def show(page, widget) -> None:
    names = [name for name, trait in widget.traits(sync=True).items() if not name.startswith("_") and trait.metadata]
    state = {name: getattr(widget, name) for name in names if name not in ("layout", "tabbable", "tooltip", "comm")}
    script = widget._esm.replace("export default", "const widget =")
    page.set_content(
        f"<meta name='color-scheme' content='light dark'><style>{widget._css}</style><div id='here'></div>"
        f"<script type='module'>{script}{STUB.replace('STATE', json.dumps(state))}"
        "widget.render({ model, el: document.getElementById('here') });</script>"
    )


@pytest.fixture
def lasso() -> Lasso:
    matrix, target = torch.tensor([[1.0, 0.8], [0.0, 0.3]]), torch.tensor([1.4, 0.13])
    return Lasso(matrix, target, gamma=0.4, start=torch.tensor([-1.0, 2.0]), steps=5)


def test_apg_stepper(page, page_errors, lasso):
    from playwright.sync_api import expect

    page.set_viewport_size({"width": 700, "height": 900})
    show(page, APGStepper(lasso, t=3))
    text, output = page.locator("[role=status]"), page.locator("output")
    expect(output).to_have_text("3 of 5")
    expect(text).to_contain_text("APG, t = 3: momentum 0.25")
    before = page.evaluate(PIXELS)
    page.locator(".next").focus()
    page.keyboard.press("Enter")
    expect(output).to_have_text("4 of 5")
    assert all(old != new for old, new in zip(before, page.evaluate(PIXELS), strict=True))
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
    page.locator(".play").click()
    expect(page.locator(".play")).to_have_text("pause")
    expect(output).to_have_text("5 of 5", timeout=60_000)
    expect(page.locator(".play")).to_have_text("play")
    assert all(canvas.get_attribute("aria-label") for canvas in page.locator("canvas").all())
    assert page.evaluate("document.documentElement.scrollWidth") <= 700
    light = page.evaluate(PIXELS)
    page.emulate_media(color_scheme="dark")
    page.wait_for_function(f"(light) => {PIXELS}.every((url, i) => url !== light[i])", arg=light)
    assert page_errors == []


def test_lambda_paths(page, page_errors):
    from playwright.sync_api import expect

    def run(gamma, last, seed):
        scales = {"stage1.0": [[1.0], [0.5]], "stage1.1": [[1.0], [last]]}
        gates, macs = {"stage1.0": 1, "stage1.1": 1}, 1000 if last else 600
        return {"gamma": gamma, "seed": seed, "accuracy": 0.95, "macs": macs, "gates": gates, "scales": scales}

    runs = [run(gamma, last, seed) for seed in (0, 1) for gamma, last in ((0.0, 1.0), (0.1, 0.0))]
    page.set_viewport_size({"width": 700, "height": 900})
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
    assert page.evaluate("document.documentElement.scrollWidth") <= 700
    assert all(canvas.get_attribute("aria-label") for canvas in page.locator("canvas").all())
    light = page.evaluate(PIXELS)
    page.emulate_media(color_scheme="dark")
    page.wait_for_function(f"(light) => {PIXELS}.every((url, i) => url !== light[i])", arg=light)
    assert page_errors == []
