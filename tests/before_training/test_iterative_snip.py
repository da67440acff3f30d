import copy
import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from pruning_lib.before_training import iterative_snip, snip
from pruning_lib.structure import Masks, prunable
from pruning_lib.workbench import models


def small_network(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(5, 6), nn.ReLU(), nn.Linear(6, 3)).double()


def batch(size=12, seed=1):
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(size, 5, generator=generator, dtype=torch.float64)
    return inputs, torch.randint(0, 3, (size,), generator=generator)


def by_hand(model, data, sparsity, rounds):
    """Masks as vectors: of those that are left the largest |w · ∂L/∂w|, T times."""
    model = copy.deepcopy(model)
    weights = list(prunable(model).values())
    total = sum(w.numel() for w in weights)
    left = torch.arange(total)
    for t in range(1, rounds + 1):
        gradients = torch.autograd.grad(F.cross_entropy(model(data[0]), data[1]), weights)
        effects = torch.cat([(w * g).abs().detach().flatten() for w, g in zip(weights, gradients, strict=True)])
        order = effects[left].argsort(descending=True, stable=True)
        left = left[order[: round(total * (1 - sparsity) ** (t / rounds))]].sort().values
        keep = torch.zeros(total, dtype=torch.bool)
        keep[left] = True
        with torch.no_grad():
            for w, mask in zip(weights, keep.split([w.numel() for w in weights]), strict=True):
                w *= mask.view(w.shape)
    return keep


@pytest.mark.parametrize("rounds", [1, 2, 7, 100])
@pytest.mark.parametrize("seed", range(3))
def test_each_round_scores_what_the_rounds_before_it_left(rounds, seed):
    model, data = small_network(seed), batch()
    masks = iterative_snip.prune(model, [data], 0.7, rounds=rounds, progress=False)
    found = torch.cat([mask.flatten() for mask in masks.values()])
    assert masks.kept == round(48 * 0.3)
    assert torch.equal(found, by_hand(model, data, 0.7, rounds))


def test_one_round_is_snip_and_several_are_not():
    model, data = small_network(), batch()
    once = snip.prune(model, [data], 0.8)
    assert iterative_snip.prune(model, [data], 0.8, rounds=1, progress=False) == once
    assert iterative_snip.prune(model, [data], 0.8, rounds=20, progress=False) != once


def test_the_model_is_unchanged_and_a_generator_of_batches_will_do():
    model = models.resnet((1, 8, 8), depth=8, width=4)
    before = copy.deepcopy(model.state_dict())
    data = torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1, 2, 3])
    masks = iterative_snip.prune(model, (pair for pair in [data, data]), 0.9, rounds=3, progress=False)
    assert masks == iterative_snip.prune(model, [data], 0.9, rounds=3, progress=False)
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("sparsity", [0.0, 1.0])
def test_all_or_nothing_takes_one_round(sparsity):
    asked = []

    def score(model):
        asked.append(model)
        return {name: weight.detach().abs() for name, weight in prunable(model).items()}

    masks = iterative_snip.in_rounds(small_network(), score, sparsity, rounds=10, progress=False)
    assert masks.kept == 48 * (1 - sparsity) and len(asked) == 1


def test_of_equal_scores_what_is_gone_stays_gone():
    """A weight that is left may score 0, as those that are gone do."""
    left = []

    def score(model):
        left.append(Masks({name: weight != 0 for name, weight in prunable(model).items()}))
        if len(left) == 1:  # the last ones first, so that ties alone would take the first ones back
            return {name: torch.arange(weight.numel()).view(weight.shape) for name, weight in prunable(model).items()}
        return {name: torch.zeros_like(weight) for name, weight in prunable(model).items()}

    masks = iterative_snip.in_rounds(small_network(), score, 0.9, rounds=4, progress=False)
    for before, after in zip(left, [*left[1:], masks], strict=True):
        assert all((before[name] | ~after[name]).all() for name in after)
    assert masks.kept == 5


def test_bad_input():
    model, data = small_network(), batch()
    for sparsity in (-0.1, 1.5, math.nan, None):
        with pytest.raises(ValueError, match="sparsity is"):
            iterative_snip.prune(model, [data], sparsity, progress=False)
    for rounds in (0, -1):
        with pytest.raises(ValueError, match=f"rounds is {rounds}, must be at least 1"):
            iterative_snip.prune(model, [data], 0.5, rounds=rounds, progress=False)
    for rounds in (1.5, "3", None):
        with pytest.raises(ValueError, match=f"rounds is {rounds!r}, must be a whole number"):
            iterative_snip.prune(model, [data], 0.5, rounds=rounds, progress=False)
    for batches in ([], iter([]), data[0], None):
        with pytest.raises(ValueError, match="batches is "):
            iterative_snip.prune(model, batches, 0.5, progress=False)
    with pytest.raises(ValueError, match="model is dict, must be an nn.Module"):
        iterative_snip.prune({}, [data], 0.5, progress=False)
    with pytest.raises(ValueError, match=r"gradient of '0.weight' is not finite"):
        iterative_snip.prune(model, [(data[0] * math.nan, data[1])], 0.5, progress=False)
    cut = nn.Sequential(nn.Linear(4, 1, bias=False), nn.Linear(1, 1, bias=False)).double()
    with pytest.raises(ValueError, match="is 0, must be positive: no weight influences the loss"):
        iterative_snip.in_rounds(
            cut,
            lambda m: {
                n: s * ("1" not in n) for n, s in snip.sensitivity(m, [(torch.ones(2, 4).double(),) * 2], loss).items()
            },
            0.8,
            rounds=5,
            progress=False,
        )


def loss(outputs, targets):
    return outputs.mean()
