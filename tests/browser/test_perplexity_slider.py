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
    expect(page.locator(".bars figcaption")).to_have_text("Perplexity per byte at 80 %; with a gap: longer than drawn")
    expect(text).to_contain_text("80 %: magnitude 60.00")
    assert all_drawn_anew(page, before)
    page.keyboard.press("Home")  # as on the axis
    page.locator("select").select_option("magnitude")
    expect(text).to_have_text(
        "2:4: magnitude 12.00, sparsegpt 6.00 (0.25 ×); dense 4.00. "
        "In brackets: the rise over dense, against magnitude's."
    )
    assert page.locator("input").get_attribute("aria-valuetext") == "2:4"
    check_page(page, page_errors)


def test_it_shows_what_the_models_write(page, page_errors):
    from playwright.sync_api import expect

    about = {"magnitude": ("of the the", 900.0, 2.4), "sparsegpt": ("a step to the <b>left", 40.0, 1.3)}
    runs = [{"pattern": "dense", "method": "dense", "sparsity": 0.0, "perplexity": 25.0, "bits_per_byte": 1.1}]
    runs[0]["continued"] = " on the left"
    for pattern, sparsity in (("50 %", 0.5), ("60 %", 0.6)):
        for method, (text, perplexity, bits) in about.items():
            run = {"pattern": pattern, "method": method, "sparsity": sparsity, "perplexity": perplexity}
            runs.append(run | {"bits_per_byte": bits, "continued": f" {text} at {pattern}"})
    show(page, PerplexitySlider(runs, "The door is"))
    texts = page.locator("dd")
    expect(texts).to_have_text(
        ["The door is on the left …", "The door is of the the at 50 % …", "The door is a step to the <b>left at 50 % …"]
    )
    page.locator("input").focus()
    page.keyboard.press("ArrowRight")
    expect(texts.nth(1)).to_have_text("The door is of the the at 60 % …")
    expect(page.locator(".bars figcaption")).to_have_text("Perplexity per token at 60 %; with a gap: longer than drawn")
    check_page(page, page_errors)
