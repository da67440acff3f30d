"""The lasso explorer and the λ paths explorer on a page without a kernel: keyboard, texts, pictures, both themes."""

from widget_page import PIXELS, all_drawn_anew, check_page, heard, show

from pruning_lib.teaching.widgets.lambda_paths import LambdaPaths
from pruning_lib.teaching.widgets.lasso_explorer import PRESETS, LassoExplorer


def test_lasso_explorer_steps(page, page_errors):
    from playwright.sync_api import expect

    show(page, LassoExplorer(t=58))
    text, output = page.locator("[role=status]"), page.locator(".t + output")
    momentum = page.locator(".momentum + output")
    expect(output).to_have_text("58 of 60")
    expect(text).to_contain_text("APG, t = 58: momentum 0.949")
    expect(momentum).to_have_text("grows: 0.949")  # the slider follows the growing momentum
    before = page.evaluate(PIXELS)
    page.locator(".next").focus()
    page.keyboard.press("Enter")
    expect(output).to_have_text("59 of 60")
    expect(momentum).to_have_text("grows: 0.95")
    assert page.evaluate(PIXELS) != before
    page.keyboard.press("ArrowRight")
    expect(output).to_have_text("60 of 60")
    expect(page.locator(".next")).to_be_disabled()
    expect(page.locator(".t")).to_be_focused()  # the keyboard goes on where the button cannot
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    expect(output).to_have_text("58 of 60")
    assert page.evaluate(PIXELS) == before
    page.locator(".method").select_option("ista")
    expect(text).to_contain_text("ISTA, t = 58: after the gradient z =")
    texts = heard(page, ".play")
    page.locator(".play").click()
    expect(output).to_have_text("60 of 60")
    expect(page.locator(".play")).to_have_text("play")
    assert texts()[0] == "pause"
    page.locator(".start").click()
    expect(text).to_contain_text("The start: λ = (−1, 2)")
    check_page(page, page_errors)


def test_lasso_explorer_can_be_broken_and_says_why(page, page_errors):
    from playwright.sync_api import expect

    show(page, LassoExplorer())
    text, preset = page.locator("[role=status]"), page.locator(".preset")
    expect(preset).to_have_value("a long valley, step 1/L")
    expect(text).to_contain_text("the parabola is nowhere below F, so no step of ISTA goes up")
    before = page.evaluate(PIXELS)
    for slider in ("eta", "gamma", "condition", "angle"):
        seen = page.evaluate(PIXELS)
        page.locator(f".{slider}").focus()
        page.keyboard.press("ArrowRight")
        expect(preset).to_have_value("")
        assert all_drawn_anew(page, seen), slider
    page.locator(".eta").focus()
    page.keyboard.press("End")
    expect(text).to_contain_text("η = 2.5/L is above 1/L: the parabola can dip below F. This step promised F = ")
    expect(text).to_contain_text("ISTA jumps across the valley each time; only the penalty holds it back")
    page.locator(".gamma").focus()
    page.keyboard.press("Home")
    expect(text).to_contain_text("lands higher on the other side each time. APG diverges; ISTA diverges")
    preset.select_option("a round bowl: one step is enough")
    preset.select_option("")  # back to the own values
    expect(page.locator(".eta + output")).to_have_text("2.5/L")
    preset.select_option("momentum needs smaller steps: only APG diverges")
    expect(text).to_contain_text("with μ = 0.9 its largest step is 1.36/L, ISTA's is 2/L. APG diverges; ISTA is still")
    page.locator(".momentum").focus()
    page.keyboard.press("Home")
    expect(text).not_to_contain_text("diverges")  # without momentum APG is ISTA
    preset.select_option("no prox: the path never rests on an axis")
    expect(text).to_contain_text("No prox: the parabola knows the slope of γ|λ| but not its kink")
    preset.select_option("a round bowl: one step is enough")
    expect(text).to_contain_text("ISTA is within 10⁻⁶ of the minimum from t = 1.")
    preset.select_option("a high price: both coordinates close")
    expect(text).to_contain_text("λ = (0, 0)")
    preset.select_option("a long valley, step 1/L")
    assert page.evaluate(PIXELS) == before
    page.locator(".growing").focus()
    page.keyboard.press("Space")
    expect(page.locator(".momentum + output")).to_have_text("0.9")
    assert page.evaluate(PIXELS) != before
    page.locator(".growing").press("Space")
    expect(page.locator(".momentum + output")).to_have_text("grows: 0.769")
    page.locator(".momentum").press("ArrowLeft")
    expect(page.locator(".growing")).not_to_be_checked()  # a momentum that is set is a constant one
    check_page(page, page_errors)


def test_every_example_of_the_lasso_is_one_of_the_list(page, page_errors):
    from playwright.sync_api import expect

    for name, values in PRESETS.items():
        show(page, LassoExplorer(**values))
        expect(page.locator(".preset")).to_have_value(name)
    assert page_errors == []


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
        "γ = 0.1: 1 of 2 gates closed, test accuracy 95.00 % (dense 97.00 %), multiplications (MACs) "
        "60.0 % of the dense network's. Closed: stage1.1."
    )
    after = page.evaluate(PIXELS)
    assert all(old != new for old, new in zip(before, after, strict=True))
    page.locator(".unit").select_option("stage1.1")
    assert page.evaluate(PIXELS)[0] != after[0]
    page.locator(".seed").select_option("1")
    check_page(page, page_errors)
