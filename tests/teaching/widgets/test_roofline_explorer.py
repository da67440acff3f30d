"""The roofline explorer: its bounds are the library's, JavaScript computes the same."""

import itertools
import json
from typing import NamedTuple

import pytest
from node import computed

from pruning_lib.acceleration import two_four
from pruning_lib.acceleration.two_four import Roofline
from pruning_lib.teaching.widgets.roofline_explorer import (
    DTYPES,
    INTENSITIES,
    LIMITS,
    START,
    RooflineExplorer,
    gpu_table,
)

SETTINGS = [
    {"gpu": gpu, "dtype": dtype, "width": width, "tokens": tokens}
    for gpu, dtype, width, tokens in itertools.product(two_four.GPUS, DTYPES, (256, 4096, 12288), (1, 153, 2048))
]


class Prediction(NamedTuple):
    """Both lower bounds of one layer, and what their ratio promises at most."""

    dense: Roofline
    sparse: Roofline

    @property
    def speed_up(self) -> float:
        return self.dense.seconds / self.sparse.seconds


def prediction(gpu: str, width: int, tokens: int, dtype: str) -> Prediction:
    """`two_four.roofline` of a width × width layer on `tokens`, dense and 2:4."""
    return Prediction(
        *(two_four.roofline(gpu, width, width, tokens, DTYPES[dtype], sparse) for sparse in (False, True))
    )


def test_limits_of_the_speed_up():
    decoding, prefill = (prediction("A100 80GB SXM", 12288, tokens, "float16") for tokens in (1, 4096))
    assert decoding.speed_up == pytest.approx(1 / 0.5625, rel=1e-3) and decoding.dense.bound == "memory"
    assert prefill.speed_up == pytest.approx(2) and prefill.sparse.bound == "compute"


@pytest.mark.parametrize("values", SETTINGS)
def test_speed_up_is_between_none_and_double(values):
    result = prediction(**values)
    for sparse, one in enumerate(result):
        width, tokens, dtype = values["width"], values["tokens"], DTYPES[values["dtype"]]
        assert one == two_four.roofline(values["gpu"], width, width, tokens, dtype, bool(sparse))
    assert 1 <= result.speed_up <= 2 + 1e-12


def test_the_axis_reaches_every_layer():
    ends = [
        one.intensity
        for gpu, dtype, width, tokens in itertools.product(two_four.GPUS, DTYPES, LIMITS["width"], LIMITS["tokens"])
        for one in prediction(gpu, width, tokens, dtype)
    ]
    assert INTENSITIES[0] < min(ends) and max(ends) < INTENSITIES[1]


def test_state_follows_the_traits():
    widget = RooflineExplorer()
    assert {name: getattr(widget, name) for name in START} == START
    widget.gpu, widget.tokens, widget.dtype, widget.width = "RTX 4090", 300, "int8", 1000
    assert (widget.gpu, widget.tokens, widget.dtype, widget.width) == ("RTX 4090", 300, "int8", 1000)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("gpu", "V100", "gpu is 'V100'"),
        ("dtype", "float64", "dtype is 'float64'"),
        ("width", 100, "width is 100, must be a whole number from 256 to 32768"),
        ("tokens", 0, "tokens is 0, must be a whole number from 1 to 16384"),
    ],
)
def test_bad_values_are_refused_at_the_start_and_later(name, value, message):
    with pytest.raises(ValueError, match=message):
        RooflineExplorer(**START | {name: value})
    widget = RooflineExplorer(**START)
    with pytest.raises(ValueError, match=message):
        setattr(widget, name, value)
    assert {key: getattr(widget, key) for key in START} == START


def test_table_has_every_gpu_and_dtype():
    sent = gpu_table()
    assert list(sent["gpus"]) == list(two_four.GPUS) and list(sent["dtypes"]) == list(DTYPES)
    assert all(list(gpu["peak"]) == list(DTYPES) for gpu in sent["gpus"].values())
    assert len(json.dumps(sent)) < 5000


def test_javascript_computes_the_same(tmp_path):
    expression, given = "given.settings.map((values) => prediction(given.table, values))", {"table": gpu_table()}
    answers = computed(tmp_path, "roofline_explorer", "prediction", expression, given | {"settings": SETTINGS})
    for values, found in zip(SETTINGS, answers, strict=True):
        expected = prediction(**values)
        assert found["speedUp"] == pytest.approx(expected.speed_up)
        for name, one in expected._asdict().items():
            assert found[name]["bound"] == one.bound, values
            for key in ("flop", "bytes", "seconds", "intensity"):
                assert found[name][key] == pytest.approx(getattr(one, key)), values
