"""What the dependency graph ties together, what it keeps and why."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from pruning_lib.structure.graph import Graph
from pruning_lib.structure.tracing import trace
from pruning_lib.workbench.models import resnet


class Net(nn.Module):
    """conv a → `middle` → conv b → mean → fc, to put one function between two convolutions."""

    def __init__(self, middle=lambda net, x: x, between=8, **modules):
        super().__init__()
        self.a = nn.Conv2d(3, 8, 3)
        self.b = nn.Conv2d(between, 4, 3)
        self.fc = nn.Linear(4, 2)
        self.middle = middle
        for name, module in modules.items():
            setattr(self, name, module)

    def forward(self, x):
        return self.fc(self.b(self.middle(self, self.a(x))).mean((2, 3)))


def tied(graph: Graph, *names: str) -> bool:
    roots = [graph.roots(graph.layers[name].ids) for name in names]
    return all(torch.equal(roots[0], other) for other in roots[1:])


def reason(net: nn.Module, name: str = "a", x=None):
    graph = trace(net, torch.rand(2, 3, 9, 9) if x is None else x)
    return graph.reason(graph.layers[name].ids)


def test_residual_addition_ties_stage():
    graph = trace(resnet(depth=8), torch.rand(1, 3, 16, 16))
    assert tied(graph, "conv", "stage1.0.conv2")
    assert tied(graph, "stage2.0.conv2", "stage2.0.shortcut.conv")
    assert not tied(graph, "conv", "stage1.0.conv1")
    assert graph.reason(graph.layers["fc"].ids) == "it feeds the model's output"
    assert {name for name, block in graph.blocks.items() if block.refusal is None} == {"stage1.0"}
    assert "not the identity" in graph.blocks["stage2.0"].refusal
    assert graph.blocks["stage1.0"].steps == ["relu"]
    assert graph.blocks["stage1.0"].last == ["stage1.0.norm2.weight", "stage1.0.norm2.bias"]


def test_concatenation_keeps_units_apart_and_flatten_repeats_them():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.fc = nn.Conv2d(1, 2, 1), nn.Conv2d(1, 3, 1), nn.Linear(5 * 4, 2)

        def forward(self, x):
            return self.fc(torch.cat([self.a(x), self.b(x)], 1).flatten(1))

    graph = trace(Two(), torch.rand(2, 1, 2, 2))
    ids = torch.cat([graph.layers["a"].ids, graph.layers["b"].ids])
    assert len(graph.roots(ids).unique()) == 5
    assert graph.slots["fc.weight", 1].ids.tolist() == ids.repeat_interleave(4).tolist()


def test_depthwise_and_grouped_convolution():
    net = Net(lambda net, x: net.deep(x), deep=nn.Conv2d(8, 16, 3, padding=1, groups=8), between=16)
    graph = trace(net, torch.rand(2, 3, 9, 9))
    a, deep = graph.roots(graph.layers["a"].ids), graph.roots(graph.layers["deep"].ids)
    assert torch.equal(a.repeat_interleave(2), deep)
    net = Net(lambda net, x: net.deep(x), deep=nn.Conv2d(8, 4, 3, groups=2), between=4)
    graph = trace(net, torch.rand(2, 3, 9, 9))
    a, deep = graph.roots(graph.layers["a"].ids), graph.roots(graph.layers["deep"].ids)
    assert len(a.unique()) == 2 and torch.equal(a, deep.repeat_interleave(2))


def test_squeeze_excite_written_with_sizes():
    class Gate(nn.Module):
        def __init__(self):
            super().__init__()
            self.pool, self.down, self.up = nn.AdaptiveAvgPool2d(1), nn.Linear(8, 3), nn.Linear(3, 8)

        def forward(self, x):
            b, c, _, _ = x.size()
            y = torch.sigmoid(self.up(F.relu(self.down(self.pool(x).view(b, c)))))
            return x * y.view(b, c, 1, 1).expand_as(x)

    graph = trace(Net(lambda net, x: net.gate(x), gate=Gate()), torch.rand(2, 3, 9, 9))
    assert tied(graph, "a", "gate.up")
    assert graph.reason(graph.layers["a"].ids) is None and graph.reason(graph.layers["gate.down"].ids) is None


@pytest.mark.parametrize(
    ("middle", "why"),
    [
        (lambda net, x: torch.sigmoid(x), "sigmoid"),
        (lambda net, x: F.hardtanh(x, 0.5, 1.0), "hardtanh"),
        (lambda net, x: x + 1.0, "add"),
        (lambda net, x: F.pad(x, (1, 1), value=2.0), "pad"),
        (lambda net, x: x.softmax(1), "softmax"),
        (lambda net, x: x.cumsum(1), "cumsum"),
        (lambda net, x: x.view(-1, 8, 49).view(-1, 8, 7, 7), "view"),
        (lambda net, x: x.flip(1), "flip"),
        (lambda net, x: x - x.mean(1, keepdim=True), "mean"),
        (lambda net, x: x * torch.arange(8.0)[:, None, None], "mul"),
        (lambda net, x: F.layer_norm(x, (8, 7, 7)), "layer norm"),
        (lambda net, x: F.group_norm(x, 1), "group_norm"),
        (lambda net, x: x + x[:1], "getitem"),
    ],
)
def test_what_cannot_be_followed_is_named(middle, why):
    if why == "getitem":  # along another axis than the channels' an index is harmless
        assert reason(Net(middle)) is None
    else:
        assert why in reason(Net(middle))


def test_slice_of_channels_and_tensors_from_nowhere():
    assert "getitem" in reason(Net(lambda net, x: x[:, :4], between=4))
    constant = torch.ones(1)
    assert "unknown origin" in reason(Net(lambda net, x: x * constant))
    assert "numpy" in reason(Net(lambda net, x: torch.from_numpy(x.numpy())))


@pytest.mark.parametrize(
    "middle",
    [
        F.relu,
        F.gelu,
        F.silu,
        torch.tanh,
        lambda x: x.clamp(-1, 1),
        lambda x: F.max_pool2d(x, 2, 1, 1),
        lambda x: F.avg_pool2d(x, 3, 1),
        lambda x: F.interpolate(x, scale_factor=2),
        lambda x: x.permute(0, 2, 3, 1).relu().permute(0, 3, 1, 2),
        lambda x: x.reshape(x.shape[0], x.shape[1], -1)[:, :, :, None],
        lambda x: (x * torch.sigmoid(x) / 2.0).mul_(3.0),
        lambda x: x.unsqueeze(-1).squeeze(-1).contiguous(),
        lambda x: x * x.mean((2, 3), keepdim=True),
    ],
)
def test_what_can_be_followed(middle):
    net = Net(lambda net, x: middle(x))
    net.b = nn.Conv2d(8, 4, 1)
    assert reason(net) is None


def test_norm_makes_zero_what_a_sigmoid_has_lifted():
    norm = nn.BatchNorm2d(8)
    assert reason(Net(lambda net, x: net.norm(x.sigmoid()), norm=norm)) is None
    norm = nn.BatchNorm2d(8, affine=False)
    assert "sigmoid" in reason(Net(lambda net, x: net.norm(x.sigmoid()), norm=norm))


def test_reasons_survive_a_tie():
    graph = Graph()
    ids = graph.fresh(4)
    graph.block(ids[3:], "because")
    graph.tie(ids[:2], ids[2:], "")
    graph.close()
    assert graph.reason(ids[:1]) is None and graph.reason(ids[1:2]) == "because"
    assert graph.roots(ids).tolist() == [0, 1, 0, 1]


def test_shared_layer_ties_its_two_uses():
    class Shared(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.out = nn.Linear(3, 6), nn.Linear(6, 6), nn.Linear(6, 2)

        def forward(self, x):
            return self.out(self.b(torch.relu(self.b(torch.relu(self.a(x))))))

    graph = trace(Shared(), torch.rand(2, 3))
    assert tied(graph, "a", "b")


def test_model_and_inputs_are_left_alone():
    net = Net(lambda net, x: net.norm(x), norm=nn.BatchNorm2d(8)).train()
    x = torch.rand(2, 3, 9, 9)
    before = {name: t.clone() for name, t in net.state_dict().items()}
    trace(net, {"x": x})
    assert net.training and not hasattr(x, "_trail")
    assert all(torch.equal(t, before[name]) for name, t in net.state_dict().items())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in net.modules())


HOOKS = {
    "on the root, before": lambda net: net.register_forward_pre_hook(lambda m, args: (args[0].abs() * 2,)),
    "on the root, with keywords": lambda net: net.register_forward_pre_hook(
        lambda m, args, kwargs: (tuple(t * 2 for t in args), kwargs), with_kwargs=True
    ),
    "on the root, that only looks": lambda net: net.register_forward_pre_hook(
        lambda m, args: print(args[0].mean()), prepend=True
    ),
    "on the root, behind": lambda net: net.register_forward_hook(lambda m, args, out: out.exp()),
    "on the root, always": lambda net: net.register_forward_hook(lambda m, args, out: out * 2, always_call=True),
    "on a layer, before": lambda net: net.b.register_forward_pre_hook(lambda m, args: (args[0].tanh(),)),
    "on a layer, behind": lambda net: net.a.register_forward_hook(lambda m, args, out: out.relu()),
}


@pytest.mark.parametrize("name", HOOKS)
def test_hooks_are_followed(name):
    net = Net()
    HOOKS[name](net)
    assert reason(net) is None
    assert reason(net, "fc") == "it feeds the model's output"


@pytest.mark.parametrize("name", HOOKS)
def test_hooks_of_all_modules_are_followed(name):
    net = Net()
    HOOKS[name](net)
    before = nn.modules.module.register_module_forward_pre_hook(lambda m, args: (args[0] * 1.5,))
    behind = nn.modules.module.register_module_forward_hook(lambda m, args, out: out * 1.5)
    try:
        assert reason(net) is None
    finally:
        before.remove()
        behind.remove()


def test_what_a_hook_lifts_or_brings_along_is_named():
    net = Net()
    net.b.register_forward_pre_hook(lambda m, args: (args[0] + 1,))
    assert "add in 'Net' turns its zeros into something else" in reason(net)
    net = Net()
    net.a.register_forward_hook(lambda m, args, out: out.sigmoid())
    assert "sigmoid in 'a'" in reason(net)
    constant = torch.ones(1, 2)
    net = Net()
    net.register_forward_hook(lambda m, args, out: constant)
    assert "unknown origin" in reason(net)


def test_a_layer_that_raises_may_be_caught():
    class Careful(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.wrong = nn.Linear(3, 4), nn.Linear(4, 2), nn.Linear(5, 5)

        def forward(self, x):
            h = self.a(x)
            try:
                h = self.wrong(h)
            except RuntimeError:
                h = h.relu()
            return self.b(h)

    graph = trace(Careful(), torch.rand(2, 3))
    assert graph.reason(graph.layers["a"].ids) is None and list(graph.layers) == ["a", "b"]


class Block(nn.Module):
    """Whatever `forward` makes of two layers, a norm and a shortcut."""

    def __init__(self, forward):
        super().__init__()
        self.a, self.b, self.norm, self.project = nn.Linear(4, 4), nn.Linear(4, 4), nn.LayerNorm(4), nn.Linear(4, 4)
        self.drop, self.compute = nn.Dropout(0.1), forward

    def forward(self, r):
        return self.compute(self, r)


def block_of(forward, zero=()):
    net = nn.Sequential(nn.Linear(3, 4), Block(forward), nn.Linear(4, 2))
    for name in zero:
        for parameter in net[1].get_submodule(name).parameters():
            nn.init.zeros_(parameter)
    return trace(net, torch.rand(2, 3)).blocks["1"]


@pytest.mark.parametrize(
    ("forward", "steps", "last"),
    [
        (lambda m, r: r + m.b(m.a(r).relu()), [], "b"),
        (lambda m, r: m.b(m.a(r.contiguous().float())).add_(r), [], "b"),
        (lambda m, r: m.norm(r + m.drop(m.a(r))), ["norm"], "a"),
        (lambda m, r: (h := m.norm(r).relu()) + m.b(h), ["norm", "relu"], "b"),
        (lambda m, r: (h := m.norm(r + m.a(r))) + m.b(h), ["norm"], "ab"),
        (lambda m, r: r + torch.ones_like(r) * m.a(r), [], "a"),
    ],
)
def test_what_is_left_of_a_block_without_its_branch(forward, steps, last):
    block = block_of(forward)
    assert block.refusal is None and block.steps == steps
    assert block.last == [f"1.{layer}.{name}" for layer in last for name in ("weight", "bias")]


def test_a_branch_that_is_zero_leaves_whatever_the_shortcut_computes():
    def forward(m, r):
        return (m.project(r).relu() + m.b(m.a(r).relu())).relu()

    assert "not the identity" in block_of(forward).refusal
    block = block_of(forward, zero=["b"])
    assert (
        block.refusal is None
        and block.steps == ["project", "relu", "relu"]
        and block.last == ["1.b.weight", "1.b.bias"]
    )
    assert block_of(forward, zero=["project"]).steps == ["a", "relu", "b", "relu"]


def test_output_without_tensors_is_refused():
    class Silent(nn.Linear):
        def forward(self, x):
            super().forward(x)
            return "done"

    with pytest.raises(ValueError, match="returns str"):
        trace(Silent(2, 2), torch.rand(1, 2))


def test_the_random_state_stays_as_it_was():
    net = Net(lambda net, x: x + torch.rand(()))
    before = torch.get_rng_state()
    trace(net, torch.rand(2, 3, 9, 9, generator=torch.Generator()))
    assert torch.equal(torch.get_rng_state(), before)
