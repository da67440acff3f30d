"""What functions do to units: what can be followed gives the same removed as zeroed, the rest is refused."""

import copy
import math
from fractions import Fraction

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from pruning_lib.structure.layer_rules import UnitSize
from pruning_lib.structure.removal import load_smaller, remove, save_smaller
from pruning_lib.structure.structured import score_units, zero_units
from pruning_lib.structure.tracing import trace
from pruning_lib.structure.zeroing import graph_slices, zero_slices_


def scrambled(model: nn.Module) -> nn.Module:
    generator = torch.Generator().manual_seed(0)
    for t in [*model.parameters(), *(b for b in model.buffers() if b.is_floating_point())]:
        t.data = torch.rand(t.shape, generator=generator, dtype=torch.float64) + 0.3
        t.data *= torch.where(torch.rand(t.shape, generator=generator) < 0.5, -1, 1) if t.ndim > 1 else 1
    return model.double().eval()


def agree(model: nn.Module, x: torch.Tensor, units: dict) -> nn.Module:
    """The smaller model, which gives what the zeroed one gives and not what the whole one gives."""
    smaller, zeroed = remove(model, x, units), copy.deepcopy(model)
    zero_units(zeroed, units, x)
    with torch.no_grad():
        expected = zeroed(x)
        torch.testing.assert_close(smaller(x), expected, rtol=1e-10, atol=1e-12)
        assert (model(x) - expected).abs().max() > 1e-6
    assert sum(p.numel() for p in smaller.parameters()) < sum(p.numel() for p in model.parameters())
    return smaller


class Net(nn.Module):
    """conv a → `middle` → 1×1 conv b → mean → linear."""

    def __init__(self, middle, between=8, **modules):
        super().__init__()
        self.a, self.b, self.fc = nn.Conv2d(3, 8, 3), nn.Conv2d(between, 4, 1), nn.Linear(4, 2)
        self.middle, self.mask = middle, X[:, :1, :5, :5] > 0.5
        for name, module in modules.items():
            setattr(self, name, module)

    def forward(self, x):
        return self.fc(self.b(self.middle(self, self.a(x))).mean((2, 3)))


X = torch.rand(2, 3, 7, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(1))

BY_KEYWORD = {
    "mul": lambda net, x: torch.mul(input=x, other=0.5),
    "mul, other first": lambda net, x: torch.mul(other=x.sigmoid(), input=x),
    "numpy's names": lambda net, x: torch.mul(x1=x, x2=torch.sum(input=x, axis=-1, keepdims=True)),
    "sub": lambda net, x: torch.sub(other=net.c(input=x), input=x),
    "div": lambda net, x: torch.div(other=x.exp() + 1, input=x),
    "add": lambda net, x: torch.add(alpha=2, other=net.c(x), input=x),
    "flatten": lambda net, x: torch.flatten(input=x, start_dim=2).unflatten(dim=2, sizes=(5, 5)),
    "chunk": lambda net, x: torch.cat(tensors=[x, *torch.chunk(dim=1, input=x, chunks=2)][:1], dim=1),
    "cat": lambda net, x: torch.cat(dim=2, tensors=(x, x)),
    "permute": lambda net, x: torch.permute(input=torch.permute(dims=(1, 0, 2, 3), input=x), dims=(1, 0, 2, 3)),
    "transpose": lambda net, x: torch.transpose(dim1=2, dim0=3, input=x),
    "pad": lambda net, x: F.pad(pad=(1, 1), input=x),
    "softmax": lambda net, x: x * torch.softmax(dim=3, input=x),
    "mean": lambda net, x: torch.mean(dim=(2, 3), input=x, keepdim=True),
    "reshape": lambda net, x: torch.reshape(shape=(2, -1, 25, 1), input=x),
    "squeeze": lambda net, x: torch.squeeze(input=torch.unsqueeze(dim=0, input=x), dim=0),
    "pool": lambda net, x: F.avg_pool2d(kernel_size=2, input=x),
    "relu": lambda net, x: F.relu(input=torch.clamp(input=x, max=3.0)),
    "exp": lambda net, x: torch.exp(input=x) * torch.tanh(input=x),
    "conv": lambda net, x: net.keyed(x),
    "norm": lambda net, x: net.norm(input=x),
    "masked_fill": lambda net, x: torch.masked_fill(mask=net.mask, input=x, value=0),
}


