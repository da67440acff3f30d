"""The decision helper in a browser: keyboard, texts, pictures, themes."""

from pruning_lib.teaching.widgets.decision_helper import DecisionHelper
from tests.comparison_runs import made_up, recorded
from tests.decision_rules import advise
from tests.widget_page import PIXELS, all_drawn_anew, check_height, check_page, check_texts, show

EVIDENCE = made_up()
LABELS = {method["name"]: method["label"] for method in EVIDENCE["methods"]}


def lists(page) -> tuple[list[str], list[str]]:
    return tuple(
        [text.removeprefix("≈ ").split(":")[0] for text in page.locator(f"{kind} li").all_inner_texts()]
        for kind in ("ol", "ul")
    )


def expected(**chosen) -> tuple[list[str], list[str]]:
    """Names as the page has them before a colon, with the sparsity that each stands at if any is asked for."""
    found = advise(EVIDENCE, **chosen)

    def name(advice) -> str:
        anywhere = advice.place != "out" and "sparsity" not in chosen
        points = next(method["points"] for method in EVIDENCE["methods"] if method["name"] == advice.name)
        there = next((point["name"] for point in points if point["sparsity"] == advice.sparsity), "")
        return (there if anywhere else LABELS[advice.name]).split(":")[0]

    names = [(name(advice), advice.place == "out") for advice in found]
    return [name for name, out in names if not out], [name for name, out in names if out]


def test_helper(page, page_errors):
    from playwright.sync_api import expect

    show(page, DecisionHelper(EVIDENCE, loss=5.0))
    text = page.locator("[role=status]")
    expect(text).to_contain_text("First of all, each at its best sparsity: filters and neurons at ")
    expect(text).to_contain_text("× as fast (measured); dense ")
    assert page.locator(".sparsity").get_attribute("aria-valuetext") == "any sparsity"
    assert lists(page) == expected(loss=5.0)

    before = page.evaluate(PIXELS)
    page.locator(".sparsity").focus()
    page.keyboard.press("End")
    page.keyboard.press("ArrowLeft")
    expect(page.locator("output")).to_have_text("98 %")
    assert page.locator(".sparsity").get_attribute("aria-valuetext") == "98 %"
    assert all_drawn_anew(page, before)
    assert lists(page) == expected(sparsity=0.98, loss=5.0)
    expect(text).to_contain_text("Nothing at 98 % stays within 5 points of dense. The closest: ")
    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")
    page.locator(".hardware").select_option("ampere")
    assert lists(page) == expected(sparsity=0.5, hardware="ampere", loss=5.0)
    expect(page.locator("ol")).to_contain_text("1.23 × as fast (published)")
    page.locator(".budget").select_option("full")
    page.locator(".data").select_option("few")
    expect(text).to_contain_text("Without the training set nothing can be trained")
    assert lists(page) == expected(sparsity=0.5, hardware="ampere", budget="full", data="few", loss=5.0)
    page.locator(".goal").select_option("accuracy")
    expect(page.locator("figure.gain")).to_be_hidden()
    page.locator(".goal").select_option("bytes")
    expect(page.locator("figure.gain figcaption")).to_contain_text("× smaller")
    page.locator(".loss").select_option("2")
    assert lists(page) == expected(sparsity=0.5, hardware="ampere", budget="full", data="few", goal="bytes", loss=2.0)
    assert all(canvas.get_attribute("aria-label") for canvas in page.locator("canvas").all())
    check_page(page, page_errors)


def test_as_in_the_notebook_it_fits_a_screen(page, page_errors):
    show(page, DecisionHelper(recorded()))
    check_texts(page)
    check_height(page)
    assert page_errors == []


def test_what_is_not_told_apart_and_a_card_of_one_page(page, page_errors):
    from playwright.sync_api import expect

    show(page, DecisionHelper(recorded(), budget="full", goal="accuracy", sparsity=0.98))
    expect(page.locator("[role=status]")).to_contain_text("can't tell these apart from it: iterative magnitude.")
    expect(page.locator("ol li").nth(1)).to_contain_text("≈ iterative magnitude: ")
    expect(page.locator("ol")).to_contain_text("; may lose more than 1 point")
    button = page.get_by_role("button", name="Print a card")
    button.press("Enter")
    card = page.frame_locator("iframe")
    expect(card.locator(".words")).to_have_text(page.locator("[role=status]").inner_text())
    expect(card.locator("p").first).to_contain_text("a CPU; time to train from scratch; the training set; the highest")
    assert card.locator("ol li").count() == 9 and page.locator(".lists ol li").count() > 9
    expect(card.locator("ol li").last).to_contain_text(" more")
    page.locator(".sparsity").press("Home")
    button.press("Enter")
    expect(card.locator(".words")).to_contain_text("First of all, each at its best sparsity")
    assert page.locator("iframe").count() == 1
    alone = page.context.new_page()
    alone.set_content(page.locator("iframe").get_attribute("srcdoc"))
    pdf = alone.pdf(prefer_css_page_size=True)
    assert pdf.count(b"/Type /Page\n") == 1
    assert page_errors == []
