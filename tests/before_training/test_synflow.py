import copy
import itertools
import math
import types

import pytest
import torch
from torch import nn

from pruning_lib.before_training import iterative_snip, snip, synflow
from pruning_lib.structure import prunable
from pruning_lib.workbench import models


def chain(sizes=(4, 3, 5, 2), seed=0):
    torch.manual_seed(seed)
    layers = [[nn.Linear(a, b), nn.ReLU()] for a, b in itertools.pairwise(sizes)]
    return nn.Sequential(*itertools.chain(*layers)).double()


def test_a_score_is_the_sum_over_the_paths_through_the_weight():
    model = chain()
    weights = {name: weight.detach().abs() for name, weight in prunable(model).items()}
    expected = {name: torch.zeros_like(weight) for name, weight in weights.items()}
    for path in itertools.product(range(4), range(3), range(5), range(2)):
        steps = list(zip(weights, itertools.pairwise(path), strict=True))
        product = math.prod(weights[name][b, a].item() for name, (a, b) in steps)
        for name, (a, b) in steps:
            expected[name][b, a] += product
    found = synflow.scores(model, torch.zeros(1, 4))
    assert found.keys() == expected.keys()
    for name in expected:
        torch.testing.assert_close(found[name], expected[name], rtol=1e-12, atol=0)


@pytest.mark.parametrize(("name", "shape"), [("lenet_300_100", (1, 28, 28)), ("lenet5", (1, 28, 28))])
def test_the_layers_of_a_chain_have_the_same_sum(name, shape):
    """The conservation law (Tanaka et al. 2020, theorem 2), whatever the biases."""
    model = models.build(name, shape, 10, seed=1)
    for parameter in model.parameters():
        if parameter.ndim == 1:
            nn.init.normal_(parameter)
    sums = torch.stack([score.sum() for score in synflow.scores(model, torch.zeros(1, *shape)).values()])
    torch.testing.assert_close(sums, sums[:1].expand(len(sums)), rtol=1e-12, atol=0)


def test_of_batch_norm_only_the_scale_counts():
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Linear(12, 2))
    normed = copy.deepcopy(plain)
    with torch.no_grad():
        normed[1].weight.copy_(torch.tensor([1.0, -2.0, 0.5]))
        normed[1].running_var.copy_(torch.tensor([1.0, 4.0, 0.25]))
        normed[1].bias.fill_(-3)
        normed[1].running_mean.fill_(7)
        normed[1].eps = plain[1].eps = 0
    x = torch.zeros(1, 1, 4, 4)
    expected, found = synflow.scores(plain, x), synflow.scores(normed, x)  # |γ|/σ is 1 in each channel
    for name in expected:
        torch.testing.assert_close(found[name], expected[name], rtol=1e-12, atol=0)


def test_only_the_shapes_of_the_inputs_count_and_nothing_changes():
    model = models.resnet((1, 8, 8), depth=8, width=4)
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    before = copy.deepcopy(model.state_dict())
    first, second = (synflow.scores(model, value * torch.ones(1, 1, 8, 8)) for value in (0.0, -3.5))
    with torch.no_grad():
        third = synflow.scores(model, torch.randn(1, 1, 8, 8).bfloat16())
    for name in first:
        assert first[name].dtype == torch.float64
        assert torch.equal(first[name], second[name]) and torch.equal(first[name], third[name])
    assert model.training and all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None and not parameter.requires_grad for parameter in model.parameters())


def test_a_deep_network_does_not_overflow():
    model = nn.Sequential(*[nn.Linear(100, 100, bias=False) for _ in range(20)])
    for layer in model:
        nn.init.constant_(layer.weight, 1)  # 100^21 paths
    scores = synflow.scores(model, torch.ones(1, 100))
    assert sum(scores["7.weight"].flatten()).item() == pytest.approx(100.0**21, rel=1e-9)


