"""Which stills there are, how notebooks show them and from which state they are taken."""

import re

import nbformat
import pytest
from PIL import Image
from widgets_used import NOTEBOOKS, used

from pruning_lib.teaching import stills
from pruning_lib.teaching.stills import FOLDER, SCALE, STILLS, WIDTH, Still, saved, still


def cells(notebook: str) -> list[tuple[int, nbformat.NotebookNode, str, str]]:
    """Each cell that shows a still, with its index, the still's name and its alternative text."""
    (path,) = (path for path in NOTEBOOKS if path.stem == notebook)
    found = []
    for index, cell in enumerate(nbformat.read(path, as_version=4).cells):
        if cell.cell_type == "code" and (call := re.search(r'^still\("(\w+)",((?:\s*"[^"]*")+)\)', cell.source, re.M)):
            found.append((index, cell, call[1], "".join(re.findall(r'"([^"]*)"', call[2]))))
    return found


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_widget_of_a_notebook_has_a_still_that_the_notebook_shows(path):
    shown = [name for _, _, name, _ in cells(path.stem)]
    assert sorted(shown) == sorted(name for name, one in STILLS.items() if one.notebook == path.stem)
    calls = {one.call for one in STILLS.values() if one.notebook == path.stem}
    assert {call.split("(")[0] for call in calls} == used(path) - {"Predict"}  # which is words, and its code says them
    code = [cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    assert all(sum(call in source for source in code) == 1 for call in calls)  # so that it is found


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_committed_notebooks_hold_the_committed_pictures(path):
    for _, cell, name, alt in cells(path.stem):
        (output,) = cell.outputs
        assert output.data["image/png"].split() == still(name, alt)._repr_mimebundle_()[0]["image/png"].split(), name
        assert output.metadata["image/png"]["alt"] == alt and len(alt) > 60


@pytest.mark.parametrize("name", STILLS)
def test_picture_is_sharp_opaque_and_as_wide_as_a_page(name):
    with Image.open(FOLDER / f"{name}.png") as picture:
        assert picture.width == SCALE * WIDTH and picture.convert("RGB").getpixel((0, 0)) == (255, 255, 255)
        assert "transparency" not in picture.info and picture.mode in ("P", "RGB")


def test_unknown_still_is_refused():
    with pytest.raises(ValueError, match="still is 'suregry', must be one of"):
        still("suregry", "two weights")


def test_state_is_that_of_the_still_and_of_no_other_afterwards():
    usual = {"w1": 1.2, "w2": 0.8, "ratio": 0.25, "correlation": 0.8}
    assert usual.items() <= saved(STILLS["surgery"])["state"].items()
    other = saved(Still("04_obs", "Surgery(", {"w1": -1.0, "correlation": 0.0}))["state"]
    assert {name: other[name] for name in usual} == usual | {"w1": -1.0, "correlation": 0.0}
    assert usual.items() <= saved(STILLS["surgery"])["state"].items()
    with pytest.raises(ValueError, match="w1 is 5"):
        saved(Still("04_obs", "Surgery(", {"w1": 5.0}))
    assert usual.items() <= saved(STILLS["surgery"])["state"].items()


def test_the_widget_is_that_of_the_notebook():
    stepper = stills.widget_of("05_sparsegpt", STILLS["sparsegpt_stepper"].call)
    assert (stepper.form, stepper.step, len(stepper.weight)) == ("synchronized", 3, 6)
