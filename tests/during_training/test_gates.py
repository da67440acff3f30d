"""Where gates sit, that open ones change nothing, and that folding keeps the outputs."""

import copy

import pytest
import torch
from gated_nets import grouped_net, images, with_statistics
from torch import nn

from pruning_lib.during_training.gates import Gate, add_gates, fold_gates, gates
from pruning_lib.workbench.models import lenet5, lenet_300_100, resnet


def sizes(gated):
    return {name: len(scale) for name, scale in gates(gated).items()}


def test_blocks_of_a_residual_net_have_one_gate_each():
    gated = add_gates(resnet((1, 8, 8), depth=20, width=4), "block")
    assert sizes(gated) == {f"stage{stage}.{block}": 1 for stage in (1, 2, 3) for block in (0, 1, 2)}
    assert all(scale.eq(1).all() for scale in gates(gated).values())


def test_a_gate_multiplies_the_branch_and_not_the_shortcut():
    net = with_statistics(resnet((1, 8, 8), depth=8, width=4))
    gated = add_gates(net, "block")
    gates(gated)["stage2.0"].data.fill_(0.3)
    block, r = net.stage2[0], images().repeat(1, 4, 1, 1)
    branch = block.norm2(block.conv2(block.relu(block.norm1(block.conv1(r)))))
    torch.testing.assert_close(gated.stage2[0](r), (block.shortcut(r) + 0.3 * branch).relu())  # SSS-8


def test_channels_are_gated_only_where_they_can_go():
    assert sizes(add_gates(lenet5((1, 8, 8)), "channel")) == {"conv1": 20, "conv2": 50}
    # the last layer of a block, the stem and the shortcut are tied by the additions
    assert sizes(add_gates(resnet((1, 8, 8), depth=8, width=4), "channel")) == {
        "stage1.0.conv1": 4,
        "stage2.0.conv1": 8,
        "stage3.0.conv1": 16,
    }
    # the grouped convolution's inputs go by group, its outputs too; `expand` is tied
    with pytest.raises(ValueError, match="no channel"):
        add_gates(grouped_net(), "channel")


def test_groups_of_a_grouped_convolution_are_gated_behind_its_norm():
    gated = add_gates(grouped_net(), "group")
    assert sizes(gated) == {"1.grouped": 4}
    assert isinstance(gated[1].norm2, Gate)
    gates(gated)["1.grouped"].data = torch.tensor([1.0, 0.0, 2.0, 1.0])
    before, after = (net[1].norm2(torch.ones(1, 16, 2, 2)) for net in (grouped_net(), gated))
    torch.testing.assert_close(after, before * torch.tensor([1.0, 0, 2, 1]).repeat_interleave(4).view(1, -1, 1, 1))


def test_a_group_norm_ties_channels_but_not_blocks():
    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.branch = nn.Sequential(
                nn.Conv2d(4, 4, 3, padding=1), nn.GroupNorm(2, 4), nn.ReLU(), nn.Conv2d(4, 4, 1)
            )
            self.norm = nn.GroupNorm(2, 4)

        def forward(self, r):
            return r + self.norm(self.branch(r))

    net = nn.Sequential(nn.Conv2d(1, 4, 1), Block(), nn.Flatten(), nn.Linear(256, 2))
    assert sizes(add_gates(net, "block")) == {"1": 1}
    with pytest.raises(ValueError, match="no channel"):
        add_gates(net, "channel")


