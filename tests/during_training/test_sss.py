"""Training gates, seeing what closes, and taking it out for real."""

import copy
import math

import pytest
import torch
from gated_nets import grouped_net, images, with_statistics
from torch import nn

from pruning_lib.during_training import sss
from pruning_lib.workbench.models import ResidualBlock, lenet5, resnet


def gated_resnet(level, closed, depth=14):
    gated = sss.add_gates(with_statistics(resnet((1, 8, 8), depth=depth, width=4)), level)
    generator = torch.Generator().manual_seed(1)
    for name, scale in sss.gates(gated).items():
        scale.data.uniform_(0.5, 1.5, generator=generator)
        scale.data[closed.get(name, [])] = 0
    return gated


def count(model):
    return sum(parameter.numel() for parameter in model.parameters())


def assert_same_outputs(small, gated):
    expected = gated(images(7))
    assert (small(images(7)) - expected).abs().max() <= 1e-5 * expected.abs().max()
    assert not any(isinstance(module, sss.Gate) for module in small.modules())


def test_closed_lists_exact_zeros_only():
    gated = gated_resnet("channel", {"stage1.0.conv1": [0, 3]})
    sss.gates(gated)["stage2.0.conv1"].data[1] = 1e-30
    assert {name: indices.tolist() for name, indices in sss.closed(gated).items()} == {"stage1.0.conv1": [0, 3]}


def test_closed_blocks_are_gone_and_the_shortcut_stays():
    gated = gated_resnet("block", {"stage1.1": [0], "stage2.0": [0], "stage2.1": [0]})
    before = copy.deepcopy(gated.state_dict())
    small = sss.remove_closed(gated, images())
    assert_same_outputs(small, gated)
    assert sum(isinstance(module, ResidualBlock) for module in small.modules()) == 3
    names = [name for name, _ in small.named_parameters() if name.startswith("stage2.")]
    assert names == [f"stage2.0.shortcut.{name}" for name in ("conv.weight", "norm.weight", "norm.bias")]
    assert not [name for name, _ in small.named_parameters() if name.startswith("stage1.1")]
    assert all(torch.equal(value, before[name]) for name, value in gated.state_dict().items())


def test_all_blocks_may_close():
    gated = gated_resnet("block", {f"stage{stage}.{block}": [0] for stage in (1, 2, 3) for block in (0, 1)})
    small = sss.remove_closed(gated, images())
    assert_same_outputs(small, gated)
    assert [name for name, module in small.named_modules() if isinstance(module, nn.Conv2d)] == [
        "conv",
        "stage2.0.shortcut.conv",
        "stage3.0.shortcut.conv",
    ]


def test_a_small_model_can_be_saved_trained_and_pruned_again(tmp_path):
    small = sss.remove_closed(gated_resnet("block", {"stage2.0": [0], "stage3.1": [0]}), images())
    torch.save(small.state_dict(), tmp_path / "small.pt")
    again = copy.deepcopy(small)
    again.load_state_dict(torch.load(tmp_path / "small.pt", weights_only=True))
    assert torch.equal(again(images()), small(images()))
    small.train()(images()).sum().backward()
    assert all(parameter.grad is not None for parameter in small.parameters())
    assert set(sss.gates(sss.add_gates(again, "block"))) == {"stage1.0", "stage1.1", "stage2.1", "stage3.0"}


class PreActivation(nn.Module):
    """A block whose shortcut and branch share a norm and an activation; `relu_behind` uses that once more."""

    def __init__(self, relu_behind=False):
        super().__init__()
        self.norm1, self.relu, self.shortcut = nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 6, 1, stride=2)
        self.conv1, self.norm2 = nn.Conv2d(4, 5, 3, stride=2, padding=1), nn.BatchNorm2d(5)
        self.conv2, self.relu_behind = nn.Conv2d(5, 6, 3, padding=1), relu_behind

    def forward(self, x):
        x = self.relu(self.norm1(x))
        x = self.shortcut(x) + self.conv2(self.relu(self.norm2(self.conv1(x))))
        return self.relu(x) if self.relu_behind else x


def closed_pre_activation(**options):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 4, 3), PreActivation(**options), nn.Flatten(), nn.Linear(54, 2))
    gated = sss.add_gates(with_statistics(net), "block")
    sss.gates(gated)["1"].data.zero_()
    return gated


def test_what_a_shortcut_shares_with_its_closed_branch_stays():
    gated = closed_pre_activation()
    small = sss.remove_closed(gated, images())
    assert_same_outputs(small, gated)
    assert list(small[1]._modules) == ["norm1", "relu", "shortcut"]


def test_a_step_that_comes_twice_is_refused_and_never_left_out():
    with pytest.raises(ValueError, match="cannot be removed"):
        sss.remove_closed(closed_pre_activation(relu_behind=True), images())