class Keyed(nn.Conv2d):
    def forward(self, x):
        return F.conv2d(bias=self.bias, weight=self.weight, input=x)


@pytest.mark.parametrize("name", BY_KEYWORD)
def test_functions_called_by_keyword(name):
    model = Net(BY_KEYWORD[name], c=nn.Conv2d(8, 8, 1), keyed=Keyed(8, 8, 1), norm=nn.BatchNorm2d(8))
    agree(scrambled(model), X, {"a": [1, 6]})


def reason(middle, **modules):
    graph = trace(Net(middle, **modules).double(), X)
    return graph.reason(graph.layers["a"].ids)


@pytest.mark.parametrize(
    ("middle", "why"),
    [
        (lambda net, x: net.prelu(x.sigmoid()), "sigmoid"),
        (lambda net, x: F.prelu(x.cos(), net.prelu.weight), "cos"),
        (lambda net, x: torch.exp(x) * 2, "exp"),
        (lambda net, x: x.sigmoid() / 2, "sigmoid"),
        (lambda net, x: x / x.sigmoid().sub(0.5), "div"),
        (lambda net, x: x.exp() / x.exp(), "exp"),
        (lambda net, x: 1 / x.exp(), "exp"),
        (lambda net, x: torch.where(net.mask, x, 1.0), "where"),
        (lambda net, x: x.masked_fill(net.mask, 1.0), "masked_fill"),
        (lambda net, x: x.softmax(2), "softmax"),
        (lambda net, x: x + net.mask, "add"),
        (lambda net, x: F.avg_pool2d(x.cos(), 3, 1, 1), "cos"),
        (lambda net, x: torch.maximum(x.cos(), x), "cos"),
        (lambda net, x: F.pad(x.cos() - 1 + x.cos(), (1, 1)), "cos"),
    ],
)
def test_zeros_that_became_something_else_do_not_go(middle, why):
    prelu = nn.PReLU(8)
    assert why in reason(middle, prelu=prelu)
    norm = nn.BatchNorm2d(8)  # zeroed with its unit, it makes anything finite zero again
    if why not in ("div", "where"):
        agree(scrambled(Net(lambda net, x: net.norm(middle(net, x)), prelu=prelu, norm=norm)), X, {"a": [2]})


@pytest.mark.parametrize("function", [torch.reciprocal, torch.log, torch.rsqrt, lambda x: x / x, lambda x: 1 / x])
def test_what_is_infinite_or_nan_does_not_go_even_before_a_norm(function):
    assert "cannot be followed" in reason(lambda net, x: net.norm(function(x)), norm=nn.BatchNorm2d(8))


@pytest.mark.parametrize(
    "middle",
    [
        lambda net, x: net.prelu(x.tanh()),
        lambda net, x: x.cos() * x,
        lambda net, x: x / (1 + x.abs()),
        lambda net, x: x.sigmoid() - 0.5,
        lambda net, x: x.masked_fill(net.mask, 0.0),
        lambda net, x: x * net.mask,
        lambda net, x: torch.softmax(x.flatten(2), -1).view(2, x.shape[1], 5, 5) * x,
        lambda net, x: (x.exp() - 1) / x.exp(),
        lambda net, x: F.prelu(x.cos() - 1, net.prelu.weight),
    ],
)
def test_zeros_that_are_zero_again_go(middle):
    agree(scrambled(Net(middle, prelu=nn.PReLU(8))), X, {"a": [0, 5]})


NORMS = {
    "group": (lambda: nn.GroupNorm(4, 8, affine=False), [2, 3]),
    "group, with scale": (lambda: nn.GroupNorm(4, 8), [2, 3]),
    "instance": (lambda: nn.InstanceNorm2d(8), [2]),
    "instance, with statistics": (lambda: nn.InstanceNorm2d(8, track_running_stats=True), [2]),
    "batch": (lambda: nn.BatchNorm2d(8, affine=False), [2]),
    "batch, without statistics": (lambda: nn.BatchNorm2d(8, affine=False, track_running_stats=False), [2]),
}


