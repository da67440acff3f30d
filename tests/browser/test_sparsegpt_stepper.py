"""The SparseGPT stepper on a page without a kernel: forms, steps, keyboard, texts, pictures, both themes."""

import numpy as np
import pytest
import torch
from sparsegpt_states import correlated, states
from widget_page import PIXELS, all_drawn_anew, check_height, check_page, check_texts, heard, show

from pruning_lib.teaching.widgets.sparsegpt_forms import example
from pruning_lib.teaching.widgets.sparsegpt_stepper import SparseGPTStepper


def costs(page) -> list[list[str]]:
    return [row.locator("th, td").all_inner_texts() for row in page.locator("tbody tr").all()]


@pytest.mark.parametrize("width", [980, 560])
def test_steps_forms_and_themes(page, page_errors, width):
    from playwright.sync_api import expect

    made = states(*example())
    show(page, SparseGPTStepper(*example(), form="exact", step=1), width)
    text, output = page.locator("[role=status]"), page.locator("output")
    expect(output).to_have_text("1 of 4")
    chosen = ", ".join(f"row {i + 1}: x{'₁₂₃₄₅₆₇₈'[q]}" for i, q in enumerate(made["exact"][1].columns))
    expect(text).to_contain_text(f"smallest w²/d, d on the diagonal of its H⁻¹ ({chosen})")
    before = page.evaluate(PIXELS)
    page.locator(".next").focus()
    page.keyboard.press("Enter")
    expect(output).to_have_text("2 of 4")
    assert all_drawn_anew(page, before)
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    expect(output).to_have_text("4 of 4")
    expect(page.locator(".next")).to_be_disabled()
    expect(page.locator(".step")).to_be_focused()  # the keyboard goes on where the button cannot
    assert costs(page)[0] == ["exact OBS per row", "6", "18", "660"]
    for _ in range(3):
        page.keyboard.press("ArrowLeft")
    assert page.evaluate(PIXELS) == before

    # the radio buttons have arrow keys too, and the column forms share a step
    page.locator("[value=exact]").focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator("[value=synchronized]")).to_be_checked()
    expect(output).to_have_text("1 of 8")
    expect(text).to_contain_text("The mask of x₁ to x₄ was chosen just before")
    page.locator(".next").click()
    page.locator(".next").click()
    expect(text).to_contain_text("Step 3 of 8: all rows are at x₃; rows 3, 4 and 5 prune it")
    expect(page.locator(".inverse figcaption")).to_contain_text("B = inverse of H for S₃: one for all rows")
    shared = page.evaluate(PIXELS)
    page.locator("[value=cholesky]").click()
    expect(output).to_have_text("3 of 8")
    pivot = made["synchronized"][3].inverses[0][2, 2].item()
    expect(text).to_contain_text(f"U₃₃² = {pivot:.2f} = B₁₁")
    factored = page.evaluate(PIXELS)
    assert factored[0] == shared[0] and factored[1] != shared[1] and factored[2] == shared[2]  # W and errors are equal
    assert costs(page)[1:] == [["synchronized", "1", "2", str(49 + 36)], ["Cholesky", "1 factor", "0", "0"]]
    expect(page.locator("tr[aria-current]")).to_contain_text("Cholesky")
    exact, after_two = made["exact"][1], made["synchronized"][2]  # as many weights are gone in both
    assert len({np.isin(state.marks, ("now", "pruned")).sum() for state in (exact, after_two)}) == 1
    for words in ("At 6 pruned: ", f"exact {exact.error:.3g}", f"Cholesky {after_two.error:.3g}"):
        expect(page.locator(".errors figcaption")).to_contain_text(words)

    page.locator(".start").click()
    expect(text).to_contain_text("Start: the upper triangular U")
    texts = heard(page, ".play")
    page.locator(".play").click()
    expect(output).to_have_text("8 of 8")
    expect(page.locator(".play")).to_have_text("play")
    assert texts()[0] == "pause"
    page.locator("[value=exact]").click()  # has fewer steps: its last
    expect(output).to_have_text("4 of 4")

    assert "24 of 48 pruned" in page.locator("canvas").first.get_attribute("aria-label")
    check_page(page, page_errors)


@pytest.mark.parametrize(
    "state",
    [
        {"form": "exact", "step": 2},
        {"form": "synchronized", "step": 3},
        {"form": "cholesky", "step": 5},
        {"view": "blocks", "step": 6},
        {"view": "layer"},
    ],
    ids=lambda state: "-".join(map(str, state.values())),
)
def test_all_can_be_read_and_fits_a_screen(page, page_errors, state):
    show(page, SparseGPTStepper(*example(), **state))
    check_texts(page)
    check_height(page)
    assert page_errors == []


@pytest.mark.parametrize("width", [980, 390])
def test_blocks(page, page_errors, width):
    from playwright.sync_api import expect

    show(page, SparseGPTStepper(*example(), step=1), width)
    text = page.locator("[role=status]")
    page.locator("[value=steps]").focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator("[value=blocks]")).to_be_checked()
    expect(page.locator("[value=blocks]")).to_be_focused()
    assert not page.locator("[name=form]").count()  # what belongs to another view is gone, for the keyboard too
    expect(text).to_contain_text("Step 1 of 11, the mask of block 1: of its 24 weights")
    before = page.evaluate(PIXELS)
    page.locator(".next").focus()
    for _ in range(3):
        page.keyboard.press("Enter")
    expect(text).to_contain_text("Step 4 of 11, x₃: rows 3, 4 and 5 prune it; only x₄, the rest of the block, moves at")
    expect(text).to_contain_text("x₅ to x₈ wait")
    assert all_drawn_anew(page, before)
    assert costs(page)[:2] == [
        ["eager: all at once", "1,008", "1,728", "275 GB"],
        ["lazy: by block", "432", "1,152", "10.7 GB"],
    ]
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    expect(text).to_contain_text("Step 6 of 11, the lazy update: all that x₅ to x₈ still owe to block 1")
    page.locator(".step").focus()
    page.keyboard.press("End")
    expect(text).to_contain_text(
        "x₈: rows 3 and 5 prune it; nothing of the block is left to move. It is the last block"
    )
    check_page(page, page_errors)


