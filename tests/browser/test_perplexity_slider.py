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
    expect(text).to_have_text(
        "Lowest at 50 %: sparsegpt 5.00 (1.25 times dense). Highest: magnitude 8.00 (2.00 times dense)."
    )
    before = page.evaluate(PIXELS)
    page.locator("input").focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator("output")).to_have_text("80 %")
    expect(page.locator(".bars figcaption")).to_have_text(
        "Perplexity per byte at 80 %; bars count doublings over dense"
    )
    expect(text).to_contain_text("Highest: magnitude 60.0 (15 times dense).")
    assert all_drawn_anew(page, before)
    page.keyboard.press("Home")  # as on the axis
    expect(text).to_have_text(
        "Lowest at 2:4: sparsegpt 6.00 (1.50 times dense). Highest: magnitude 12.00 (3.00 times dense)."
    )
    assert page.locator("input").get_attribute("aria-valuetext") == "2:4"
    curves = page.locator(".curves canvas")
    box = curves.bounding_box()
    curves.click(position={"x": 0.9 * box["width"], "y": 40})  # near the last point
    expect(page.locator("output")).to_have_text("80 %")
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
    expect(page.locator(".bars figcaption")).to_contain_text("Perplexity per token at 60 %")
    expect(page.locator(".bars canvas")).to_have_attribute(
        "aria-label",
        "Perplexity at 60 %: magnitude 900.0 (36 times dense), sparsegpt 40.0 (1.60 times dense); dense 25.0",
    )
    check_page(page, page_errors)
