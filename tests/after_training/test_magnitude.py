import copy
import math

import pytest
import torch
from torch import nn

from pruning_lib.after_training import magnitude
from pruning_lib.structure import (
    Masks,
    choose_units,
    keep_largest,
    prunable,
    release,
    remove,
    score_units,
    structured,
    zero_units,
)
from pruning_lib.structure.tracing import trace
from pruning_lib.workbench import models


def small_network(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3))


def images():
    return torch.randn(3, 1, 8, 8, generator=torch.Generator().manual_seed(0))


def test_scores_are_absolute_weights_apart_from_the_model():
    model = small_network()
    scores = magnitude.scores(model)
    assert list(scores) == ["0.weight", "2.weight"]
    assert all(torch.equal(scores[name], weight.abs()) for name, weight in prunable(model).items())
    assert not any(score.requires_grad for score in scores.values())
    before = copy.deepcopy(model.state_dict())
    for score in scores.values():
        score.zero_()
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("sparsity", [0.0, 0.3, 0.9, 1.0])
def test_prune_keeps_the_largest_and_leaves_the_model(sparsity):
    model = small_network()
    before = copy.deepcopy(model.state_dict())
    masks = magnitude.prune(model, sparsity)
    assert masks.kept == round(45 * (1 - sparsity))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    flat = torch.cat([weight.detach().abs().flatten() for weight in prunable(model).values()])
    kept = torch.cat([mask.flatten() for mask in masks.values()])
    if 0 < masks.kept < 45:
        assert flat[kept].min() > flat[~kept].max()
    assert magnitude.prune(model, sparsity) == masks


def test_scope_layer_gives_every_layer_the_same_share():
    model = small_network()
    with torch.no_grad():
        model[0].weight.mul_(100)
    assert magnitude.prune(model, 0.2, scope="layer").per_layer() == pytest.approx({"0.weight": 0.2, "2.weight": 0.2})
    assert magnitude.prune(model, 0.2).per_layer()["0.weight"] == 0


def test_what_is_held_goes_first_even_where_all_is_zero():
    model = small_network()
    first = magnitude.prune(model, 0.5)
    first.hold(model)
    with torch.no_grad():
        for weight in prunable(model).values():
            weight.zero_()
    second = magnitude.prune(model, 0.6)
    assert second.kept == 18
    assert not any((second[name] & ~first[name]).any() for name in first)


@pytest.mark.parametrize("least", [3.0, 0.0, -5.0])
def test_gone_first_is_below_scores_of_any_sign(least):
    model = small_network()
    magnitude.prune(model, 0.5).hold(model)
    scores = {name: torch.full_like(weight, least).detach() for name, weight in prunable(model).items()}
    for name, score in magnitude.gone_first(model, scores).items():
        gone = prunable(model)[name] == 0
        assert (score[gone] < min(least, 0)).all() and (score[~gone] == least).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("least", [-60000.0, 0.0, 60000.0])
def test_gone_first_in_half_precision(dtype, least):
    """Nothing in float16 is below twice −60000."""
    model = small_network().to(dtype)
    first = magnitude.prune(model, 0.5)
    first.hold(model)
    scores = {name: torch.full_like(weight, least).detach() for name, weight in prunable(model).items()}
    second = keep_largest(magnitude.gone_first(model, scores), 0.6)
    assert second.kept == 18
    assert not any((second[name] & ~first[name]).any() for name in first)