@pytest.mark.parametrize("name", NORMS)
def test_norms_without_parameters(name, tmp_path, recwarn):
    build, gone = NORMS[name]

    def net():
        return Net(lambda net, x: net.norm(x).relu(), norm=build()).double()

    smaller = agree(scrambled(net()), X, {"a": gone})
    channels = "num_channels" if name.startswith("group") else "num_features"
    assert getattr(smaller.norm, channels) == 8 - len(gone) and not recwarn.list
    if name.startswith("group"):
        assert smaller.norm.num_groups == 3
    again = agree(smaller, X, {"a": [0, 1]})
    save_smaller(again, tmp_path / "small.safetensors")
    loaded = load_smaller(tmp_path / "small.safetensors", net).eval()
    assert vars(loaded.norm).items() >= {k: v for k, v in vars(again.norm).items() if type(v) is int}.items()
    assert torch.equal(loaded(X), again(X))


@pytest.mark.parametrize("norm", [nn.LayerNorm(6, elementwise_affine=False), nn.RMSNorm(6, elementwise_affine=False)])
def test_norms_over_the_units_keep_them(norm):
    model = nn.Sequential(nn.Linear(3, 6), norm, nn.Linear(6, 4), nn.Tanh(), nn.Linear(4, 2)).double()
    x = torch.rand(2, 3).double()
    with pytest.raises(ValueError, match="norm '1' averages over all channels"):
        remove(model, x, {"0": [0]})
    agree(model, x, {"2": [0]})


@pytest.mark.parametrize("dim", [1, -1])
@pytest.mark.parametrize("build", [lambda dim: nn.GLU(dim), lambda dim: lambda x: F.glu(x, dim=dim)])
def test_gated_linear_units_go_with_their_gates(dim, build):
    glu = build(dim)
    if dim == 1:
        model = scrambled(Net(lambda net, x: glu(x), between=4))
        smaller = agree(model, X, {"a": [1, 6]})  # with the gates 5 and 2
        assert smaller.a.out_channels == 4 and smaller.b.in_channels == 2
        scores = score_units(model, "filter", example_inputs=X)["a"]
        alone = model.a.weight.abs().sum((1, 2, 3)).view(2, 4).sum(0)
        torch.testing.assert_close(scores, alone.repeat(2))
    else:  # along the width, which every channel has for itself
        agree(scrambled(Net(lambda net, x: glu(F.pad(x, (1, 0))))), X, {"a": [1, 6]})
    assert "sigmoid" in reason(lambda net, x: F.glu(x.sigmoid(), 1), between=4, b=nn.Conv2d(4, 4, 1))


