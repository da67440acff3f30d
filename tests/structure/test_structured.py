"""Scores, choices and zeroed units against slow, written-out versions of themselves."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils import prune

from pruning_lib.structure.structured import choose_units, score_units, zero_units
from pruning_lib.workbench.models import lenet5, resnet

X = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def net():
    model = resnet(depth=8, width=4).eval()
    generator = torch.Generator().manual_seed(1)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            for t in (module.weight.data, module.bias.data, module.running_mean):
                t.copy_(torch.randn(t.shape, generator=generator))
    return model


@pytest.mark.parametrize(("norm", "power"), [("l1", 1), ("l2", 2)])
def test_filter_scores_are_norms(net, norm, power):
    scores = score_units(net, "filter", norm)
    assert len(scores) == 9
    for name, score in scores.items():
        weight = net.get_submodule(name).weight
        assert torch.allclose(score, torch.stack([w.abs().pow(power).sum() ** (1 / power) for w in weight]))


@pytest.mark.parametrize(("norm", "power"), [("l1", 1), ("l2", 2)])
def test_tied_layers_are_scored_together(net, norm, power):
    scores = score_units(net, "filter", norm, X)
    assert list(scores) == [
        "conv",
        "stage1.0.conv1",
        "stage2.0.conv1",
        "stage2.0.conv2",
        "stage3.0.conv1",
        "stage3.0.conv2",
    ]
    expected = sum(w.abs().pow(power).sum((1, 2, 3)) for w in (net.conv.weight, net.stage1[0].conv2.weight))
    assert torch.allclose(scores["conv"], expected ** (1 / power))


def test_channel_score_counts_everything_that_goes():
    model = lenet5()
    nn.init.normal_(model.conv2.bias)
    score = score_units(model, "channel", example_inputs=torch.rand(1, 1, 28, 28))["conv2"]
    readers = model.fc1.weight.view(500, 50, 16).abs().sum((0, 2))
    assert torch.allclose(score, model.conv2.weight.abs().sum((1, 2, 3)) + model.conv2.bias.abs() + readers)
    alone = score_units(model, "channel")["conv2"]
    assert torch.allclose(alone, model.conv2.weight.abs().sum((1, 2, 3)))


def test_neurons_leave_out_the_output():
    model = lenet5()
    assert list(score_units(model, "neuron")) == ["fc1", "fc2"]
    scores = score_units(model, "neuron", "l2", torch.rand(1, 1, 28, 28))
    assert list(scores) == ["fc1"]
    assert torch.allclose(scores["fc1"], model.fc1.weight.norm(dim=1))


@pytest.mark.parametrize("inputs", [None, torch.rand(2, 5, 12)])
@pytest.mark.parametrize("options", [{}, {"kdim": 12, "vdim": 12, "bias": False}])
def test_head_scores(inputs, options):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.attention = nn.MultiheadAttention(12, 3, batch_first=True, **options)

        def forward(self, x):
            return self.attention(x, x, x, need_weights=False)[0]

    model = Net()
    attention = model.attention
    if options:
        attention.q_proj_weight, attention.in_proj_weight = attention.q_proj_weight, attention.in_proj_weight
    score = score_units(model, "head", example_inputs=inputs)["attention"]
    packed = attention.in_proj_weight
    if packed is None:
        packed = torch.cat([attention.q_proj_weight, attention.k_proj_weight, attention.v_proj_weight])
    for head in range(3):
        rows = range(4 * head, 4 * head + 4)
        expected = sum(packed[12 * part + row].abs().sum() for part in range(3) for row in rows)
        expected = expected + sum(attention.out_proj.weight[:, row].abs().sum() for row in rows)
        assert torch.allclose(score[head], expected)


def test_block_scores(net):
    scores = score_units(net, "block", "l2", X)
    block = net.stage1[0]
    assert list(scores) == ["stage1.0"]
    assert torch.allclose(
        scores["stage1.0"], torch.cat([block.conv1.weight.flatten(), block.conv2.weight.flatten()]).norm()
    )
    with pytest.raises(ValueError, match="example_inputs is None"):
        score_units(net, "block")


def test_block_scores_leave_out_what_stays():
    class Late(nn.Module):
        def __init__(self):
            super().__init__()
            self.before, self.branch, self.norm = nn.Linear(4, 4), nn.Linear(4, 4), nn.BatchNorm1d(4)

        def forward(self, r):
            r = self.before(r)
            return r + self.branch(r)

    class Bare(Late):
        def forward(self, r):
            return r + self.norm(r)

    model = nn.Sequential(nn.Linear(3, 4), Late(), Bare(), nn.Linear(4, 2)).eval()
    for norm, power in ("l1", 1), ("l2", 2):
        scores = score_units(model, "block", norm, torch.rand(2, 3))
        assert list(scores) == ["1", "2"] and scores["2"].tolist() == [0]  # a norm has no weights that count
        assert torch.allclose(scores["1"], model[1].branch.weight.norm(power))


def test_bad_requests(net):
    with pytest.raises(ValueError, match="unit is 'row'"):
        score_units(net, "row")
    with pytest.raises(ValueError, match="norm is 'l3'"):
        score_units(net, norm="l3")
    with pytest.raises(ValueError, match="none that can go"):
        score_units(net, "head")
    net.conv.weight.data[0, 0, 0, 0] = float("nan")
    with pytest.raises(ValueError, match=r"scores\['conv'\] contains nan"):
        score_units(net)


def chosen_by_hand(scores, sparsity, scope):
    """One unit at a time, the plain way."""
    drop = {name: set() for name in scores}
    for pool in [[name] for name in scores] if scope == "layer" else [list(scores)]:
        units = sum(len(scores[name]) for name in pool)
        for _ in range(units - round(units * (1 - sparsity))):
            left = [
                (scores[name][k], -list(scores).index(name), -k)
                for name in pool
                for k in range(len(scores[name]))
                if k not in drop[name] and len(drop[name]) < len(scores[name]) - 1
            ]
            if left:
                _, layer, k = min(left)
                drop[list(scores)[-layer]].add(-k)
    return {name: sorted(indices) for name, indices in drop.items() if indices}


@settings(deadline=None, max_examples=60, derandomize=True)
@given(
    st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=6), min_size=1, max_size=4),
    st.floats(0, 1),
    st.sampled_from(["layer", "global"]),
)
def test_choice_is_the_greedy_one(values, sparsity, scope):
    scores = {f"layer{i}": [float(v) for v in layer] for i, layer in enumerate(values)}
    drop = choose_units({name: torch.tensor(layer) for name, layer in scores.items()}, sparsity, scope)
    assert {name: index.tolist() for name, index in drop.items()} == chosen_by_hand(scores, sparsity, scope)


def test_blocks_count_as_one_layer(net):
    model = resnet(depth=20, width=4).eval()
    scores = score_units(model, "block", example_inputs=X)
    for scope in ("layer", "global"):
        drop = choose_units(scores, 0.5, scope)
        assert len(drop) == len(scores) - round(len(scores) / 2)
        assert max(scores[name] for name in drop) <= min(scores[name] for name in scores if name not in drop)
        assert len(choose_units(scores, 1.0, scope)) == len(scores) - 1


def test_tied_indices_are_chosen_whole():
    model = nn.Sequential(nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 1, groups=4), nn.Conv2d(8, 2, 1))
    scores = score_units(model, example_inputs=X)
    assert list(scores) == ["0"]
    for sparsity in (0.1, 0.25, 0.4, 0.7, 1.0):
        drop = choose_units(scores, sparsity).get("0", torch.zeros(0)).tolist()
        assert len(drop) == 2 * min(int(round(8 * sparsity) / 2), 3)
        assert all(k ^ 1 in drop for k in drop)


class Overlapping(nn.Module):
    """c is as wide as a and b together, and added to them; `first` says which runs first."""

    def __init__(self, first):
        super().__init__()
        self.a, self.b, self.c = nn.Linear(3, 2), nn.Linear(3, 6), nn.Linear(3, 8)
        self.out, self.first = nn.Linear(8, 2), first

    def forward(self, x):
        if self.first == "c":
            return self.out(self.c(x) + torch.cat([self.a(x), self.b(x)], -1))
        return self.out(torch.cat([self.a(x), self.b(x)], -1) + self.c(x))


@pytest.mark.parametrize("scope", ["layer", "global"])
@pytest.mark.parametrize("first", ["c", "ab"])
def test_no_layer_is_emptied_under_another_name(first, scope):
    model, x = Overlapping(first), torch.rand(2, 3)
    for linear in (model.a, model.c):
        linear.weight.data[:2] *= 1e-3  # the two units of a are the smallest ones
    scores = score_units(model, "neuron", example_inputs=x)
    assert list(scores) == list(first)
    for sparsity in (0.25, 0.5, 1.0):
        zero_units(copy.deepcopy(model), choose_units(scores, sparsity, scope), x)  # would refuse to empty a


@pytest.mark.parametrize(
    ("scores", "sparsity", "scope", "message"),
    [
        ({"a": torch.ones(2)}, 1.5, "layer", "sparsity is 1.5"),
        ({"a": torch.ones(2)}, 0.5, "model", "scope is 'model'"),
        ({}, 0.5, "layer", "scores is empty"),
        ({"a": torch.tensor([float("inf"), 0])}, 0.5, "layer", "contains inf"),
        ({"a": torch.ones(2, 2)}, 0.5, "layer", r"shape \(2, 2\)"),
    ],
)
def test_bad_choices(scores, sparsity, scope, message):
    with pytest.raises(ValueError, match=message):
        choose_units(scores, sparsity, scope)


def changed(model, before):
    return {name for name, t in model.state_dict().items() if not torch.equal(t, before[name])}


def test_zeroing_alone_reaches_the_norm_behind(net):
    before = copy.deepcopy(net.state_dict())
    zero_units(net, {"stage1.0.conv1": torch.tensor([1, 3])})
    prefix = "stage1.0."
    assert changed(net, before) == {
        prefix + name for name in ("conv1.weight", "norm1.weight", "norm1.bias", "norm1.running_mean")
    }
    block = net.stage1[0]
    for t in (block.conv1.weight, block.norm1.weight, block.norm1.bias, block.norm1.running_mean):
        assert (t[[1, 3]] == 0).all() and (t[[0, 2]] != 0).any()
    assert torch.equal(block.norm1.running_var, before["stage1.0.norm1.running_var"])


def test_zeroed_group_is_silent_everywhere(net):
    zero_units(net, {"stage1.0.conv2": torch.tensor([2])}, X)  # tied to the stem: both go
    seen = {}
    for name in ("norm", "stage1.0.norm2", "stage1.0"):
        net.get_submodule(name).register_forward_hook(lambda m, args, out, name=name: seen.update({name: out}))
    net(X)
    assert len(seen) == 3
    for out in seen.values():
        silent = (out == 0).all(0).flatten(1).all(1)
        assert silent[2] and not silent.all()


def test_zeroing_with_inputs_reaches_every_norm_entry(net):
    zero_units(net, {"stage1.0.conv2": [2]}, X)
    for norm in (net.norm, net.stage1[0].norm2):
        for t in (norm.weight, norm.bias, norm.running_mean):
            assert (t == 0).tolist() == [False, False, True, False]
        assert (norm.running_var != 0).all()


def test_tied_layers_named_with_different_indices_give_the_union(net):
    zero_units(net, {"conv": [0], "stage1.0.conv2": [3]}, X)
    for weight in (net.conv.weight, net.stage1[0].conv2.weight):
        assert [bool((w == 0).all()) for w in weight] == [True, False, False, True]


def test_zeroed_block_is_its_shortcut(net):
    zero_units(net, {"stage1.0": torch.tensor([0])}, X)
    r = torch.rand(2, 4, 5, 5)
    assert torch.equal(net.stage1[0](r), torch.relu(r))


@pytest.mark.parametrize("inputs", [None, torch.rand(2, 5, 12)])
def test_zeroed_head_adds_nothing(inputs):
    layer = nn.TransformerEncoderLayer(12, 3, 8, batch_first=True).eval()
    nn.init.normal_(layer.self_attn.in_proj_bias)
    zero_units(layer, {"self_attn": torch.tensor([1])}, inputs)
    attention = layer.self_attn
    rows = torch.arange(4, 8)
    for part in range(3):
        assert (attention.in_proj_weight[rows + 12 * part] == 0).all()
        assert (attention.in_proj_bias[rows + 12 * part] == 0).all()
    assert (attention.out_proj.weight[:, rows] == 0).all()
    assert int((attention.in_proj_weight == 0).sum()) == 3 * 4 * 12
    assert int((attention.out_proj.weight == 0).sum()) == 4 * 12


@pytest.mark.parametrize("inputs", [None, X])
@pytest.mark.parametrize(
    ("units", "message"),
    [
        ({"nowhere": [0]}, "'nowhere', which is no module"),
        ({"conv": [4]}, r"holds 4, must be in \[0, 4\)"),
        ({"conv": [-1]}, "holds -1"),
        ({"conv": [1, 1]}, "an index twice"),
        ({"conv": [0, 1, 2, 3]}, "all 4 units"),
        ({"conv": [0.5]}, "torch.float32"),
        ({"conv": torch.tensor([True, False, False, False])}, "torch.bool"),
        ({"conv": [[0]]}, "list of indices"),
        ({"conv": [0], "norm": [0]}, "'norm'"),
    ],
)
def test_bad_units_change_nothing(net, inputs, units, message):
    before = copy.deepcopy(net.state_dict())
    with pytest.raises(ValueError, match=message):
        zero_units(net, units, inputs)
    assert not changed(net, before)


def test_impossible_units_say_why(net):
    for units, message in [
        ({"fc": [0]}, "feeds the model's output"),
        ({"stage2.0": [0]}, "not the identity"),
        ({"conv": [0, 1], "stage1.0.conv2": [2, 3]}, "all 4 units"),
    ]:
        with pytest.raises(ValueError, match=message):
            zero_units(net, units, X)
    with pytest.raises(ValueError, match="give example_inputs for a residual block"):
        zero_units(net, {"stage1.0": [0]})


def test_norm_called_by_keyword_is_zeroed_too():
    class Keyword(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.norm = nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)

        def forward(self, x):
            return self.norm(input=self.conv(input=x))

    model = Keyword()
    nn.init.ones_(model.norm.bias)
    zero_units(model, {"conv": [1]})
    assert model.norm.weight.tolist() == model.norm.bias.tolist() == [1, 0, 1, 1]


def test_untraceable_model_asks_for_inputs():
    class Branching(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(3, 4), nn.Linear(4, 2)

        def forward(self, x):
            h = self.a(x)
            return self.b(h if h.sum() > 0 else -h)

    with pytest.raises(ValueError, match=r"'a' .*Branching .*give example_inputs"):
        zero_units(Branching(), {"a": [0]})
    model = Branching()
    with pytest.raises(ValueError, match="sum"):  # what decides by values cannot be followed either
        zero_units(model, {"a": [0]}, torch.rand(2, 3))


def test_a_computed_weight_is_named_and_nothing_is_zeroed():
    model = nn.Sequential(nn.Linear(3, 4), nn.utils.parametrizations.weight_norm(nn.Linear(4, 2)))
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(ValueError, match=r"'1' is computed from other tensors"):
        zero_units(model, {"0": [1], "1": [0]})
    assert all(torch.equal(t, before[name]) for name, t in model.state_dict().items())


def test_a_heads_parts_are_scored_and_zeroed_alike():
    torch.manual_seed(0)
    for attention in (nn.MultiheadAttention(6, 3), nn.MultiheadAttention(6, 2, kdim=5, vdim=4, bias=False)):
        model = nn.ModuleDict({"attention": attention}).double()
        scores = score_units(model, "head")["attention"]
        before = sum(t.abs().sum() for t in model.parameters() if t.ndim > 1)
        zero_units(model, {"attention": [1]})
        gone = before - sum(t.abs().sum() for t in model.parameters() if t.ndim > 1)
        torch.testing.assert_close(scores[1], gone.detach())
        torch.testing.assert_close(scores.sum(), before.detach())


def test_zeroing_alone_leaves_no_trace_in_the_model():
    seen = []

    class Remembering(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.norm, self.calls, self.last = nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), 0, None
            self.register_buffer("count", torch.zeros(()))

        def forward(self, x):
            self.calls += 1
            self.count += 1
            self.last = self.norm(self.conv(x))
            return self.last

    net = nn.Sequential(Remembering(), nn.Conv2d(4, 2, 1))
    net[0].register_forward_hook(lambda module, args, out: seen.append(out))
    prune.l1_unstructured(net[1], "weight", 0.5)
    zero_units(net, {"0.conv": [1]})
    assert not net[0].norm.weight[1] and net[0].norm.weight[0] == 1
    assert (net[0].calls, net[0].last, net[0].count.item(), seen) == (0, None, 0, [])
    net(torch.ones(1, 3, 2, 2))
    assert net[0].calls == len(seen) == 1
