"""The committed stills are what the widgets of the notebooks draw."""

import io
import json

import numpy as np
import pytest
from PIL import Image
from widget_keys import controls

from pruning_lib.files import CHECKOUT
from pruning_lib.teaching.stills import FOLDER, STILLS, page_of, saved

BLOCK = 16  # pixels, 8 of the page: whatever smooths a letter's edge otherwise hardly shows in their mean
SAME = 0.3  # of full scale; other hinting of the letters gives 0.13, a slider moved by one step 0.6 and more
SLIDER = "input[type=range]:not(:disabled)"
ONE_OF_EACH = {(still.notebook, still.call): name for name, still in STILLS.items()}.values()


@pytest.fixture(scope="module")
def page(browser):
    """All stills' widgets on one page."""
    with page_of(browser, {name: saved(still) for name, still in STILLS.items()}) as page:
        yield page


def same(page, name: str) -> bool:
    """Whether the committed picture is as large as what is on the page, and all blocks have the same mean color."""
    pictures = [
        Image.open(source) for source in (FOLDER / f"{name}.png", io.BytesIO(page.locator(f"#{name}").screenshot()))
    ]
    if pictures[0].size != pictures[1].size:
        return False
    first, second = (np.asarray(picture.convert("RGB").reduce(BLOCK), dtype=float) for picture in pictures)
    return bool(np.abs(first - second).max() < 255 * SAME)


@pytest.mark.parametrize("name", STILLS)
def test_still_is_what_the_widget_draws(page, name):
    assert same(page, name), "run: make figures"
    assert (FOLDER / f"{name}.png").stat().st_size < 150_000


@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_a_control_that_is_not_where_it_was_is_seen(page, name):
    slider = page.locator(f"#{name}").locator(SLIDER).last
    if not slider.count():  # a widget of lists and buttons
        page.locator(f"#{name} select").first.press("ArrowDown")
        assert not same(page, name)
        return
    forth, back = ("Left", "Right") if slider.evaluate("(slider) => slider.value === slider.max") else ("Right", "Left")
    slider.press(f"Arrow{forth}")
    assert not same(page, name)
    slider.press(f"Arrow{back}")


def test_the_record_of_times_has_the_controls_of_today(page):
    """Of all widgets but the questions, which the notebooks make: each control that has something to choose."""
    shown = {
        (still.call.partition("(")[0], control.name)
        for name, still in STILLS.items()
        for control in controls(page.query_selector(f"#{name}"))
        if control.kind != "button" and not control.fixed()
    }
    runs = json.loads((CHECKOUT / "figures" / "measured" / "widgets.json").read_text(encoding="utf-8"))["runs"]
    rows = [row for run in runs for row in run["widgets"] if row["widget"] != "Predict"]
    assert {(row["widget"], row["control"]) for row in rows} == shown


def test_no_still_is_left_over():
    assert {path.stem for path in FOLDER.iterdir()} == set(STILLS)
