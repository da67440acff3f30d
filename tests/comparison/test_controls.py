import pytest
import torch
from torch import nn

from pruning_lib.before_training import snip
from pruning_lib.comparison import controls
from pruning_lib.structure import Masks, keep_largest, prunable
from pruning_lib.workbench import models


def test_shuffled_leaves_of_a_mask_the_counts_alone():
    model = models.lenet5((1, 8, 8))
    masks = snip.prune(model, [(torch.randn(20, 1, 8, 8), torch.arange(20) % 10)], 0.9)
    mixed = Masks(controls.shuffled(masks, 3))
    assert mixed.per_layer() == masks.per_layer()
    assert mixed == Masks(controls.shuffled(masks, 3)) != Masks(controls.shuffled(masks, 4))
    for name, mask in masks.items():
        chance = (mask & mixed[name]).sum() / mask.sum() - mask.double().mean()
        assert abs(chance) < 4 / mask.sum() ** 0.5, name  # they agree as often as two that know nothing of each other


def test_shuffled_with_one_seed_masks_and_weights_stay_together():
    weights = {name: weight.detach() for name, weight in prunable(models.lenet_300_100((1, 8, 8))).items()}
    masks = keep_largest({name: weight.abs() for name, weight in weights.items()}, 0.9)
    moved, mixed = controls.shuffled(weights, 7), controls.shuffled(masks, 7)
    for name, weight in weights.items():
        assert torch.equal(moved[name][mixed[name]].sort().values, weight[masks[name]].sort().values)
        assert not torch.equal(moved[name], weight)


class Layers(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 50, 5), nn.Linear(200, 10)


@pytest.mark.parametrize("sparsity", [0.1, 0.5, 0.9, 0.99])
def test_layers_are_as_dense_as_erdos_renyi_kernel_has_them(sparsity):
    """ε by bisection, so that all layers together keep what is asked for."""
    model = Layers()
    shapes = {name: tuple(weight.shape) for name, weight in prunable(model).items()}
    total = sum(weight.numel() for weight in prunable(model).values())

    def counts(epsilon):
        return {name: min(prunable(model)[name].numel(), epsilon * sum(shape)) for name, shape in shapes.items()}

    low, high = 0.0, float(total)
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if sum(counts(middle).values()) < total * (1 - sparsity) else (low, middle)
    masks = keep_largest(controls.erk_scores(model, 0), sparsity)
    assert masks.kept == round(total * (1 - sparsity))
    for name, count in counts(low).items():
        assert int(masks[name].sum()) == pytest.approx(count, abs=1)


def test_within_a_layer_erk_is_random():
    model = models.lenet_300_100((1, 28, 28))
    one, other = (keep_largest(controls.erk_scores(model, seed), 0.9) for seed in (0, 1))
    assert one.per_layer() == other.per_layer() and one != other
    mask = one["fc1.weight"].double()
    assert abs(torch.corrcoef(torch.stack([mask.flatten(), other["fc1.weight"].double().flatten()]))[0, 1]) < 0.01
    assert mask.mean(0).std() < 2 * (mask.mean() * (1 - mask.mean()) / 300) ** 0.5  # as binomial counts scatter
