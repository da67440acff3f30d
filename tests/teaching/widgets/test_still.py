import pytest
from matplotlib import pyplot as plt
from matplotlib.colors import same_color

from pruning_lib.teaching import palette
from pruning_lib.teaching.widgets.still import COLORED, still_figure


def test_a_still_figure_has_no_ground_and_gray_text_and_is_not_left_open():
    with still_figure(10, 5) as figure:
        above, below = figure.subfigures(2, 1)
        panels = [above.subplots(), below.subplots()]
        panels[0].set_xlabel("x")
    assert all(part.patch.get_alpha() == 0 for part in (figure, above, below, *panels))
    assert same_color(panels[0].xaxis.label.get_color(), palette.MUTED)
    assert figure.get_size_inches().tolist() == [10, 5]
    assert not plt.get_fignums()


def test_colors_of_other_figures_stay_even_after_an_error():
    before = {name: plt.rcParams[name] for name in COLORED}
    with pytest.raises(ZeroDivisionError), still_figure(4, 3):
        1 / 0  # noqa: B018
    assert {name: plt.rcParams[name] for name in COLORED} == before and not plt.get_fignums()
