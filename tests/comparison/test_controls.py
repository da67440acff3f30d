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


def test_same_counts_keeps_rows_and_columns():
    generator = torch.Generator().manual_seed(0)
    shapes = {"dense": (30, 40), "convolution": (8, 3, 5, 5)}
    masks = {name: torch.rand(shape, generator=generator) < 0.1 for name, shape in shapes.items()}
    mixed = controls.same_counts(masks, 0)
    for name, mask in masks.items():
        assert mixed[name].shape == mask.shape and mixed[name].dtype == torch.bool
        for dim in (0, 1):
            assert torch.equal(mixed[name].flatten(1).sum(dim), mask.flatten(1).sum(dim))
        assert (mixed[name] & mask).sum() < 0.4 * mask.sum()  # a random mask would share a tenth
    again, other = controls.same_counts(masks, 0), controls.same_counts(masks, 1)
    assert Masks(again) == Masks(mixed) != Masks(other)


def test_same_counts_reaches_every_mask_alike():
    """Of 3 × 3 masks with one connection in each row and column there are six."""
    seen = {}
    for seed in range(300):
        mask = controls.same_counts({"w": torch.eye(3, dtype=torch.bool)}, seed)["w"]
        key = tuple(mask.int().argmax(dim=1).tolist())
        seen[key] = seen.get(key, 0) + 1
    assert len(seen) == 6 and min(seen.values()) > 25


@pytest.mark.parametrize("mask", [torch.ones(3, 4), torch.zeros(3, 4), torch.eye(4)[:1]])
def test_same_counts_leaves_what_cannot_change(mask):
    assert torch.equal(controls.same_counts({"w": mask.bool()}, 0)["w"], mask.bool())


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


@pytest.mark.parametrize("name", ["lenet_300_100", "lenet5"])
def test_same_signal_scales_each_layer_until_its_outputs_spread_alike(name):
    dense, pruned = (models.build(name, (1, 8, 8), 10, seed=0) for _ in range(2))
    for network in (dense, pruned):
        for key, bias in network.named_parameters():
            if key.endswith("bias"):
                bias.data.fill_(0.1)
    inputs = torch.randn(50, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    keep_largest(controls.random_scores(pruned, 0), 0.9).zero_(pruned)
    before = {key: weight.detach().clone() for key, weight in prunable(pruned).items()}
    assert pruned(inputs).std(dim=0).mean() < 0.5 * dense(inputs).std(dim=0).mean()
    controls.same_signal_(pruned, dense, inputs)
    spreads = []
    for network in (dense, pruned):
        layers = [module for module in network.modules() if isinstance(module, nn.Linear | nn.Conv2d)]
        outputs = [[] for _ in layers]
        for layer, found in zip(layers, outputs, strict=True):
            layer.register_forward_hook(lambda module, given, output, found=found: found.append(output))
        network(inputs)
        spreads.append(torch.stack([found[0].std(dim=0).mean() for found in outputs]))
    assert len(spreads[0]) >= 3
    torch.testing.assert_close(*spreads)
    for key, weight in prunable(pruned).items():
        factors = weight[before[key] != 0] / before[key][before[key] != 0]
        assert factors.max() - factors.min() < 1e-4 * factors.max() and factors.min() > 1
        assert not weight[before[key] == 0].any()


def test_same_signal_leaves_a_network_that_passes_nothing_on():
    dense, pruned = (models.lenet_300_100((1, 8, 8), 10, seed=0) for _ in range(2))
    prunable(pruned)["fc1.weight"].data.zero_()
    weights = {key: weight.detach().clone() for key, weight in prunable(pruned).items()}
    controls.same_signal_(pruned, dense, torch.randn(20, 1, 8, 8, generator=torch.Generator().manual_seed(0)))
    assert all(torch.equal(weight, weights[key]) for key, weight in prunable(pruned).items())


def test_same_signal_of_one_input_is_refused():
    dense, pruned = (models.lenet_300_100((1, 8, 8), 10, seed=0) for _ in range(2))
    with pytest.raises(ValueError, match="inputs is 1, must be at least 2"):
        controls.same_signal_(pruned, dense, torch.zeros(1, 1, 8, 8))
