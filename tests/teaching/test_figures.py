import pytest

from pruning_lib.files import CHECKOUT
from pruning_lib.teaching.figures import FIGURES, draw_all


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    folder = tmp_path_factory.mktemp("figures")
    return {path.name: path for path in draw_all(folder)}


def test_every_figure_in_both_formats(drawn):
    assert set(drawn) == {f"{name}{suffix}" for name in FIGURES for suffix in (".svg", ".png")}


@pytest.mark.parametrize("name", FIGURES)
def test_committed_figure_is_what_the_code_draws(drawn, name):
    committed = CHECKOUT / "figures" / f"{name}.svg"
    assert committed.read_text(encoding="utf-8") == drawn[f"{name}.svg"].read_text(encoding="utf-8"), (
        "run: make figures"
    )


def test_scheme_names_every_method(drawn):
    from pruning_lib.taxonomy import METHODS
    from pruning_lib.teaching.figures import scheme

    texts = {text.get_text() for text in scheme().axes[0].texts}
    assert {method.name for method in METHODS} <= texts
