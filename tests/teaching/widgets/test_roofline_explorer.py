"""The roofline explorer: its bounds are the library's, its figure shows them, JavaScript computes the same."""

import itertools
import json
import shutil
import subprocess

import pytest

from pruning_lib.acceleration import two_four
from pruning_lib.teaching.widgets.javascript import bundle
from pruning_lib.teaching.widgets.roofline_explorer import (
    DTYPES,
    INTENSITIES,
    LIMITS,
    START,
    RooflineExplorer,
    prediction,
    static_figure,
    table,
)

SETTINGS = [
    {"gpu": gpu, "dtype": dtype, "width": width, "tokens": tokens}
    for gpu, dtype, width, tokens in itertools.product(two_four.GPUS, DTYPES, (256, 4096, 12288), (1, 153, 2048))
]


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
    assert widget.prediction() == prediction(**START)
    widget.gpu, widget.tokens, widget.dtype, widget.width = "RTX 4090", 300, "int8", 1000
    assert widget.prediction() == prediction("RTX 4090", 1000, 300, "int8")


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
    for call in (RooflineExplorer, static_figure, prediction):
        with pytest.raises(ValueError, match=message):
            call(**START | {name: value})
    widget = RooflineExplorer(**START)
    with pytest.raises(ValueError, match=message):
        setattr(widget, name, value)
    assert {key: getattr(widget, key) for key in START} == START


@pytest.mark.parametrize("values", SETTINGS[::17])
def test_figure_shows_the_prediction(values):
    result = prediction(**values)
    roofs, gain = static_figure(**values).axes
    points = [line.get_xydata()[0] for line in roofs.lines if len(line.get_xydata()) == 1]
    expected = [(one.intensity, one.flop / one.seconds / 1e12) for one in result]
    assert [tuple(point) for point in points] == [pytest.approx(pair) for pair in expected]
    (here,) = (line for line in gain.lines if str(line.get_label()).startswith(f"{values['tokens']} tokens"))
    assert here.get_xydata()[0] == pytest.approx([values["tokens"], result.speed_up])


def test_table_has_every_gpu_and_dtype():
    sent = table()
    assert list(sent["gpus"]) == list(two_four.GPUS) and list(sent["dtypes"]) == list(DTYPES)
    assert all(list(gpu["peak"]) == list(DTYPES) for gpu in sent["gpus"].values())
    assert len(json.dumps(sent)) < 5000


NODE = """
import { readFileSync } from "node:fs";
import { prediction } from "./roofline_explorer.mjs";
const { table, settings } = JSON.parse(readFileSync(0));
console.log(JSON.stringify(settings.map((values) => prediction(table, values))));
"""


def test_javascript_computes_the_same(tmp_path):
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed: the browser test compares the texts only")
    (tmp_path / "roofline_explorer.mjs").write_text(bundle("roofline_explorer.js"), encoding="utf-8")
    (tmp_path / "compare.mjs").write_text(NODE, encoding="utf-8")
    command, given = [node, "compare.mjs"], json.dumps({"table": table(), "settings": SETTINGS})
    answered = subprocess.run(
        command, input=given, cwd=tmp_path, capture_output=True, text=True, check=True, timeout=60
    )
    for values, found in zip(SETTINGS, json.loads(answered.stdout), strict=True):
        expected = prediction(**values)
        assert found["speedUp"] == pytest.approx(expected.speed_up)
        for name, one in expected._asdict().items():
            assert found[name]["bound"] == one.bound, values
            for key in ("flop", "bytes", "seconds", "intensity"):
                assert found[name][key] == pytest.approx(getattr(one, key)), values
