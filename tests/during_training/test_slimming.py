"""Network Slimming: whose scales are penalized, by how much, and that they come near zero but never stop there."""

import pytest
import torch
from gated_nets import grouped_net, images, with_statistics
from torch import nn

from pruning_lib.during_training import slimming
from pruning_lib.during_training.proximal import ProximalSGD
from pruning_lib.structure import choose_units, remove, zero_units
from pruning_lib.workbench.models import lenet5, resnet


def test_scales_are_those_of_the_channels_that_can_go():
    net = resnet((1, 8, 8), depth=8, width=4)
    found = slimming.scales(net)
    assert found.keys() == {"stage1.0.conv1", "stage2.0.conv1", "stage3.0.conv1"}
    for name, scale in found.items():
        assert scale is net.get_submodule(name.removesuffix(".conv1")).norm1.weight


@pytest.mark.parametrize("net", [lenet5((1, 8, 8)), grouped_net()], ids=["no norm", "tied"])
def test_a_net_without_such_scales_is_named(net):
    with pytest.raises(ValueError, match=f"model {type(net).__name__} has no normalization"):
        slimming.scales(net)


def test_penalty_is_the_l1_norm_and_its_gradient_the_sign():
    scales = {"a": torch.tensor([0.5, -2.0, 0.0]), "b": torch.tensor([-1.0])}
    scales = {name: scale.double().requires_grad_() for name, scale in scales.items()}
    penalty = slimming.penalty(scales, 0.1)
    assert penalty.item() == pytest.approx(0.35)
    penalty.backward()
    assert scales["a"].grad.tolist() == [0.1, -0.1, 0.0]
    assert scales["b"].grad.tolist() == [-0.1]


@pytest.mark.parametrize("gamma", [-1, float("nan"), float("inf"), "0.1", None])
def test_bad_gamma(gamma):
    with pytest.raises(ValueError, match="gamma is .*, must be a finite number >= 0"):
        slimming.penalty({"a": torch.ones(1)}, gamma)


def test_nothing_to_penalize():
    with pytest.raises(ValueError, match="scales is empty"):
        slimming.penalty({}, 0.1)


def test_subgradient_comes_near_zero_where_the_proximal_step_stops_at_it():
    """½‖g − a‖² + γ‖g‖₁ has its minimum at S_γ(a), which is zero where abs(a) is below γ."""
    target, gamma, lr = torch.linspace(-0.5, 0.5, 41, dtype=torch.float64), 0.3, 0.01
    by_loss, by_prox = (torch.ones(41, dtype=torch.float64, requires_grad=True) for _ in range(2))
    plain = torch.optim.SGD([by_loss], lr, momentum=0.9, nesterov=True)
    proximal = ProximalSGD([by_prox], lr, 0.9, gamma)
    for _ in range(3000):
        for optimizer, scale in ((plain, by_loss), (proximal, by_prox)):
            optimizer.zero_grad()
            loss = 0.5 * (scale - target).square().sum()
            if scale is by_loss:
                loss = loss + slimming.penalty({"layer": scale}, gamma)
            loss.backward()
            optimizer.step()
    proximal.settle_()
    inside = target.abs() < gamma - 0.01
    assert (by_prox[inside] == 0).all()
    assert (by_loss[inside] != 0).sum() > 0.9 * inside.sum()
    assert by_loss[inside].abs().max() < 3 * lr * gamma / (1 - 0.9)
    outside = target.abs() > gamma + 0.01
    torch.testing.assert_close(by_loss[outside], by_prox[outside], rtol=0, atol=1e-6)


def test_channels_of_small_scales_are_cut_and_the_outputs_are_those_after_zeroing():
    net = with_statistics(resnet((1, 8, 8), depth=8, width=4))
    scales = slimming.scales(net)
    with torch.no_grad():
        scales["stage3.0.conv1"][[2, 5]] = torch.tensor([1e-3, -1e-3])
        scales["stage1.0.conv1"][1] = 1e-4
    units = choose_units(slimming.scores(scales), 3 / 28, "global")
    assert {name: indices.tolist() for name, indices in units.items()} == {
        "stage1.0.conv1": [1],
        "stage3.0.conv1": [2, 5],
    }
    small = remove(net, images(), units)
    zero_units(net, units)
    torch.testing.assert_close(small(images(3)), net(images(3)), rtol=0, atol=1e-5)
    assert isinstance(small.stage3[0].norm1, nn.BatchNorm2d) and len(small.stage3[0].norm1.weight) == 14


def test_training_with_the_penalty_makes_the_scales_small():
    net = resnet((1, 8, 8), depth=8, width=4).train()
    scales = slimming.scales(net)
    before = float(slimming.penalty(scales, 1.0).detach())
    optimizer = torch.optim.SGD(net.parameters(), 0.1)
    for step in range(10):
        x = torch.randn(16, 1, 8, 8, generator=torch.Generator().manual_seed(step))
        loss = nn.functional.cross_entropy(net(x), torch.arange(16) % 10) + slimming.penalty(scales, 0.1)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert float(slimming.penalty(scales, 1.0).detach()) < 0.95 * before
