"""The layer race: its counts are `keep_largest`'s, deaths are found, and what does not fit is refused."""

import json
import math

import pytest
import torch
from ipywidgets import Widget
from node import computed

from pruning_lib.structure import keep_largest
from pruning_lib.teaching.widgets.layer_race import SPARSITIES, LayerRace


def scores(seed: int = 0, **shapes: tuple[int, ...]) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shapes = shapes or {"conv.weight": (4, 3, 3, 3), "fc.weight": (5, 8)}
    return {name: torch.rand(shape, generator=generator) for name, shape in shapes.items()}


def test_counts_are_those_of_a_global_choice():
    kinds = {"SNIP": scores(0), "random": scores(1)}
    race = LayerRace(kinds)
    assert race.layers == [["conv", 108], ["fc", 40]] and [one["name"] for one in race.races] == list(kinds)
    for one, layers in zip(race.races, kinds.values(), strict=True):
        for sparsity, counts in zip(SPARSITIES, one["kept"], strict=True):
            masks = keep_largest(layers, sparsity)
            assert counts == [int(mask.sum()) for _, mask in masks.items()]
            assert sum(counts) == round(148 * (1 - sparsity))
    assert SPARSITIES[0] == 0 and race.races[0]["kept"][0] == [108, 40]
    assert 0.999 < SPARSITIES[-1] < 1 and list(SPARSITIES) == sorted(SPARSITIES)


def test_deaths(tmp_path):
    race = LayerRace({"magnitude": {"large": torch.full((100,), 2.0), "small": torch.ones(100)}})
    dead = next(step for step, sparsity in enumerate(SPARSITIES) if round(200 * (1 - sparsity)) <= 100)
    expression = "given.map(deaths)"
    kept = race.races[0]["kept"]
    assert computed(tmp_path, "layer_race", "deaths", expression, [kept, kept[:3]]) == [
        [next(step for step, (large, _) in enumerate(kept) if not large), dead],
        [None, None],
    ]


def test_the_signal_is_kept_in_the_order_of_the_scores():
    signal = {"b": [0.0] * len(SPARSITIES), "a": torch.linspace(1, 0, len(SPARSITIES))}
    race = LayerRace({"a": scores(), "b": scores()}, signal, step=7)
    assert [one["signal"][0] for one in race.races] == [1.0, 0.0] and race.step == 7
    assert LayerRace({"a": scores()}).races[0]["signal"] is None


def test_layers_keep_their_order_where_a_notebook_is_saved():
    race = LayerRace({"z": scores(stage=(9,), conv=(4,), fc=(3,)), "a": scores(stage=(9,), conv=(4,), fc=(3,))})
    saved = json.loads(json.dumps(Widget.get_manager_state(widgets=[race])["state"], sort_keys=True))
    state = saved[race.model_id]["state"]
    assert state["layers"] == [["stage", 9], ["conv", 4], ["fc", 3]]
    assert [one["name"] for one in state["races"]] == ["z", "a"]


@pytest.mark.parametrize(
    ("kinds", "signal", "message"),
    [
        ({}, None, "scores holds 0 kinds of scores, must hold 1 to 3"),
        (dict.fromkeys("abcd", scores()), None, "scores holds 4 kinds"),
        ({"a": scores(), "b": scores(fc=(2, 2))}, None, "must be of one network"),
        ({"a": {"fc": torch.tensor([math.nan])}}, None, "nan"),
        ({"a": {}}, None, "scores is empty"),
        ({"a": scores()}, {"b": [1.0] * len(SPARSITIES)}, "signal is of b, must be of a"),
        ({"a": scores()}, {"a": [1.0]}, r"signal\['a'\] has 1 values, must have one for each of 51"),
        ({"a": scores()}, {"a": [math.nan] * len(SPARSITIES)}, r"signal\['a'\] contains nan"),
        ({"a": scores()}, {"a": [-1.0] * len(SPARSITIES)}, r"signal\['a'\] contains -1.0"),
    ],
)
def test_bad_races_are_refused(kinds, signal, message):
    with pytest.raises(ValueError, match=message):
        LayerRace(kinds, signal)


@pytest.mark.parametrize("step", [-1, len(SPARSITIES)])
def test_bad_steps_are_refused_at_the_start_and_later(step):
    with pytest.raises(ValueError, match=f"step is {step}, must be from 0 to 50"):
        LayerRace({"a": scores()}, step=step)
    race = LayerRace({"a": scores()}, step=3)
    with pytest.raises(ValueError, match=f"step is {step}, must be"):
        race.step = step
    assert race.step == 3
