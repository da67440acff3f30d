"""The committed stills are what the widgets of the notebooks draw."""

import io

import numpy as np
import pytest
from PIL import Image

from pruning_lib.teaching.stills import FOLDER, STILLS, picture, saved, shown

BLOCK = 16  # pixels, 8 of the page: whatever smooths a letter's edge otherwise hardly shows in their mean
SAME = 0.3  # of full scale; other hinting of the letters gives 0.13, a slider moved by one step 0.6 and more
SLIDER = "input[type=range]:not(:disabled)"


@pytest.fixture(scope="module")
def page(browser):
    """All stills' widgets on one page."""
    with shown(browser, {name: saved(still) for name, still in STILLS.items()}) as page:
        yield page


def means(png: bytes) -> np.ndarray:
    """Color of each block, 0 to 1."""
    pixels = np.asarray(Image.open(io.BytesIO(png)).convert("RGB")) / 255
    high, wide = pixels.shape[0] // BLOCK, pixels.shape[1] // BLOCK
    return pixels[: high * BLOCK, : wide * BLOCK].reshape(high, BLOCK, wide, BLOCK, 3).mean(axis=(1, 3))


def same(one: bytes, other: bytes) -> bool:
    first, second = means(one), means(other)
    return first.shape == second.shape and bool(np.abs(first - second).max() < SAME)


@pytest.mark.parametrize("name", STILLS)
def test_still_is_what_the_widget_draws(page, name):
    committed = (FOLDER / f"{name}.png").read_bytes()
    assert same(committed, picture(page, name)), "run: make figures"
    assert len(committed) < 150_000
    # and a slider that is not where it was would be seen
    slider = page.locator(f"#{name}").locator(SLIDER).last
    slider.press("ArrowLeft" if slider.evaluate("(slider) => slider.value === slider.max") else "ArrowRight")
    assert not same(committed, picture(page, name))


def test_no_still_is_left_over():
    assert {path.stem for path in FOLDER.iterdir()} == set(STILLS)