@pytest.mark.parametrize("unit", ["filter", "channel"])
def test_units_leave_whole_and_can_be_removed(unit):
    model, inputs = models.resnet((1, 8, 8), depth=8, width=4).eval(), images()
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            nn.init.normal_(parameter, generator=torch.Generator().manual_seed(1))
    units = choose_units(score_units(model, unit, "l1", inputs), 0.4)
    masks = magnitude.prune_units(model, 0.4, inputs, unit=unit)
    zeroed = copy.deepcopy(model)
    zero_units(zeroed, units, inputs)
    changed = {name for name, w in zeroed.named_parameters() if not torch.equal(w, model.get_parameter(name))}
    assert {name for name, mask in masks.items() if not mask.all()} == changed
    masks.zero_(model)
    assert all(torch.equal(weight, zeroed.get_parameter(name)) for name, weight in model.named_parameters())
    gone = magnitude.units_gone(masks, model, inputs, unit)
    assert {name: index.tolist() for name, index in gone.items()} == {n: i.tolist() for n, i in units.items()}
    smaller = remove(zeroed, inputs, gone)
    assert sum(p.numel() for p in smaller.parameters()) < 0.7 * sum(p.numel() for p in model.parameters())
    torch.testing.assert_close(smaller(inputs), zeroed(inputs), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("unit", ["filter", "channel"])
def test_units_for_rising_sparsities_lie_within_each_other(unit):
    model, inputs, before = models.resnet((1, 8, 8), depth=8, width=4), images(), None
    for sparsity in (0.25, 0.5, 0.75):
        masks = magnitude.prune_units(model, sparsity, inputs, unit, scope="global")
        if before is not None:
            assert masks.kept < before.kept
            assert not any((masks[name] & ~mask).any() for name, mask in before.items())
        release(model)
        masks.hold(model)
        before = masks
        with torch.no_grad():
            for weight in model.parameters():  # the layers that read a removed channel still change
                weight.mul_(0.1 + torch.rand(weight.shape, generator=torch.Generator().manual_seed(1)))


class Coupled(nn.Module):
    """Both filters of `a` are in one group of the grouped convolution, so they can only go together."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(1, 2, 1), nn.Conv2d(1, 4, 1)
        self.grouped, self.out = nn.Conv2d(6, 6, 1, groups=3), nn.Conv2d(6, 2, 1)

    def forward(self, x):
        return self.out(self.grouped(torch.cat([self.a(x), self.b(x)], 1)))


@pytest.mark.parametrize("scope", ["layer", "global"])
def test_a_tied_set_that_is_a_whole_layer_stays_in_every_round(scope):
    model, inputs = Coupled(), images()
    with torch.no_grad():
        for weight in model.a.parameters():  # the smallest of all
            weight.mul_(1e-3)
        model.b.weight[2:] *= 1e-2
    for _ in range(3):
        masks = magnitude.prune_units(model, 0.6, inputs, scope=scope)
        assert masks["a.weight"].all() and masks["b.weight"][:2].all() and not masks["b.weight"][2:].any()
        release(model)
        masks.hold(model)
    gone = magnitude.units_gone(masks, model, inputs)
    assert {name: index.tolist() for name, index in gone.items()} == {"b": [2, 3]}


def test_of_a_layer_that_is_masked_whole_one_unit_can_not_be_removed():
    model, inputs = models.lenet5((1, 8, 8)), images()
    masks = {name: torch.ones_like(weight, dtype=torch.bool) for name, weight in model.named_parameters()}
    masks["conv1.weight"][:], masks["conv1.bias"][:], masks["conv2.weight"][3:], masks["conv2.bias"][4:] = (False,) * 4
    gone = magnitude.units_gone(Masks(masks), model, inputs)
    assert {n: i.tolist() for n, i in gone.items()} == {"conv1": [*range(1, 20)], "conv2": [*range(4, 50)]}
    Masks(masks).zero_(model)
    torch.testing.assert_close(remove(model, inputs, gone)(inputs), model(inputs), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("unit", ["filter", "block"])
def test_every_round_traces_the_model_once(monkeypatch, unit):
    traced = []
    for module in (magnitude, structured):
        monkeypatch.setattr(module, "trace", lambda *given: traced.append(1) or trace(*given))
    model, inputs = models.resnet((1, 8, 8), depth=14, width=4), images()
    for rounds, sparsity in enumerate((0.25, 0.5), 1):
        masks = magnitude.prune_units(model, sparsity, inputs, unit)
        assert len(traced) == rounds
        release(model)
        masks.hold(model)


def test_blocks_leave_by_the_norm_their_branch_ends_in():
    model, inputs = models.resnet((1, 8, 8), depth=14, width=4).eval(), images()
    masks = magnitude.prune_units(model, 0.25, inputs, unit="block")
    (name,) = magnitude.units_gone(masks, model, inputs, "block")
    assert not masks[f"{name}.norm2.weight"].any() and not masks[f"{name}.norm2.bias"].any()
    masks.zero_(model)
    torch.testing.assert_close(remove(model, inputs, {name: [0]})(inputs), model(inputs), rtol=1e-5, atol=1e-6)


def test_bad_input():
    model = small_network()
    for sparsity in (-0.1, 1.1, math.nan):
        with pytest.raises(ValueError, match="sparsity is"):
            magnitude.prune(model, sparsity)
        with pytest.raises(ValueError, match="sparsity is"):
            magnitude.prune_units(model, sparsity, torch.ones(1, 6), unit="neuron")
    with pytest.raises(ValueError, match="scope is 'unit'"):
        magnitude.prune(model, 0.5, scope="unit")
    with pytest.raises(ValueError, match="no prunable weight"):
        magnitude.scores(nn.BatchNorm1d(5))
    with pytest.raises(ValueError, match="unit is 'filter', but the model has none"):
        magnitude.prune_units(model, 0.5, torch.ones(1, 6))
    with torch.no_grad():
        model[2].weight[1, 1] = math.nan
    with pytest.raises(ValueError, match=r"scores\['2.weight'\] contains nan"):
        magnitude.prune(model, 0.5)
