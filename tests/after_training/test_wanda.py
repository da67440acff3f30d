"""Wanda's choice, weight by weight, and on a model."""

import pytest
import torch
from torch import nn

from pruning_lib.after_training import wanda
from pruning_lib.after_training.reconstruction import Hessian

F64 = torch.float64


def layer():
    generator = torch.Generator().manual_seed(0)
    X = torch.randn(50, 20, generator=generator, dtype=F64) * torch.linspace(0.1, 3, 20, dtype=F64)
    return torch.randn(6, 20, generator=generator, dtype=F64), X


@pytest.mark.parametrize("sparsity", [0, 0.33, 0.5, 1])
def test_lowest_of_every_row_go(sparsity):
    weight, X = layer()
    hessian = Hessian(20, F64).add(X).matrix
    pruned, keep = wanda.prune_weight(weight, hessian, sparsity)
    for row, mask in zip(weight, keep, strict=True):
        scores = row.abs() * X.square().mean(0).sqrt()
        lowest = scores.sort().indices[: round(20 * sparsity)]
        assert set((~mask).nonzero().flatten().tolist()) == set(lowest.tolist())
    assert torch.equal(pruned, weight * keep)
    assert torch.equal(wanda.prune_weight(weight, hessian.diagonal(), sparsity)[1], keep)


def test_two_of_four_and_ties():
    weight, X = layer()
    _, keep = wanda.prune_weight(weight, Hessian(20, F64).add(X).matrix, n_m=(2, 4))
    groups = (weight.abs() * X.square().mean(0).sqrt()).view(6, 5, 4)
    expected = torch.zeros(6, 5, 4, dtype=torch.bool).scatter(2, groups.topk(2).indices, True)
    assert torch.equal(keep, expected.view(6, 20))
    _, keep = wanda.prune_weight(torch.ones(3, 8), torch.ones(8), sparsity=0.5)
    assert keep[:, :4].all() and not keep[:, 4:].any()


def test_model_is_walked_in_order():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(20, 8), nn.ReLU(), nn.Linear(8, 3)).double()
    _, X = layer()
    first, first_keep = wanda.prune_weight(model[0].weight, Hessian(20, F64).add(X).matrix, 0.5)
    hidden = torch.relu(X @ first.T + model[0].bias).detach()
    second, second_keep = wanda.prune_weight(model[2].weight, Hessian(8, F64).add(hidden).matrix, 0.5)
    masks = wanda.prune_model(model, X.split(7), sparsity=0.5, progress=False)
    assert torch.equal(masks["0.weight"], first_keep) and torch.equal(masks["2.weight"], second_keep)
    assert torch.equal(model[0].weight, first) and torch.equal(model[2].weight, second)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sparsity": None}, "exactly one of them"),
        ({"n_m": (1, 2)}, "exactly one of them"),
        ({"sparsity": None, "n_m": (1, 3)}, "must be a multiple of m = 3"),
        ({"sparsity": 2}, "sparsity is 2"),
        ({"hessian": torch.full((20,), torch.inf)}, "hessian .* must be finite"),
        ({"hessian": torch.ones(19)}, "hessian has shape"),
        ({"hessian": -torch.ones(20)}, "on its diagonal"),
        ({"weight": torch.full((2, 20), torch.nan)}, "weight .* must be finite"),
    ],
)
def test_bad_input_is_an_error(change, message):
    with pytest.raises(ValueError, match=message):
        wanda.prune_weight(**{"weight": torch.ones(2, 20), "hessian": torch.ones(20), "sparsity": 0.5, **change})


def test_inputs_of_another_width_are_an_error():
    with pytest.raises(ValueError, match=r"inputs has shape \(5, 40\), must be \(…, 20\)"):
        Hessian(20, diagonal=True).add(torch.ones(5, 40))