def test_closed_channels_leave_both_convolutions():
    gated = gated_resnet("channel", {"stage1.0.conv1": [0, 3], "stage3.1.conv1": [2]})
    small = sss.remove_closed(gated, images())
    assert_same_outputs(small, gated)
    assert small.stage1[0].conv1.weight.shape == (2, 4, 3, 3) and small.stage1[0].conv2.weight.shape == (4, 2, 3, 3)
    assert small.stage3[1].conv1.weight.shape == (15, 16, 3, 3) and small.stage3[1].conv2.weight.shape == (16, 15, 3, 3)
    assert small.stage2[0].conv1.weight.shape == (8, 4, 3, 3)


def test_channels_without_a_norm_take_the_linear_layers_inputs_along():
    net = lenet5((1, 8, 8))
    for name, parameter in net.named_parameters():
        if name.endswith("bias"):
            nn.init.normal_(parameter, generator=torch.Generator().manual_seed(0))
    gated = sss.add_gates(net, "channel")
    scales = sss.gates(gated)
    scales["conv1"].data[:] = torch.linspace(-1, 1, 20)
    scales["conv1"].data[4], scales["conv2"].data[10:30] = 0, 0
    small = sss.remove_closed(gated, images())
    assert_same_outputs(small, gated)
    assert small.conv1.out_channels == 19 and small.conv2.weight.shape[:2] == (30, 19)
    assert small.fc1.in_features * 50 == gated.fc1.in_features * 30


def test_closed_groups_are_gone_with_what_feeds_them():
    gated = sss.add_gates(grouped_net(), "group")
    sss.gates(gated)["1.grouped"].data = torch.tensor([0.5, 0.0, 2.0, 0.0])
    small = sss.remove_closed(gated, images())
    assert_same_outputs(small, gated)
    assert small[1].grouped.groups == 2 and small[1].grouped.weight.shape == (8, 3, 3, 3)
    assert small[1].reduce.out_channels == 6 and small[1].expand.in_channels == 8


@pytest.mark.parametrize(
    ("level", "make", "name", "left"),
    [
        ("channel", lambda: resnet((1, 8, 8), depth=8, width=4), "stage2.0.conv1", 1),
        ("group", grouped_net, "1.grouped", 4),
    ],
)
def test_a_layer_that_closed_altogether_keeps_one_part_and_says_so(level, make, name, left):
    gated = sss.add_gates(with_statistics(make()), level)
    sss.gates(gated)[name].data.zero_()
    with pytest.warns(UserWarning, match=f"all gates of '{name}' are closed"):
        small = sss.remove_closed(gated, images())
    assert_same_outputs(small, gated)
    assert small.get_submodule(name).out_channels == left


def test_open_gates_are_folded_even_if_nothing_closed():
    gated = gated_resnet("block", {})
    small = sss.remove_closed(gated, images())
    assert_same_outputs(small, gated)
    assert count(small) == count(gated) - 6


def test_a_model_without_gates_is_an_error():
    net = resnet((1, 8, 8), depth=8, width=4)
    for call in (sss.closed, lambda m: sss.remove_closed(m, images()), lambda m: train(m)):
        with pytest.raises(ValueError, match="has no gates"):
            call(net)


# Training


def task(seed=0):
    """Batches in which the class is the brighter half of the image."""
    inputs = torch.randn(64, 1, 8, 8, generator=torch.Generator().manual_seed(seed))
    targets = (inputs[..., :4].mean((1, 2, 3)) > inputs[..., 4:].mean((1, 2, 3))).long()
    return list(zip(inputs.split(16), targets.split(16), strict=True))


def train(model, batches=None, **options):
    options = {"gamma": 0.5, "lr": 0.05, "epochs": 6, "seed": 0, "progress": False, **options}
    return sss.train_gates(model, task() if batches is None else batches, **options)


def small_gated():
    return sss.add_gates(resnet((1, 8, 8), classes=2, depth=14, width=4), "block")


def test_gates_close_while_training_and_the_small_model_is_the_same():
    gated = small_gated()
    start = {name: value.clone() for name, value in gated.state_dict().items()}
    history = train(gated, lr=lambda epoch: 0.05 if epoch < 5 else 0.005)
    closed = sss.closed(gated)
    assert closed
    assert len(history.losses) == 6 and len(history.scales) == 7
    assert history.losses[-1] < history.losses[0]
    assert all(value.eq(1).all() for value in history.scales[0].values())
    # the parameters hold the true λ of the last epoch
    assert all(torch.equal(history.scales[-1][name], scale.detach()) for name, scale in sss.gates(gated).items())
    when = history.closed_at()
    assert {name for name, epoch in when.items() if epoch >= 0} == set(closed)
    for name, epoch in when.items():
        if epoch >= 0:
            assert all(scales[name] == 0 for scales in history.scales[int(epoch) :])
            assert history.scales[int(epoch) - 1][name] != 0
    assert f"{len(closed)} of 6 gates closed (after epochs" in history.summary()
    assert any(not torch.equal(value, start[name]) for name, value in gated.state_dict().items() if "conv" in name)
    assert gated.training and all(parameter.grad is None for parameter in gated.parameters())
    gated.eval()
    assert_same_outputs(sss.remove_closed(gated, images()), gated)


