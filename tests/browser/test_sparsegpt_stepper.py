"""The SparseGPT stepper on a page without a kernel: forms, steps, keyboard, texts, pictures, both themes."""

import numpy as np
import pytest
import torch
from widget_page import PIXELS, all_drawn_anew, check_page, heard, show

from pruning_lib.teaching.widgets.sparsegpt_forms import example, states
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
    expect(text).to_contain_text(f"smallest w²/[H⁻¹]_qq ({chosen})")
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
    expect(page.locator(".inverse figcaption")).to_have_text("One (H_S₃)⁻¹ for all rows, updated after each column")
    shared = page.evaluate(PIXELS)
    page.locator("[value=cholesky]").click()
    expect(output).to_have_text("3 of 8")
    pivot = made["synchronized"][3].inverses[0][2, 2].item()
    expect(text).to_contain_text(f"U₃₃² = {pivot:.2f} = [(H_S₃)⁻¹]₁₁")
    factored = page.evaluate(PIXELS)
    assert factored[0] == shared[0] and factored[1] != shared[1] and factored[2] == shared[2]  # W and errors are equal
    assert costs(page)[1:] == [["synchronized", "1", "2", str(49 + 36)], ["Cholesky", "1 factor", "0", "0"]]
    expect(page.locator("tr[aria-current]")).to_contain_text("Cholesky")
    reached = made["synchronized"][3]
    gone = np.isin(reached.marks, ("now", "pruned")).sum()
    expect(page.locator(".errors figcaption")).to_contain_text(f"Cholesky {reached.error:.3g} ({gone})")

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