def test_channel_shuffle():
    def shuffle(net, x):
        batch, channels, height, width = x.size()
        x = x.view(batch, 2, channels // 2, height, width)
        return torch.transpose(x, 1, 2).contiguous().view(batch, channels, height, width)

    smaller = agree(scrambled(Net(shuffle)), X, {"a": [1]})
    assert smaller.a.out_channels == 6  # channel 5, which is beside it, goes too
    for view in (lambda x: x.view(2, 2, 4, 5, 5), lambda x: x.reshape(2, 4, 2, 5, 5)):
        with pytest.raises(ValueError, match="cannot be followed through (view|reshape)"):
            remove(scrambled(Net(lambda net, x, view=view: view(x).transpose(1, 2).reshape(2, 8, 5, 5))), X, {"a": [1]})


class Tied(nn.Module):
    """An autoencoder that decodes with the encoder's weight, or a layer of its own that is used in two places."""

    def __init__(self, shared):
        super().__init__()
        self.encoder, self.bias = nn.Linear(6, 4), nn.Parameter(torch.rand(6))
        self.weight, self.shared = nn.Parameter(torch.rand(4, 4)), shared

    def forward(self, x):
        h = self.encoder(x).relu()
        if self.shared:
            return F.linear(F.linear(h, self.weight).relu(), self.weight)
        return F.linear(h, self.encoder.weight.t(), self.bias)


@pytest.mark.parametrize("shared", [True, False])
def test_weights_that_functions_use_are_refused_by_name(shared):
    with pytest.raises(ValueError, match="unit 0 of 'encoder' cannot be removed: .*linear in 'Tied'"):
        remove(Tied(shared), torch.rand(2, 6), {"encoder": [0]})


def test_an_attribute_that_sizes_a_reshape_follows_its_units(tmp_path):
    class Reshaping(nn.Module):
        def __init__(self):
            super().__init__()
            self.channels, self.a, self.fc = 8, nn.Conv2d(3, 8, 3), nn.Linear(8, 2)

        def forward(self, x):
            x = self.a(x).relu()
            return self.fc(x.view(len(x), self.channels, 25).mean(2))

    smaller = agree(scrambled(Reshaping()), X, {"a": [0, 3]})
    assert smaller.channels == 6 and type(smaller.channels) is int
    save_smaller(smaller, tmp_path / "small.safetensors")
    assert torch.equal(load_smaller(tmp_path / "small.safetensors", lambda: Reshaping().double())(X), smaller(X))


class Ending(nn.Module):
    """Gives beside its logits what `extra` makes of them, and reads the number of its hidden units if `wrong`."""

    def __init__(self, extra, wrong=False):
        super().__init__()
        self.a, self.b, self.extra, self.wrong = nn.Linear(3, 8), nn.Linear(8, 4), extra, wrong

    def forward(self, x):
        h = self.b(torch.relu(self.a(x)))
        return self.extra(h + len(self.a.weight) if self.wrong else h)


def filled(value):
    return lambda h: h.masked_fill(torch.tensor([True, False, False, False]), value)


EXTRAS = {
    "one -inf": filled(-math.inf),
    "one inf": filled(math.inf),
    "one nan": filled(math.nan),
    "-1e9": filled(-1e9),
    "the least float": filled(-1e30),
    "integers": lambda h: (h * 100).round().long(),
    "booleans": lambda h: (h > 0.5, h),
    "complex": lambda h: torch.complex(h, h),
    "half": lambda h: h.half(),
    "bfloat16": lambda h: h.bfloat16(),
    "zeros too": lambda h: torch.cat([torch.zeros_like(h), torch.zeros_like(h), h]),
}


@pytest.mark.parametrize("name", EXTRAS)
def test_outputs_are_compared_whatever_they_hold(name):
    x = torch.rand(5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    model = scrambled(Ending(EXTRAS[name]))
    smaller, zeroed = remove(model, x, {"a": [1, 2]}), copy.deepcopy(model)
    graph = trace(model, x)
    zero_slices_(zeroed, graph_slices(graph, *graph.resolve(model, {"a": [1, 2]})))
    torch.testing.assert_close(smaller(x), zeroed(x), equal_nan=True)
    with pytest.raises(ValueError, match="outputs differ"):
        remove(scrambled(Ending(EXTRAS[name], wrong=True)), x, {"a": [1, 2]})


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_compared_too(dtype):
    x = torch.rand(5, 3).to(dtype)
    model = scrambled(Ending(filled(-math.inf))).to(dtype)
    remove(model, x, {"a": [1, 2]})
    with pytest.raises(ValueError, match="outputs differ"):
        remove(scrambled(Ending(filled(-math.inf), wrong=True)).to(dtype), x, {"a": [1, 2]})


def test_sizes_remember_how_they_were_computed():
    heads = ("attention", "heads")
    size = UnitSize(8, (heads, Fraction(1)))
    for computed, value, times in [
        (size * 3, 24, 3),
        (3 * size, 24, 3),
        (size // 2, 4, Fraction(1, 2)),
        (size // 2 * 2, 8, 1),
    ]:
        assert computed == value and computed.parts == ((heads, times),)
    assert all(isinstance(lost, UnitSize) and not lost.parts for lost in (size // 3, 24 // size))
    plain = [size + 1, size / 2, size * 1.5, size // 2.0, 24.0 // size, 2 - size]
    assert plain == [9, 4.0, 12.0, 4.0, 3.0, -6] and not any(isinstance(value, UnitSize) for value in plain)
    assert [0] * size == [0] * 8
