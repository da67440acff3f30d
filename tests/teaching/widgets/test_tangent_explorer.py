"""The tangent explorer: its JavaScript has PyTorch's loss, SNIP's slopes and exact effects; what it refuses."""

import math

import pytest
import torch
from node import computed
from torch import nn
from torch.nn import functional as F

from pruning_lib.before_training import snip
from pruning_lib.teaching.widgets.tangent_explorer import TangentExplorer

SHAPES = [(2, 3, 2, 5), (3, 2, 4, 6), (1, 1, 2, 1), (4, 3, 3, 9)]  # inputs, hidden, outputs, samples


def network(seed: int, shape: tuple[int, int, int, int]) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    wide, hidden, out, count = shape
    sizes = {"first": (hidden, wide), "second": (out, hidden), "inputs": (count, wide)}
    drawn = {name: 2 * torch.randn(*size, generator=generator, dtype=torch.float64) for name, size in sizes.items()}
    return drawn | {"targets": torch.randint(out, (count,), generator=generator)}


def loss(net: dict, c: torch.Tensor) -> torch.Tensor:
    first, second = net["first"], net["second"]
    one, two = c[: first.numel()].view_as(first), c[first.numel() :].view_as(second)
    return F.cross_entropy(torch.tanh(net["inputs"] @ (one * first).T) @ (two * second).T, net["targets"])


class Net(nn.Module):
    def __init__(self, net: dict):
        super().__init__()
        self.one, self.two = (nn.Linear(*reversed(w.shape), bias=False) for w in (net["first"], net["second"]))
        self.one.weight.data, self.two.weight.data = net["first"].clone(), net["second"].clone()

    def forward(self, x):
        return self.two(torch.tanh(self.one(x)))


def given(net: dict, c: torch.Tensor) -> list:
    return [{name: tensor.tolist() for name, tensor in net.items()}, c.tolist()]


def indicators(net: dict, seed: int) -> torch.Tensor:
    c = torch.rand(net["first"].numel() + net["second"].numel(), generator=torch.Generator().manual_seed(seed))
    return c.double().where(c > 0.2, 0)  # some are gone


def test_loss_and_slopes_are_autograds(tmp_path):
    nets = [network(seed, shape) for seed, shape in enumerate(SHAPES)]
    all_c = [indicators(net, seed) for seed, net in enumerate(nets)]
    expression = "given.map((one) => lossAndSlopes(...one))"
    found = computed(tmp_path, "tangent_explorer", "lossAndSlopes", expression, list(map(given, nets, all_c)))
    for net, c, one in zip(nets, all_c, found, strict=True):
        value = loss(net, c.requires_grad_())
        (slopes,) = torch.autograd.grad(value, c)
        assert one["loss"] == pytest.approx(value.item(), rel=1e-12)
        assert one["slopes"] == pytest.approx(slopes.tolist(), rel=1e-10, abs=1e-14)


def test_with_all_connections_there_effects_are_snips(tmp_path):
    nets = [network(seed, shape) for seed, shape in enumerate(SHAPES)]
    ones = [torch.ones(net["first"].numel() + net["second"].numel()) for net in nets]
    expression = "given.map((one) => effects(...one))"
    found = computed(tmp_path, "tangent_explorer", "effects", expression, list(map(given, nets, ones)))
    for net, effects in zip(nets, found, strict=True):
        model, batch = Net(net).double(), (net["inputs"], net["targets"])
        places = [(name, j) for name, w in model.named_parameters() for j in range(w.numel())]
        exact = [snip.exact_effect(model, batch, name, j) for name, j in places]
        assert [one["chord"] for one in effects] == pytest.approx(exact, rel=1e-9, abs=1e-14)
        sizes = torch.tensor([abs(one["tangent"]) for one in effects], dtype=torch.float64)
        scores = torch.cat([score.flatten() for score in snip.sensitivity(model, [batch]).values()])
        torch.testing.assert_close(sizes / sizes.sum(), scores, rtol=1e-10, atol=1e-14)


def test_effects_are_those_of_the_network_as_it_stands(tmp_path):
    net = network(7, SHAPES[0])
    c = indicators(net, 7)
    found = computed(tmp_path, "tangent_explorer", "effects", "effects(...given)", given(net, c))
    for j, one in enumerate(found):
        there, gone = c.clone(), c.clone()
        there[j], gone[j] = 1, 0
        (slopes,) = torch.autograd.grad(loss(net, there.requires_grad_()), there)
        assert one["tangent"] == pytest.approx(slopes[j].item(), rel=1e-10, abs=1e-14)
        assert one["chord"] == pytest.approx((loss(net, there) - loss(net, gone)).item(), rel=1e-9, abs=1e-14)


def test_ranks_are_by_size_and_ties_by_index(tmp_path):
    values = [[0.1, -0.5, 0.5, 0.0, 2.0], [1.0]]
    found = computed(tmp_path, "tangent_explorer", "ranks", "given.map(ranks)", values)
    assert found == [[3, 1, 2, 4, 0], [0]]


def explorer(**changes) -> TangentExplorer:
    return TangentExplorer(**network(0, SHAPES[0]) | changes)


def test_all_connections_are_there_at_first():
    assert explorer().c == [1.0] * 12 and explorer().connection == 0
    one = explorer(connection=11, c=[0.5] * 12)
    one.c = [0.0] * 12
    one.connection = 3
    assert (one.connection, one.c) == (3, [0.0] * 12)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"first": torch.ones(3)}, r"first has shape \(3,\), must have two axes"),
        ({"inputs": torch.ones(0, 2)}, r"inputs has shape \(0, 2\), must have two axes and not be empty"),
        ({"second": torch.ones(2, 4)}, r"second has shape \(2, 4\), must be \(2, 3\)"),
        ({"inputs": torch.ones(5, 3)}, r"inputs has shape \(5, 3\), must be \(5, 2\)"),
        ({"targets": torch.zeros(4, dtype=torch.int64)}, r"targets has shape \(4,\), must be \(5,\)"),
        ({"targets": torch.full((5,), 2)}, r"targets are \[2, 2, 2, 2, 2\], must be classes from 0 to 1"),
        ({"targets": torch.zeros(5)}, "must be classes"),
        ({"first": torch.tensor([[1.0, math.nan]] * 3)}, "first contains nan, must be finite"),
        (network(0, (5, 5, 2, 3)), "35 weights, must have at most 24"),
    ],
)
def test_bad_networks_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        explorer(**changes)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("connection", 12, "connection is 12, must be from 0 to 11"),
        ("connection", -1, "connection is -1"),
        ("c", [1.0] * 11, "c has 11 values, must have one for each of 12"),
        ("c", [1.0] * 11 + [1.5], r"c\[11\] is 1.5, must be from 0 to 1"),
        ("c", [math.nan] + [1.0] * 11, r"c\[0\] is nan"),
    ],
)
def test_bad_choices_are_refused_at_the_start_and_later(name, value, message):
    with pytest.raises(ValueError, match=message):
        explorer(**{name: value})
    one = explorer()
    before = getattr(one, name)
    with pytest.raises(ValueError, match=message):
        setattr(one, name, value)
    assert getattr(one, name) == before
