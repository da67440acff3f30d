"""Predict, then see, on a page without a kernel: nothing is told before a guess was made."""

import pytest
from widget_keys import check_tab, check_words
from widget_page import check_page, show

from pruning_lib.teaching.widgets.predict import Predict

ENDS = """(scale) => ["::before", "::after"].map((end) => {
  const { content } = getComputedStyle(scale, end);
  return content.startsWith("attr(") ? JSON.stringify(scale.getAttribute(content.slice(5, -1))) : content;
})"""
NUMBER = Predict("How many < all?", 92.27, "On <b>MNIST</b>.", limits=(50, 99))
CHOICE = Predict("Which?", "B & C", "Of five.", choices=["A", "B & C", "<i>D</i>"])


@pytest.mark.parametrize(("widget", "answer"), [(NUMBER, "92.3"), (CHOICE, "Measured")], ids=["number", "choice"])
def test_no_answer_before_a_guess(page, page_errors, widget, answer):
    show(page, widget)
    assert answer not in page.locator(".predict").evaluate("(root) => root.innerText.replace('Show what was', '')")
    assert page.locator("button").is_disabled() and page.locator("[role=status]").inner_text() == "Guess first."
    check_words(root := page.query_selector(".predict"))
    check_tab(page, root)
    assert page_errors == []


def test_a_number(page, page_errors):
    from playwright.sync_api import expect

    show(page, NUMBER)
    text, button = page.locator("[role=status]"), page.locator("button")
    assert page.locator(".scale").evaluate(ENDS) == ['"50"', '"99 %"']  # before anything is said
    page.keyboard.press("Tab")
    page.keyboard.press("End")
    expect(text).to_have_text("You say: 99 %.")
    assert page.locator("input").get_attribute("aria-valuetext") == "99 %"
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(text).to_have_text("Measured: 92.3 %. Your guess is 6.7 too high. On <b>MNIST</b>.")
    assert page.locator(".scale i").all_inner_texts() == ["you: 99 %", "measured: 92.3 %"]
    assert page.locator("input").is_disabled()
    check_page(page, page_errors)
    button.press("Enter")
    expect(text).to_have_text("Guess first.")
    assert page.locator("input").is_enabled() and button.is_disabled()


def test_what_was_not_measured_has_its_own_word_and_a_guess_may_be_right(page, page_errors):
    from playwright.sync_api import expect

    show(
        page,
        Predict("How fast?", 1.23, "At best.", limits=(0.5, 2.5), step=0.01, unit="×", found="published", guess=1.23),
    )
    expect(page.locator("button")).to_have_text("Show what was published")
    page.locator("button").press("Enter")
    expect(page.locator("[role=status]")).to_have_text("Published: 1.23 ×. Right. At best.")
    assert page.locator(".scale i").all_inner_texts() == ["you: 1.23 ×", "published: 1.23 ×"]
    page.locator("button").press("Enter")
    show(page, Predict("Which?", "B", choices=["A", "B"], guess=1, shown=True))
    expect(page.locator("[role=status]")).to_have_text("Measured: B. Right.")
    assert page_errors == []


def test_the_middle_of_the_scale_can_be_guessed(page, page_errors):
    from playwright.sync_api import expect

    show(page, Predict("How many?", 92.27, "", limits=(0, 100)))
    text, guess = page.locator("[role=status]"), page.locator("input")
    guess.press("Enter")
    expect(text).to_have_text("You say: 50 %.")
    page.locator("button").press("Enter")
    page.locator("button").press("Enter")
    expect(text).to_have_text("Guess first.")
    guess.click()  # in its middle, on the thumb
    expect(text).to_have_text("You say: 50 %.")
    assert page_errors == []


def test_a_choice(page, page_errors):
    from playwright.sync_api import expect

    show(page, CHOICE)
    assert page.locator("label").all_inner_texts() == ["A", "B & C", "<i>D</i>"]
    page.locator("input").first.focus()
    page.keyboard.press("Space")
    expect(page.locator("[role=status]")).to_have_text("You say: A.")
    page.locator("button").press("Enter")
    expect(page.locator("[role=status]")).to_have_text("Measured: B & C. Of five.")
    assert page.locator(".measured").all_inner_texts() == ["B & C"]
    check_page(page, page_errors)
    assert page.locator("input:checked").count() == 1
