"""The README's animated capture is what the widgets of the notebooks draw."""

import numpy as np
import pytest
from PIL import Image, ImageSequence

from pruning_lib.files import CHECKOUT
from pruning_lib.teaching import capture
from pruning_lib.teaching.stills import page_of, saved

PATH = CHECKOUT / "figures" / "capture.webp"
BLOCK = 20  # pixels; the mean of so many hardly changes with what WebP leaves out
SAME = 0.1  # of full scale


@pytest.fixture(scope="module")
def page(browser):
    models = {name: saved(widget) for name, widget in capture.WIDGETS.items()}
    with page_of(browser, models) as page:
        yield page


def difference(first, second):
    one, other = (np.asarray(picture.convert("RGB").reduce(BLOCK), dtype=float) for picture in (first, second))
    return np.abs(one - other).max() / 255


def test_is_small_and_plays_on_and_on():
    assert PATH.stat().st_size < 3_000_000
    with Image.open(PATH) as picture:
        assert picture.info["loop"] == 0
        frames = [(frame.copy(), frame.info["duration"]) for frame in ImageSequence.Iterator(picture)]
    assert [stands for _, stands in frames] == [step.stands for step in capture.steps() if step.stands]
    assert 10_000 < sum(stands for _, stands in frames) < 25_000  # ms


def test_last_picture_of_each_scene_is_what_the_widget_draws(page):
    seen = [step for step in capture.steps() if step.stands]
    longest = [index for index, step in enumerate(seen) if step.stands >= 2000]
    assert len(longest) == 3
    with Image.open(PATH) as picture:
        frames = [frame.copy() for frame in ImageSequence.Iterator(picture)]
    drawn = {}
    for number, step in enumerate(capture.steps()):
        if step.control != ".written" or step.stands >= 2000 or not step.stands:
            drawn[number] = capture.shot(page, step)
    last = [drawn[number] for number, step in enumerate(capture.steps()) if step.stands >= 2000]
    for index, picture in zip(longest, last, strict=True):
        assert difference(frames[index], picture) < SAME, "run: make figures"
    assert min(difference(frames[i], frames[j]) for i in longest for j in longest if i < j) > SAME


def test_a_control_that_cannot_be_so_is_no_picture(page):
    from playwright.sync_api import Error

    with pytest.raises(Error, match="method can't be wanda"):
        capture.shot(page, capture.Step("mending", ".method", "wanda", ""))
