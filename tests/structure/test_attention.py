"""Heads of attention that a module writes out itself, and of nn.TransformerEncoder with padded batches."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from pruning_lib.structure.removal import load_smaller, remove, save_smaller
from pruning_lib.structure.structured import choose_units, score_units, zero_units
from pruning_lib.workbench.gpt import GPT, Config

X = torch.randn(2, 5, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


class Attention(nn.Module):
    """Four heads of width 3, which read two pairs of keys and values if `shared`."""

    def __init__(self, forward, shared=False):
        super().__init__()
        self.heads, self.pairs, self.width = 4, 2 if shared else 4, 3
        self.query, self.key = nn.Linear(12, 12), nn.Linear(12, 3 * self.pairs)
        self.value, self.out, self.fused = nn.Linear(12, 3 * self.pairs), nn.Linear(12, 12), nn.Linear(12, 36)
        self.norm, self.rms, self.scale = nn.LayerNorm(3), nn.RMSNorm(3), nn.Parameter(torch.rand(3))
        self.register_buffer("mask", torch.ones(5, 5, dtype=torch.bool).tril())
        self.register_buffer("rate", torch.rand(3))
        self.function = forward

    def forward(self, x):
        return self.function(self, x)


class Model(nn.Module):
    def __init__(self, forward, shared=False):
        super().__init__()
        self.attention, self.fc = Attention(forward, shared), nn.Linear(12, 2)

    def forward(self, x):
        return self.fc(x + self.attention(x))


def qkv(self, x):
    return (layer(x).unflatten(-1, (-1, self.width)).transpose(1, 2) for layer in (self.query, self.key, self.value))


def written_out(self, x, mask=lambda self, scores: scores):
    q, k, v = qkv(self, x)
    shares = mask(self, q @ k.transpose(-2, -1) / self.width**0.5).softmax(-1)
    return self.out(F.dropout(shares, 0.1, self.training).matmul(v).transpose(1, 2).flatten(2))


def by_attribute(self, x):
    batch, tokens, _ = x.shape
    q, k, v = (
        layer(x).view(batch, tokens, self.heads, self.width).transpose(1, 2)
        for layer in (self.query, self.key, self.value)
    )
    mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2)
    return self.out(mixed.contiguous().view(batch, tokens, self.heads * self.width))


def by_number(self, x):
    q, k, v = (layer(x).unflatten(-1, (self.heads, -1)).transpose(1, 2) for layer in (self.query, self.key, self.value))
    mixed = F.scaled_dot_product_attention(key=k, query=q, value=v, attn_mask=self.mask)
    return self.out(mixed.transpose(1, 2).reshape(2, 5, -1))


def normed_and_turned(self, x):
    q, k, v = qkv(self, x)
    angle = torch.arange(5)[:, None] * self.rate
    q, k = self.norm(q), k * (k.square().mean(-1, keepdim=True) + 1e-6).rsqrt() * self.scale
    q, k = (t * angle.cos() + torch.cat([-t[..., 1:], t[..., :1]], -1) * angle.sin() for t in (q, self.rms(k)))
    return self.out(F.scaled_dot_product_attention(q, k, v, scale=0.7).transpose(1, 2).flatten(2))


def fused_chunks(self, x):
    q, k, v = (t.unflatten(-1, (self.heads, self.width)).transpose(1, 2) for t in self.fused(x).chunk(3, -1))
    return self.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


def fused_reshape(self, x):
    q, k, v = self.fused(x).reshape(2, 5, 3, self.heads, self.width).permute(2, 0, 3, 1, 4).unbind(0)
    return self.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


def grouped(self, x):
    q, k, v = qkv(self, x)
    return self.out(F.scaled_dot_product_attention(q, k, v, enable_gqa=True).transpose(1, 2).flatten(2))


def grouped_repeated(self, x):
    q, k, v = qkv(self, x)
    k, v = (t.repeat_interleave(2, dim=1) for t in (k, v))
    return self.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


def grouped_expanded(self, x):
    q, k, v = qkv(self, x)
    batch, pairs, tokens, width = k.shape
    k, v = (
        t[:, :, None].expand(batch, pairs, 2, tokens, width).reshape(batch, pairs * 2, tokens, width) for t in (k, v)
    )
    return self.out((q @ k.mT).softmax(-1).matmul(v).transpose(1, 2).flatten(2))


WRITTEN = {
    "softmax": written_out,
    "softmax, added mask": lambda self, x: written_out(self, x, lambda self, s: s + torch.where(self.mask, 0.0, -1e9)),
    "softmax, filled mask": lambda self, x: written_out(self, x, lambda self, s: s.masked_fill(~self.mask, -torch.inf)),
    "attribute": by_attribute,
    "number": by_number,
    "norms and rotary": normed_and_turned,
    "fused, chunks": fused_chunks,
    "fused, reshape": fused_reshape,
}
GROUPED = {"grouped": grouped, "repeated": grouped_repeated, "expanded": grouped_expanded}


def model_of(forward, shared=False):
    torch.manual_seed(0)
    return Model(forward, shared).double().eval()


def agree(model, x, units, **masks):
    smaller, zeroed = remove(model, {"src": x, **masks} if masks else x, units), copy.deepcopy(model)
    zero_units(zeroed, units, {"src": x, **masks} if masks else x)
    with torch.no_grad():
        expected = zeroed(x, **masks)
        torch.testing.assert_close(smaller(x, **masks), expected, rtol=1e-10, atol=1e-12)
        assert (model(x, **masks) - expected).abs().max() > 1e-6
    return smaller


@pytest.mark.parametrize("name", WRITTEN)
def test_heads_of_attention_written_by_hand(name, tmp_path):
    model = model_of(WRITTEN[name])
    scores = score_units(model, "head", example_inputs=X)
    assert list(scores) == ["attention"] and scores["attention"].shape == (4,)
    attention = model.attention
    fused = name.startswith("fused")
    rows = [attention.fused] if fused else [attention.query, attention.key, attention.value]
    expected = sum(layer.weight.abs().sum(1).view(-1, 4, 3).sum((0, 2)) for layer in rows)
    expected = expected + attention.out.weight.abs().sum(0).view(4, 3).sum(1)
    torch.testing.assert_close(scores["attention"], expected)
    smaller = agree(model, X, {"attention": [0, 2]})
    assert all(
        layer.out_features == len(layer.weight) == (18 if fused else 6)
        for layer in smaller.attention.children()
        if layer in [getattr(smaller.attention, n) for n in (["fused"] if fused else ["query", "key", "value"])]
    )
    assert smaller.attention.out.in_features == 6
    again = agree(smaller, X, {"attention": [1]})
    save_smaller(again, tmp_path / "small.safetensors")
    assert torch.equal(
        load_smaller(tmp_path / "small.safetensors", lambda: model_of(WRITTEN[name])).eval()(X), again(X)
    )


@pytest.mark.parametrize("name", GROUPED)
def test_heads_that_share_keys_and_values_go_together(name):
    model = model_of(GROUPED[name], shared=True)
    scores = score_units(model, "head", example_inputs=X)
    assert torch.equal(scores["attention"][0::2], scores["attention"][1::2])
    units = choose_units(scores, 0.5)
    assert units["attention"].tolist() in ([0, 1], [2, 3])
    smaller = agree(model, X, {"attention": units["attention"][:1]})
    assert (smaller.attention.query.out_features, smaller.attention.key.out_features) == (6, 3)


def test_neurons_and_projections_are_not_offered_apart():
    model = model_of(by_number)
    with pytest.raises(ValueError, match="'neuron', but the model has none"):
        score_units(model, "neuron", example_inputs=X)
    by_head = remove(model, X, {"attention": [1]})
    by_feature = remove(model, X, {"attention.key": [4]})
    for one, other in zip(by_head.state_dict().values(), by_feature.state_dict().values(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize(
    ("forward", "why"),
    [
        (lambda self, q: q.view(2, 5, 4, 3), "view"),
        (lambda self, q: q.view(2, 5, self.heads, 12 // self.heads), "view"),
        (lambda self, q: q.unflatten(-1, (4, -1)), None),
        (lambda self, q: torch.stack(q.split(3, -1), 2), "split"),
        (lambda self, q: q.unflatten(-1, (self.heads, -1)).flip(2), "flip"),
    ],
)
def test_heads_whose_number_is_fixed_are_refused_by_name(forward, why):
    def attend(self, x):
        q, k, v = (forward(self, layer(x)).transpose(1, 2) for layer in (self.query, self.key, self.value))
        return self.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(2, 5, 12))

    model, why = model_of(attend), why or "scaled_dot_product_attention"
    with pytest.raises(ValueError, match=f"'head', but the model has none that can go: .* {why} in 'attention'"):
        score_units(model, "head", example_inputs=X)
    with pytest.raises(ValueError, match=rf"'attention.query' cannot be removed: .* {why} in 'attention'"):
        remove(model, X, {"attention.query": [0]})
    for use in (lambda: remove(model, X, {"attention": [0]}), lambda: zero_units(model, {"attention": [0]}, X)):
        with pytest.raises(ValueError, match=rf"'attention' has no units that can go: .*; .* {why} in 'attention'"):
            use()


def test_one_pair_of_keys_for_all_heads_is_refused_by_name():
    def attend(self, x):
        q, k, v = qkv(self, x)
        k, v = (t[:, :1].expand_as(q) for t in (k, v))
        return self.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))

    with pytest.raises(ValueError, match="none that can go"):
        score_units(model_of(attend), "head", example_inputs=X)


def test_a_block_that_attends_itself_is_named_as_a_block():
    class Block(Attention):
        def forward(self, x):
            return x + by_number(self, x)

    model = nn.Sequential(Block(None), nn.Linear(12, 2)).double().eval()
    agree(model, X, {"0": [0]})
    smaller = agree(model, X, {"0.query": [4]})  # a head goes by the name of its projection
    assert smaller[0].heads == 3 and smaller[0].out.in_features == 9
    with pytest.raises(ValueError, match="none that can go"):
        score_units(model, "head", example_inputs=X)


def test_heads_of_the_gpt(tmp_path):
    tokens = torch.randint(256, (2, 7), generator=torch.Generator().manual_seed(0))

    def build():
        return GPT(Config(width=12, depth=2, heads=4, context=8)).double()

    model = build().eval()
    for block in model.blocks:
        nn.init.normal_(block.attention.query.weight, std=0.5)
    units = choose_units(score_units(model, "head", example_inputs=tokens), 0.5)
    assert list(units) == ["blocks.0.attention", "blocks.1.attention"]
    smaller = agree(model, tokens, units)
    assert [block.attention.heads for block in smaller.blocks] == [2, 2]
    save_smaller(smaller, tmp_path / "gpt.safetensors")
    assert torch.equal(load_smaller(tmp_path / "gpt.safetensors", build).eval()(tokens), smaller(tokens))
    assert list(score_units(model, "neuron", example_inputs=tokens)) == ["blocks.0.mlp.up", "blocks.1.mlp.up"]


@pytest.mark.parametrize("traced", ["with a mask", "without"])
def test_smaller_encoder_takes_padded_batches(traced):
    torch.manual_seed(0)
    model = nn.TransformerEncoder(nn.TransformerEncoderLayer(12, 4, 16, batch_first=True), 2).double().eval()
    padding = torch.zeros(2, 5, dtype=torch.bool)
    padding[1, 3:] = True
    inputs = {"src": X, "src_key_padding_mask": padding} if traced == "with a mask" else X
    units = {"layers.0.self_attn": [0, 3], "layers.1.self_attn": [1], "layers.1.linear1": [2, 7]}
    smaller, zeroed = remove(model, inputs, units), copy.deepcopy(model)
    zero_units(zeroed, units, inputs)
    with torch.no_grad():
        expected, got = (m(X, src_key_padding_mask=padding) for m in (zeroed, smaller))
        torch.testing.assert_close(got[~padding], expected[~padding])
        zeroed.use_nested_tensor = False  # then both give values for what is padded
        torch.testing.assert_close(got, zeroed(X, src_key_padding_mask=padding))
        torch.testing.assert_close(smaller(X), zeroed(X))
    assert model.use_nested_tensor and not smaller.enable_nested_tensor
    assert remove(model, inputs, {"layers.1.linear1": [2]}).use_nested_tensor  # its heads are all there