@pytest.mark.parametrize("width", [980, 390])
def test_layer_is_changed_and_bad_numbers_are_refused(page, page_errors, width):
    from playwright.sync_api import expect

    show(page, SparseGPTStepper(*example(), view="layer"), width)
    text, value = page.locator("[role=status]"), page.locator(".value")
    expect(text).to_contain_text("correlated by, on average, 0.33. Setting 24 weights to zero loses 10.8 %")
    before = page.evaluate(PIXELS)
    page.locator(".rho").focus()
    page.keyboard.press("Home")
    expect(text).to_contain_text(
        "loses 7.7 % of the output's square; after compensation 7.7 % are left. No weight can do"
    )
    independent = page.evaluate(PIXELS)
    assert all_drawn_anew(page, before)
    page.keyboard.press("End")
    expect(page.locator(".rho + output")).to_have_text("0.99")
    expect(text).to_contain_text("after compensation 0.1 % is left. Nearly everything is made up for")
    page.locator(".reset").click()
    assert page.evaluate(PIXELS) == before
    page.locator(".rho").focus()
    page.keyboard.press("Home")
    assert page.evaluate(PIXELS) == independent

    # a number of W: typed, by key, dragged
    page.locator(".row").select_option("row 3")
    page.locator(".column").select_option("x₄")
    expect(value).to_have_value("1.7")
    value.fill("−4,5")
    page.keyboard.press("Enter")
    expect(value).to_have_value("−4.5")
    page.keyboard.press("ArrowUp")
    expect(value).to_have_value("−4.4")
    for bad in ("NaN", "9.5", "", "two"):
        value.fill(bad)
        page.keyboard.press("Enter")
        expect(text).to_have_text(
            f"Refused: W₃₄ can't be “{bad}”, must be a number from −9 to 9. The layer stays as it was."
        )
        expect(value).to_have_value("−4.4")
    box = page.locator(".before canvas").bounding_box()
    grip = box["x"] + box["width"] / 4, box["y"] + 40
    page.mouse.move(*grip)
    page.mouse.down()
    chosen = float(value.input_value().replace("−", "-"))
    page.mouse.move(grip[0] + 40, grip[1])
    page.mouse.up()
    assert float(value.input_value().replace("−", "-")) == pytest.approx(chosen + 1)
    expect(text).to_contain_text("Independent inputs.")

    # H by hand: its mirror image follows, and what is no XXᵀ is refused
    page.locator(".matrix").select_option("H")
    page.locator(".row").select_option("x₂")
    page.locator(".column").select_option("x₅")
    for typed, reason in (
        ("1.5", "H would be indefinite (pivot −1.25 at x₅)"),
        ("0.9999", "all but 0.02 % of input x₅"),
    ):
        kept = page.evaluate(PIXELS)
        value.fill(typed)
        page.keyboard.press("Enter")
        expect(text).to_contain_text(f"Refused: {reason}")
        expect(value).to_have_value("0")
        assert page.evaluate(PIXELS) == kept
    value.fill("0.6")
    page.keyboard.press("Enter")
    assert "row 2: 0.00, 1.00, 0.00, 0.00, 0.60" in page.locator(".hessian canvas").get_attribute("aria-label")
    assert "row 5: 0.00, 0.60, 0.00, 0.00, 1.00" in page.locator(".hessian canvas").get_attribute("aria-label")
    page.locator("[value=steps]").click()  # the other views prune the layer as it is now
    assert "0.50, −4.40, 1.50" in page.locator(".weights canvas").get_attribute("aria-label")
    page.locator("[value=layer]").click()
    check_page(page, page_errors, (1100, 700, 390, 340))


def test_layer_without_a_loss(page, page_errors):
    from playwright.sync_api import expect

    weight = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
    show(page, SparseGPTStepper(weight, correlated(torch.eye(2), 0.5), mask_block=2, view="layer"), 700)
    expect(page.locator("[role=status]")).to_contain_text("Setting 2 weights to zero loses 0.0 %")
    page.locator(".value").fill("0")
    page.keyboard.press("Enter")
    page.locator(".row").select_option("row 2")
    page.locator(".column").select_option("x₂")
    page.locator(".value").fill("0")
    page.keyboard.press("Enter")
    expect(page.locator("[role=status]")).to_contain_text("Refused: all weights would be 0")
    assert page_errors == []


def test_largest_and_smallest_layer(page, page_errors):
    from playwright.sync_api import expect

    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(10, 40, generator=generator, dtype=torch.float64)
    large = SparseGPTStepper(torch.randn(8, 10, generator=generator), inputs @ inputs.T, mask_block=5, form="cholesky")
    small = SparseGPTStepper(torch.tensor([[1.0, -3.0]]), torch.eye(2), sparsity=0.0, mask_block=2, form="synchronized")
    for stepper, last in ((small, 2), (large, 10)):
        show(page, stepper)
        page.locator(".step").focus()
        for _ in range(last):
            page.keyboard.press("ArrowRight")
        expect(page.locator("output")).to_have_text(f"{last} of {last}")
    assert page_errors == []
