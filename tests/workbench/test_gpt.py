import pytest
import torch
from torch.nn import functional as F

from pruning_lib.structure import prunable
from pruning_lib.workbench.gpt import GPT, Config, generate

TINY = Config(width=16, depth=2, heads=2, context=12)


@pytest.fixture
def gpt():
    return GPT(TINY, seed=1)


def tokens(*shape, seed=0):
    return torch.randint(0, 256, shape, generator=torch.Generator().manual_seed(seed))


def test_only_the_linear_layers_of_the_blocks_are_prunable(gpt):
    layers = ("attention.query", "attention.key", "attention.value", "attention.output", "mlp.up", "mlp.down")
    assert list(prunable(gpt)) == [f"blocks.{block}.{layer}.weight" for block in range(2) for layer in layers]


def test_default_size():
    sizes = [parameter.numel() for parameter in GPT().parameters()]
    assert sum(sizes) == 4 * (12 * 192**2 + 13 * 192) + (256 + 256) * 192 + 2 * 192


def test_no_two_weights_are_drawn_alike():
    """Copies, scaled or not, correlate fully; independent draws of this size by less than 5/√n."""
    drawn = [(name, p.detach().flatten()[:6144]) for name, p in GPT().named_parameters() if p.ndim > 1]
    rows = torch.stack([values for _, values in drawn])
    correlation = torch.corrcoef(rows).fill_diagonal_(0).abs()
    assert correlation.max() < 5 / rows.shape[1] ** 0.5


def test_outputs_equal_the_formulas_written_out(gpt):
    """Attention head by head and token by token, in float64."""
    gpt = gpt.double()
    x = tokens(3, 12)
    state = gpt.state_dict()

    def norm(r, name):
        centered = r - r.mean(-1, keepdim=True)
        return centered / (centered.square().mean(-1, keepdim=True) + 1e-5).sqrt() * state[f"{name}.weight"]

    def linear(r, name):
        return r @ state[f"{name}.weight"].T + state[f"{name}.bias"]

    r = state["token.weight"][x] + state["position.weight"]
    for block in ("blocks.0", "blocks.1"):
        read = norm(r, f"{block}.norm1")
        q, k, v = (linear(read, f"{block}.attention.{part}") for part in ("query", "key", "value"))
        mixed = torch.zeros_like(r)
        for head in (slice(0, 8), slice(8, 16)):
            for t in range(12):
                scores = (k[:, : t + 1, head] * q[:, t : t + 1, head]).sum(-1) / 8**0.5
                mixed[:, t, head] = (scores.softmax(-1).unsqueeze(-1) * v[:, : t + 1, head]).sum(1)
        r = r + linear(mixed, f"{block}.attention.output")
        r = r + linear(F.gelu(linear(norm(r, f"{block}.norm2"), f"{block}.mlp.up")), f"{block}.mlp.down")
    expected = norm(r, "norm") @ state["token.weight"].T
    torch.testing.assert_close(gpt(x), expected, rtol=1e-10, atol=1e-12)


def test_later_bytes_do_not_change_earlier_logits(gpt):
    x = tokens(1, 12)
    changed = x.clone()
    changed[0, 7:] = (changed[0, 7:] + 1) % 256
    torch.testing.assert_close(gpt(x)[:, :7], gpt(changed)[:, :7])
    assert not torch.allclose(gpt(x)[:, 7], gpt(changed)[:, 7])


def test_weights_follow_the_seed_alone(gpt):
    torch.manual_seed(5)
    again = GPT(TINY, seed=1).state_dict()
    assert all(torch.equal(value, again[name]) for name, value in gpt.state_dict().items())
    other = GPT(TINY, seed=2).state_dict()
    assert not torch.equal(other["blocks.1.mlp.up.weight"], again["blocks.1.mlp.up.weight"])
    assert torch.equal(other["norm.weight"], again["norm.weight"])


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"width": 0}, "width is 0, must be an integer of at least 1"),
        ({"depth": 1.5}, "depth is 1.5, must be an integer"),
        ({"context": True}, "context is True, must be an integer"),
        ({"heads": 5}, "heads is 5, must divide width = 192"),
    ],
)
def test_bad_sizes(sizes, message):
    with pytest.raises(ValueError, match=message):
        Config(**sizes)


@pytest.mark.parametrize("shape", [(1, 13), (1, 0), (5,), (1, 2, 3)])
def test_bad_tokens(gpt, shape):
    with pytest.raises(ValueError, match=r"tokens has shape .*, must be \(batch, length\) with 1 to 12 bytes"):
        gpt(torch.zeros(shape, dtype=torch.long))


def test_generate_without_temperature_is_the_greedy_loop_over_a_sliding_window(gpt):
    known = [ord("a"), ord("b")]
    for _ in range(20):
        known.append(gpt(torch.tensor([known[-12:]]))[0, -1].argmax().item())
    assert generate(gpt, "ab", 20, temperature=0) == bytes(known).decode(errors="replace")


def test_generate_follows_the_seed_alone(gpt):
    first = generate(gpt, "ab", 30, seed=1)
    torch.manual_seed(7)
    before = torch.get_rng_state()
    assert generate(gpt, "ab", 30, seed=1) == first
    assert torch.equal(torch.get_rng_state(), before)
    assert generate(gpt, "ab", 30, seed=2) != first
    assert first.startswith("ab")
    assert generate(gpt, "ab", 0) == "ab"


def test_generate_draws_from_the_models_distribution(gpt):
    """At a low temperature the likeliest text comes as often as softmax(logits / temperature) says."""
    with torch.no_grad():
        p = F.softmax(gpt(torch.tensor([[97]]))[0, -1].double() / 0.02, dim=0)
    texts = [bytes([97, byte]).decode(errors="replace") for byte in range(256)]  # bytes over 127 are all shown as one
    likeliest = texts[p.argmax()]
    expected = p[[text == likeliest for text in texts]].sum().item()
    share = sum(generate(gpt, "a", 1, temperature=0.02, seed=seed) == likeliest for seed in range(300)) / 300
    assert 0.2 < expected < 0.95
    assert abs(share - expected) < 4 * (expected * (1 - expected) / 300) ** 0.5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"prompt": ""}, "prompt is '', must have at least one byte"),
        ({"count": -1}, "count is -1, must be at least 0"),
        ({"temperature": -0.1}, "temperature is -0.1, must be finite and at least 0"),
        ({"temperature": float("nan")}, "temperature is nan"),
        ({"temperature": float("inf")}, "temperature is inf"),
    ],
)
def test_generate_refuses_bad_input(gpt, options, message):
    with pytest.raises(ValueError, match=message):
        generate(gpt, **{"prompt": "a", **options})


def test_generate_refuses_a_broken_model(gpt):
    with torch.no_grad():
        gpt.norm.bias[0] = float("nan")
    with pytest.raises(ValueError, match="logits are not finite after 'abc'"):
        generate(gpt, "abc", 1)
