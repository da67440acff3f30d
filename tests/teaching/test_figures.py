import itertools
import re

import matplotlib.image
import numpy as np
import pytest
import torch
from matplotlib.patches import FancyBboxPatch
from matplotlib.text import Text

from pruning_lib.after_training import reconstruction, sparsegpt
from pruning_lib.comparison.advice import advise
from pruning_lib.files import CHECKOUT
from pruning_lib.reproduction import measured
from pruning_lib.taxonomy import METHODS
from pruning_lib.teaching import palette
from pruning_lib.teaching.figures import FIGURES, PRINTED, draw_all
from pruning_lib.teaching.figures.hessian_synchronization import COLUMNS, ROWS, shared_inverses, small_layer
from pruning_lib.teaching.figures.pipelines import SIZE, SPARSITY, STAGES
from pruning_lib.teaching.figures.sparsegpt_algorithm import BLOCK, chosen_in_block, lazy, within
from pruning_lib.teaching.figures.speeds import FORMS
from pruning_lib.teaching.figures.style import SYMBOLS

NUMBER = re.compile(r"-?\d+\.?\d*(?:e-?\d+)?")
PAGE = 800  # pixels that a page leaves for a picture


@pytest.fixture(scope="module")
def made():
    return {name: draw() for name, draw in FIGURES.items()}


