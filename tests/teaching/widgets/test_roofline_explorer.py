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
    card_of,
    gpu_table,
)

SETTINGS = [
    {"gpu": gpu, "dtype": dtype, "width": width, "tokens": tokens, "share": 0.6}
    for gpu, dtype, width, tokens in itertools.product(two_four.GPUS, DTYPES, (256, 4096, 12288), (1, 153, 2048))
]


class Prediction(NamedTuple):
    """Both lower bounds of one layer, and what their ratio promises at most."""

    dense: Roofline
    sparse: Roofline

    @property
    def speed_up(self) -> float:
        return self.dense.seconds / self.sparse.seconds


def prediction(gpu: str, width: int, tokens: int, dtype: str, share: float = 0.6) -> Prediction:
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
    widget.share = 1
    assert widget.share == 1 and widget.runs == []


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("gpu", "V100", "gpu is 'V100'"),
        ("dtype", "float64", "dtype is 'float64'"),
        ("width", 100, "width is 100, must be a whole number from 256 to 32768"),
        ("share", 1.1, "share is 1.1, must be from 0 to 1"),
        ("share", float("nan"), "share is nan"),
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
        assert found["whole"] == pytest.approx(1 / (0.4 + 0.6 / expected.speed_up))
        for name, one in expected._asdict().items():
            assert found[name]["bound"] == one.bound, values
            for key in ("flop", "bytes", "seconds", "intensity"):
                assert found[name][key] == pytest.approx(getattr(one, key)), values


def test_amdahl_at_its_ends_and_by_counting(tmp_path):
    given = [[0, 2], [1, 2], [0.5, 1], [0.8, 1.6]]
    found = computed(tmp_path, "roofline_explorer", "amdahl", "given.map((one) => amdahl(...one))", given)
    assert found[:3] == [1, 2, 1]
    assert found[3] == pytest.approx(100 / (20 + 80 / 1.6))  # 80 of 100 seconds become 50


def a_record(device: str) -> dict:
    """As benchmarks/two_four_gpu.py writes it, with made-up times."""
    product = {"shape": "x", "dtype": "float16", "tokens": 64, "rows": 1024, "columns": 4096, "algorithm": 0}
    times = {"dense_call": 4e-5, "sparse_call": 3e-5, "dense_graph": 2e-5, "sparse_graph": 1e-5}
    runs = [product | times, product | times | {"tokens": 1, "dense_graph": None, "sparse_graph": None}]
    runs += [product | {"failed": "out of memory"}, {"shape": "model", "dtype": "float16", "tokens": 2048} | times]
    return {"gpu": {"name": device}, "runs": runs}


def test_recorded_runs_are_points_under_the_roofs(tmp_path):
    records = [a_record("NVIDIA A100-SXM4-80GB"), a_record("NVIDIA V100"), {"runs": [{"rows": 3}]}]
    runs = RooflineExplorer(records).runs
    assert [(run["gpu"], run["tokens"], run["dense"], run["sparse"]) for run in runs] == [
        ("A100 80GB SXM", 64, 2e-5, 1e-5),
        ("A100 80GB SXM", 1, 4e-5, 3e-5),
        (None, 64, 2e-5, 1e-5),
        (None, 1, 4e-5, 3e-5),
    ]
    given = {"table": gpu_table(), "runs": runs}
    expression = (
        '["A100 80GB SXM", "H200 SXM"].map((gpu) => measured(given.table, given.runs, { gpu, dtype: "float16" }))'
    )
    here, elsewhere = computed(tmp_path, "roofline_explorer", "measured", expression, given)
    assert elsewhere == [] and len(here) == 2
    for run, point in zip(runs[:2], here, strict=True):
        for name in ("dense", "sparse"):
            one = two_four.roofline(
                "A100 80GB SXM", 1024, 4096, run["tokens"], DTYPES["float16"], sparse=name == "sparse"
            )
            assert point[name] == pytest.approx([one.intensity, one.flop / run[name] / 1e12])
        assert point["gain"] == pytest.approx([run["tokens"], run["dense"] / run["sparse"]])


@pytest.mark.parametrize(
    ("device", "card"),
    [
        ("NVIDIA A100-SXM4-40GB", "A100 40GB SXM"),
        ("NVIDIA A100-SXM4-80GB", "A100 80GB SXM"),
        ("NVIDIA H100 80GB HBM3", "H100 SXM"),
        ("NVIDIA H100 PCIe", None),
        ("NVIDIA A100-PCIE-40GB", None),
        ("NVIDIA A100-SXM4-40GB MIG 3g.20gb", None),
        ("NVIDIA H100 NVL", None),
        ("NVIDIA GH200 480GB", None),
        ("NVIDIA GB200", None),
        ("NVIDIA GeForce RTX 3090", "RTX 3090"),
        ("NVIDIA GeForce RTX 3090 Ti", None),
        ("NVIDIA GeForce RTX 4090 Laptop GPU", None),
        ("NVIDIA GeForce RTX 4090 SUPER", None),
        ("NVIDIA GeForce RTX 4090 D", None),
        ("NVIDIA H200", "H200 SXM"),
        ("NVIDIA B200", "B200 SXM"),
        ("NVIDIA GeForce RTX 4090", "RTX 4090"),
        ("NVIDIA GeForce RTX 4080", None),
        ("Tesla V100-SXM2-16GB", None),
    ],
)
def test_devices_are_found_in_the_table(device, card):
    assert card_of(device) == card
