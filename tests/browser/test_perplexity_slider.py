"""The perplexity slider on a page without a kernel: keyboard, texts, pictures, both themes."""

from widget_page import PIXELS, all_drawn_anew, check_page, show

from pruning_lib.teaching.widgets.perplexity_slider import PerplexitySlider

FOUND = {"50 %": (8.0, 5.0), "80 %": (60.0, 9.0), "2:4": (12.0, 6.0)}


def test_perplexity_slider(page, page_errors):
    from playwright.sync_api import expect

    runs = [{"pattern": "dense", "method": "dense", "sparsity": 0.0, "perplexity": 4.0}]
    for pattern, values in FOUND.items():
        for method, value in zip(("magnitude", "sparsegpt"), values, strict=True):
            sparsity = 0.8 if pattern == "80 %" else 0.5
            runs.append({"pattern": pattern, "method": method, "sparsity": sparsity, "perplexity": value})
    show(page, PerplexitySlider(runs))
    text = page.locator("[role=status]")
    expect(text).to_have_text("50 %: magnitude 8.00 (2.00 × dense), sparsegpt 5.00 (1.25 × dense); dense 4.00.")
    before = page.evaluate(PIXELS)
    page.locator("input").focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator("output")).to_have_text("80 %")
    expect(text).to_contain_text("80 %: magnitude 60.00")
    assert all_drawn_anew(page, before)
    page.keyboard.press("ArrowRight")
    page.locator("select").select_option("magnitude")
    expect(text).to_have_text("2:4: magnitude 12.00, sparsegpt 6.00 (25 % of its increase); dense 4.00.")
    assert page.locator("input").get_attribute("aria-valuetext") == "2:4"
    check_page(page, page_errors)