@pytest.fixture(scope="module")
def drawn(made, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        for name, figure in made.items():
            patch.setitem(FIGURES, name, lambda figure=figure: figure)  # each is drawn once only
        return {path.name: path for path in draw_all(tmp_path_factory.mktemp("figures"))}


def texts(figure) -> list[Text]:
    """What can be read: without tick labels beyond their axis."""
    found = [text for text in figure.findobj(Text) if text.get_visible() and text.get_text().strip()]
    ticks = {t for ax in figure.axes for axis in (ax.xaxis, ax.yaxis) for t in axis.get_ticklabels(which="both")}
    shown = {
        label
        for ax in figure.axes
        if ax.axison
        for axis in (ax.xaxis, ax.yaxis)
        for tick in axis.get_major_ticks()
        if axis.get_view_interval().min() <= tick.get_loc() <= axis.get_view_interval().max()
        for label in (tick.label1, tick.label2)
    }
    return [text for text in found if text not in ticks or text in shown]


def parts(svg: str) -> tuple[str, np.ndarray]:
    """A drawing without its numbers, and the numbers. Names that hash the numbers are counted instead."""
    names: dict[str, str] = {}
    svg = re.sub(r"\b[a-zA-Z][0-9a-f]{10}\b", lambda found: names.setdefault(found[0], f"name{len(names)}"), svg)
    return NUMBER.sub("#", svg), np.array([float(number) for number in NUMBER.findall(svg)])


def test_every_figure_in_both_formats(drawn):
    expected = {f"{name}{suffix}" for name in FIGURES for suffix in (".svg", ".png")}
    assert set(drawn) == expected | {f"{name}.pdf" for name in PRINTED}
    for name in PRINTED:  # one page each
        assert len(re.findall(rb"/Type /Page\b", drawn[f"{name}.pdf"].read_bytes())) == 1


@pytest.mark.parametrize("name", FIGURES)
def test_committed_svg_is_what_the_code_draws(drawn, name):
    # up to a hundredth of a point: another processor may round the last digit of a curve otherwise
    committed, made = (
        parts(path.read_text(encoding="utf-8")) for path in (CHECKOUT / "figures" / f"{name}.svg", drawn[f"{name}.svg"])
    )
    assert committed[0] == made[0], "run: make figures"
    np.testing.assert_allclose(committed[1], made[1], atol=0.01, rtol=0, err_msg="run: make figures")


@pytest.mark.parametrize("name", FIGURES)
def test_committed_png_is_what_the_code_draws(drawn, name):
    committed, made = (
        matplotlib.image.imread(path) for path in (CHECKOUT / "figures" / f"{name}.png", drawn[f"{name}.png"])
    )
    assert committed.shape == made.shape, "run: make figures"
    assert (abs(committed - made).max(axis=-1) > 0.1).mean() < 1e-4, "run: make figures"


def test_comparison_sees_one_square_change_color(drawn):
    svg = drawn["structures.svg"].read_text(encoding="utf-8")
    lower = palette.KEPT.lower()
    assert lower in svg
    assert parts(svg)[0] != parts(svg.replace(lower, "none", 1))[0]


@pytest.mark.parametrize("name", FIGURES)
def test_texts_are_8_points_on_a_page_and_apart(made, name):
    figure = made[name]
    figure.draw_without_rendering()
    width = figure.get_tightbbox().width + 0.24  # inches, with the margin
    found = texts(figure)
    for text in found if name != "poster" else ():  # which is for a wall
        assert text.get_fontsize() * PAGE / (96 * width) >= 8, text.get_text()
    boxes = [text.get_window_extent() for text in found]
    for i, one in enumerate(boxes):
        for j in range(i):
            wide = min(one.x1, boxes[j].x1) - max(one.x0, boxes[j].x0)
            high = min(one.y1, boxes[j].y1) - max(one.y0, boxes[j].y0)
            assert wide < 1 or high < 1, (found[i].get_text(), found[j].get_text())


@pytest.mark.parametrize("name", FIGURES)
def test_background_is_opaque(drawn, name):
    image = matplotlib.image.imread(drawn[f"{name}.png"])
    assert image.shape[-1] == 3 or image[..., 3].min() == 1  # so that dark text never meets a dark page


def test_symbols_differ_in_more_than_color():
    shapes = {
        (style["edgecolor"] != "none", style.get("linestyle"), style["facecolor"] == "white", style.get("linewidth"))
        for name, style in SYMBOLS.items()
        if name != "updated"  # has a dot
    }
    assert len(shapes) == len(SYMBOLS) - 1


@pytest.mark.parametrize("name", ["scheme", "poster"])
def test_every_method_is_named_inside_its_box(made, name):
    (ax, *_) = made[name].axes
    assert {method.name for method in METHODS} <= {text.get_text() for text in ax.texts}
    made[name].draw_without_rendering()
    boxes = [patch.get_window_extent() for patch in ax.patches if isinstance(patch, FancyBboxPatch)]
    for text in ax.texts:
        x, y = (text.get_window_extent().x0, text.get_window_extent().y0)
        for box in boxes:
            if box.contains(x, y):
                assert box.contains(text.get_window_extent().x1, text.get_window_extent().y1), text.get_text()


def test_card_shows_the_differences_of_the_record(made):
    record, timed, language = (
        measured.read_record(f"{name}.json") for name in ("07_comparison", "07_latency", "05_language")
    )
    runs = [run for run in record["runs"] if "failed" not in run]
    (ax,) = made["decision_card"].axes
    shown = " ".join(text.get_text() for text in ax.texts)
    points = [line for line in ax.lines if line.get_marker() == "o"]
    found = [contrast for advice in advise(timed, language) for contrast in advice.contrasts]
    assert all(contrast.label in shown for contrast in found)
    inside = [d for d in (contrast.difference(runs) for contrast in found) if d.low <= 6]
    assert len(points) == len(inside) == len(found) - 1 and "+84 points" in shown
    empty = [line.get_markerfacecolor() == "white" for line in points]
    assert empty == [d.verdict == "open" for d in inside]
    places = [float(line.get_xdata()[0]) for line in points]
    slope = (places[1] - places[0]) / (inside[1].mean - inside[0].mean)
    expected = [places[0] + slope * (d.mean - inside[0].mean) for d in inside]
    assert slope > 0 and places == pytest.approx(expected)


@pytest.mark.parametrize("time", STAGES)
def test_pipelines_end_at_the_same_sparsity(time):
    _, keep, _ = STAGES[time]()[-1]
    assert int(keep.sum()) == round(SIZE**2 * (1 - SPARSITY))


def test_pipelines_masks_are_nested_and_depend_on_the_time():
    during = [keep for _, keep, _ in STAGES["during"]()]
    for earlier, later in itertools.pairwise(during):
        assert not (later & ~earlier).any()
    assert not torch.equal(STAGES["before"]()[-1][1], STAGES["after"]()[-1][1])


def test_shared_inverses_are_those_of_the_steps():
    weight, hessian = small_layer(4, ROWS, COLUMNS)
    states = sparsegpt.steps(weight, hessian, 0.5, block=COLUMNS, damping=0.0, form="synchronized")
    for j, (state, inverse) in enumerate(zip(states, shared_inverses(hessian), strict=True)):
        torch.testing.assert_close(state.inverse_rows[0, j:], inverse[j, j:])
        assert inverse[:j].isnan().all()


def test_small_layer_has_unlike_masks_and_an_error():
    weight, hessian = small_layer(4, ROWS, COLUMNS)
    pruned, keep = sparsegpt.prune_weight(weight, hessian, 0.5, damping=0.0)
    assert len({tuple(row.tolist()) for row in keep}) == ROWS
    assert 0 < reconstruction.error(weight, pruned, hessian) < 1


def test_moments_of_the_algorithm_update_what_they_say():
    weight, hessian = small_layer(3, 6, 12)
    states = list(sparsegpt.steps(weight, hessian, 0.5, block=BLOCK, damping=0.0))
    first = chosen_in_block("", states, 0)
    assert int(first.planned[:, :BLOCK].sum()) == 6 * BLOCK // 2 and not first.planned[:, BLOCK:].any()
    inside = within("", states, 1)
    assert inside.updated.any() and not inside.updated[:, BLOCK:].any() and not inside.updated[:, :2].any()
    after = lazy("", states, 0)
    rows = ~after.keep[:, :BLOCK].all(dim=1)
    assert torch.equal(after.updated, rows[:, None] & (torch.arange(12) >= BLOCK))


def test_speeds_are_those_of_the_record(made):
    record = measured.read_record("06_two_four.paper.json")
    found = {entry["name"]: entry["value"] for entry in record["headline"]}
    (ax,) = made["speeds"].axes
    assert [bar.get_width() for bar in ax.patches] == [pytest.approx(1 / found[f"speed, {form}"]) for form in FORMS]
    readme = (CHECKOUT / "README.md").read_text(encoding="utf-8")
    shown = re.search(r"!\[Time of one batch, dense = 1:(.*)\]\(figures/speeds.svg\)", readme)[1]
    assert [text.get_text() for text in ax.texts] == re.findall(r"\d\.\d\d", shown)