def test_same_seed_same_result_and_the_global_random_state_stays():
    def once(seed):
        torch.manual_seed(5)
        inner = nn.Sequential(nn.Dropout(0.5), resnet((1, 8, 8), classes=2, depth=8, width=4))
        gated = sss.add_gates(inner, "block")
        state = torch.get_rng_state()
        history = train(gated, epochs=2, seed=seed)
        assert torch.equal(torch.get_rng_state(), state)
        return history.losses

    with pytest.warns(UserWarning, match="0 of 3 gates closed"):
        assert once(0) == once(0) != once(1)


def test_gates_that_never_close_are_reported():
    with pytest.warns(UserWarning, match=r"0 of 6 gates closed; the open ones have λ from .* is gamma = 0.0 too small"):
        history = train(small_gated(), gamma=0.0, epochs=1)
    assert all(epoch == -1 for epoch in history.closed_at().values())


def test_the_epoch_of_closing_is_the_last_one():
    scales = [{"a": torch.tensor(values)} for values in ([1.0, 1, 1, 1], [0.5, 0, 0, 1], [0, 0.1, 0, 1], [0, 0, 0, 1])]
    history = sss.History([0.0] * 3, scales)
    assert history.closed_at()["a"].tolist() == [2, 3, 1, -1]
    assert history.summary() == "3 of 4 gates closed (after epochs 1 to 3); the open ones have λ from 1 to 1 in size"


def test_only_weights_decay():
    """With loss 0 the weights shrink and the gates stay."""
    gated = small_gated()
    before = copy.deepcopy(gated.state_dict())
    with pytest.warns(UserWarning, match="0 of 6"):
        train(
            gated, gamma=0.0, epochs=1, momentum=0.0, weight_decay=0.1, loss=lambda outputs, targets: 0 * outputs.sum()
        )
    torch.testing.assert_close(gated.fc.weight.detach(), before["fc.weight"] * (1 - 0.05 * 0.1) ** 4)
    assert all(scale.eq(1).all() for scale in sss.gates(gated).values())


def test_each_module_gets_its_own_mode_back():
    gated = small_gated().train()
    gated.stage1.eval()
    modes = [module.training for module in gated.modules()]
    with pytest.warns(UserWarning, match="0 of 6"):
        train(gated, gamma=0.0, epochs=1)
    assert [module.training for module in gated.modules()] == modes


def test_batches_may_be_a_function_of_the_epoch_and_inputs_a_tuple_or_dict():
    seen = []

    def batches(epoch):
        seen.append(epoch)
        return [((inputs,), targets) if epoch else ({"input": inputs}, targets) for inputs, targets in task(epoch)]

    train(small_gated(), batches, epochs=2, gamma=5.0)
    assert seen == [0, 1]


@pytest.mark.parametrize(
    ("batches", "options", "message"),
    [
        (None, {"epochs": 0}, "epochs is 0"),
        (None, {"gamma": -1.0}, "gamma of parameter group 0 is -1.0"),
        (None, {"lr": 0.0}, "lr of parameter group 0 is 0.0"),
        (None, {"momentum": 1.0}, "momentum of parameter group 0 is 1.0"),
        ([], {}, "batches is empty"),
        (task()[0][0], {}, "batches is a tensor of shape"),
        ([(task()[0][0], None)], {}, "targets is None"),
        ([task()[0], task()[0][0]], {}, "batch is a tensor of shape .* must be a pair"),
        (None, {"loss": lambda outputs, targets: outputs.sum(1)}, "loss is a tensor of shape .* must be a scalar"),
        (iter(task()), {}, "batches is an iterator"),
        ([*task()[:2], (task()[0][0] * math.nan, task()[0][1])], {}, "loss is nan"),
        (None, {"lr": 1e30}, "must be finite|no longer finite"),
    ],
)
def test_an_error_leaves_the_model_as_it_was(batches, options, message):
    gated = small_gated().eval()
    before = copy.deepcopy(gated.state_dict())
    with pytest.raises(ValueError, match=message):
        train(gated, batches, **options)
    assert all(torch.equal(value, before[name]) for name, value in gated.state_dict().items())
    assert not gated.training and all(parameter.grad is None for parameter in gated.parameters())