def test_no_layer_of_a_chain_dies_where_snip_and_one_round_empty_some():
    model = models.initialize_(chain((784, 30, 30, 30, 30, 10))[:-1], 0)
    batch = torch.randn(32, 784, generator=torch.Generator().manual_seed(0)).double(), torch.arange(32) % 10
    counts = {
        "snip": snip.prune(model, [batch], 0.998),
        "once": synflow.prune(model, batch[0][:1], 0.998, rounds=1, progress=False),
        "rounds": synflow.prune(model, batch[0][:1], 0.998, rounds=50, progress=False),
        "iterative": iterative_snip.prune(model, [batch], 0.998, rounds=50, progress=False),
    }
    empty = {name: sum(not mask.any() for mask in masks.values()) for name, masks in counts.items()}
    assert len({masks.kept for masks in counts.values()}) == 1
    assert min(empty["snip"], empty["once"]) > 0 == empty["rounds"] == empty["iterative"], empty


def test_inputs_as_tuple_or_dict_and_outputs_with_logits():
    class Named(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(3, 2)

        def forward(self, x, index):
            return types.SimpleNamespace(logits=self.layer(x[index]))

    model, x, index = Named(), torch.randn(4, 3), torch.tensor([0, 2])
    by_place, by_name = synflow.scores(model, (x, index)), synflow.scores(model, {"index": index, "x": x})
    expected = 2 * model.layer.weight.detach().double().abs()
    for found in (by_place, by_name):
        torch.testing.assert_close(found["layer.weight"], expected, rtol=1e-12, atol=0)


def test_what_no_path_passes_scores_zero():
    model = chain()
    with torch.no_grad():
        model[2].weight[:, 1] = 0  # whatever neuron 1 of the first layer says, nobody listens
    scores = synflow.scores(model, torch.zeros(1, 4))
    assert (scores["0.weight"][1] == 0).all() and (scores["0.weight"][[0, 2]] > 0).all()


@pytest.mark.parametrize(
    ("model", "inputs", "message"),
    [
        (
            nn.Sequential(nn.Linear(3, 3), nn.LayerNorm(3)),
            torch.ones(1, 3),
            "layer '1' is LayerNorm, must be batch norm",
        ),
        (
            nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3, track_running_stats=False)),
            torch.ones(1, 3),
            "layer '1' is BatchNorm1d, must be batch norm with running statistics",
        ),
        (nn.Sequential(nn.BatchNorm1d(3)), torch.ones(1, 3), "no prunable weight"),
        (nn.Linear(3, 3), torch.ones(1, 3, dtype=torch.long), r"tensor of shape \(1, 3\), must hold a floating-point"),
        (nn.Linear(3, 3), "text", "batch is 'text', must be a tensor"),
        (nn.LSTM(3, 3), torch.ones(1, 3), "no prunable weight"),
    ],
)
def test_bad_input(model, inputs, message):
    with pytest.raises(ValueError, match=message) as caught:
        synflow.prune(model, inputs, 0.5, progress=False)
    assert "\n" not in str(caught.value)


def test_bad_numbers():
    model, x = chain(), torch.zeros(1, 4)
    for sparsity in (-0.1, 1.5, math.nan):
        with pytest.raises(ValueError, match="sparsity is"):
            synflow.prune(model, x, sparsity, progress=False)
    with pytest.raises(ValueError, match="rounds is 0, must be at least 1"):
        synflow.prune(model, x, 0.5, rounds=0, progress=False)
    with torch.no_grad():
        model[0].weight[0, 0] = math.inf
    with pytest.raises(ValueError, match=r"scores\['0.weight'\] contains (inf|nan), must be finite"):
        synflow.prune(model, x, 0.5, progress=False)
    model = nn.Sequential(nn.Linear(3, 2), nn.ReLU())
    model.forward = lambda x: [model[0](x)]
    with pytest.raises(ValueError, match="outputs are a list of 1, must be a tensor"):
        synflow.scores(model, torch.ones(1, 3))