@pytest.mark.parametrize(
    ("make", "level"),
    [
        (lambda: resnet((1, 8, 8), depth=8, width=4), "block"),
        (lambda: resnet((1, 8, 8), depth=8, width=4), "channel"),
        (lambda: lenet5((1, 8, 8)), "channel"),
        (grouped_net, "block"),
        (grouped_net, "group"),
    ],
)
def test_open_gates_and_folded_gates_change_nothing(make, level):
    net = with_statistics(make())
    before = copy.deepcopy(net.state_dict())
    gated = add_gates(net, level)
    assert torch.equal(gated(images()), net(images()))
    generator = torch.Generator().manual_seed(1)
    for scale in gates(gated).values():
        scale.data.uniform_(-1, 1, generator=generator)
    outputs = gated(images())
    assert not torch.allclose(outputs, net(images()), rtol=1e-2)
    folded = fold_gates(gated)
    torch.testing.assert_close(folded(images()), outputs, rtol=1e-5, atol=1e-5)
    assert folded.state_dict().keys() == before.keys()
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def sizes_with(between):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.act = nn.Conv2d(1, 4, 1), nn.Conv2d(4, 2, 1), between

        def forward(self, x):
            return self.b(self.act(self.a(x)))

    try:
        return sizes(add_gates(Net(), "channel"))
    except ValueError:
        return {}


KEEP = [nn.ReLU(), nn.Hardtanh(), nn.Softsign(), nn.PReLU(), nn.Dropout2d(), nn.LPPool2d(2, 2), nn.MaxPool2d(2)]
KEEP += [torch.tanh, torch.relu_, lambda x: nn.functional.leaky_relu(input=x), lambda x: x.clamp(min=0), torch.abs]
LIFT = [nn.Sigmoid(), nn.Softplus(), nn.Hardtanh(0.5, 1), nn.Softmax2d(), nn.LocalResponseNorm(3), nn.AlphaDropout()]
LIFT += [torch.cos, lambda x: x.clamp(min=1), lambda x: x + 1, lambda x: x.flip(1), lambda x: x.cumsum(1)]


@pytest.mark.parametrize("between", KEEP)
def test_channels_are_gated_where_zeros_stay_zeros(between):
    assert sizes_with(between) == {"a": 4}


@pytest.mark.parametrize("between", LIFT)
def test_channels_are_not_gated_where_zeros_do_not_stay(between):
    assert sizes_with(between) == {}


def test_gates_of_a_copy_are_its_own():
    gated = add_gates(resnet((1, 8, 8), depth=8, width=4), "block")
    copied = copy.deepcopy(gated)
    gates(copied)["stage1.0"].data.zero_()
    assert gates(gated)["stage1.0"].item() == 1


def test_finding_where_gates_may_sit_leaves_no_trace_in_the_model():
    class Remembering(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.out, self.last = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 2, 1), None

        def forward(self, x):
            self.last = self.conv(x)
            return self.out(self.last)

    model = Remembering()
    gated = add_gates(model, "channel")
    assert sizes(gated) == {"conv": 4} and model.last is gated.last is None


def test_models_that_can_carry_no_gates_are_errors():
    net = resnet((1, 8, 8), depth=8, width=4)
    with pytest.raises(ValueError, match="level is 'layer', must be one of 'block', 'group', 'channel'"):
        add_gates(net, "layer")
    with pytest.raises(ValueError, match="has gates already"):
        add_gates(add_gates(net, "block"), "channel")
    with pytest.raises(ValueError, match="no group"):
        add_gates(net, "group")
    with pytest.raises(ValueError, match="no block"):
        add_gates(lenet_300_100((1, 8, 8)), "block")

    class Undecided(nn.Module):
        def forward(self, x):
            return x if x.sum() > 0 else -x

    with pytest.raises(ValueError, match="Undecided cannot be traced"):
        add_gates(Undecided(), "block")


def test_torchvision_models():
    models = pytest.importorskip("torchvision.models")
    with torch.device("meta"):  # shapes without memory
        resnext, vgg, plain = models.resnext50_32x4d(), models.vgg11_bn(), models.resnet18()
        assert len(gates(add_gates(plain, "block"))) == 8
        assert len(gates(add_gates(resnext, "block"))) == 16
        assert list(sizes(add_gates(resnext, "group")).values()) == [32] * 16
        assert list(sizes(add_gates(vgg, "channel")).values()) == [64, 128, 256, 256, 512, 512, 512, 512]
