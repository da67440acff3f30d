"""What all widgets share: script, styles, colors, and that they refuse what they do not know."""

import json
import math

import pytest
from widgets_used import every

from pruning_lib.teaching import palette
from pruning_lib.teaching.widgets.javascript import HERE, check_range
from pruning_lib.teaching.widgets.surgery import Surgery


@pytest.mark.parametrize("kind", every().values(), ids=lambda kind: kind.__name__)
def test_script_and_styles_are_those_of_the_module(kind):
    name = kind.__module__.rpartition(".")[-1]
    shared, own = (
        (HERE / file).read_text() if (HERE / file).exists() else "" for file in ("charts.css", f"{name}.css")
    )
    assert kind._css == shared + own
    assert kind._esm.endswith((HERE / f"{name}.js").read_text()[-500:])
    assert kind._esm.count("export default { render }") == 1


def test_every_instance_has_the_script_of_its_class():
    widgets = Surgery(), Surgery(w1=0.5)
    assert all(widget._esm == Surgery._esm and widget.get_state("_esm") == {"_esm": Surgery._esm} for widget in widgets)


def test_an_unknown_argument_is_refused():
    with pytest.raises(TypeError, match="Surgery has no w3, w4"):
        Surgery(w1=0.5, w4=1.0, w3=2.0)


def test_colors_of_the_page_are_those_of_the_figures():
    first, _, _ = Surgery._esm.partition("\n")
    colors = json.loads(first.removeprefix("const palette = ").removesuffix(";"))
    assert colors["kept"] == palette.KEPT and colors["violet"] == palette.SERIES[3]
    assert set(colors) == {"kept", "pruned", "updated", "accent", "good", "muted", "violet"}


@pytest.mark.parametrize("value", [-0.1, 2.5, math.nan, math.inf])
def test_what_is_out_of_range_is_refused_with_the_range(value):
    assert check_range("t", 2, 0, 2) == 2
    with pytest.raises(ValueError, match=f"t is {value}, must be from 0 to 2"):
        check_range("t", value, 0, 2)
