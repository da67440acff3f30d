"""Tiny models of LLaMA's kind, drawn at random from their configurations; nothing is downloaded."""

import pytest
import torch
from torch import nn

from pruning_lib.acceleration import two_four
from pruning_lib.workbench import huggingface
from pruning_lib.workbench.channels import free_channels

transformers = pytest.importorskip("transformers", reason="transformers is not installed (extra llm)")

SMALL = {"vocab_size": 50, "hidden_size": 32, "num_hidden_layers": 2, "max_position_embeddings": 16}
GROUPED = {"num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 48}  # two query heads share values
CONFIGS = {
    "llama": lambda: transformers.LlamaConfig(**SMALL, **GROUPED),
    "llama, tied": lambda: transformers.LlamaConfig(**SMALL, **GROUPED, tie_word_embeddings=True),
    "llama, biases": lambda: transformers.LlamaConfig(**SMALL, **GROUPED, attention_bias=True, mlp_bias=True),
    "llama, a key for each query": lambda: transformers.LlamaConfig(**SMALL, **GROUPED | {"num_key_value_heads": 4}),
    "qwen2": lambda: transformers.Qwen2Config(**SMALL, **GROUPED),  # biases of query, key and value
    "qwen3": lambda: transformers.Qwen3Config(**SMALL, **GROUPED, head_dim=16),  # wider together than the stream
}


def drawn(config):
    """Every weight at random, norms and biases too, so that what stays behind is seen; float64 throughout."""
    model = transformers.AutoModelForCausalLM.from_config(config)
    for parent in list(model.modules()):
        for name, norm in list(parent.named_children()):
            if type(norm).__name__.endswith("RMSNorm"):  # transformers' own goes through float32
                setattr(parent, name, nn.RMSNorm(norm.weight.shape, norm.variance_epsilon))
    model.double()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
            parameter.add_(parameter.ndim == 1)
    return huggingface.prepare_(model)


def tokens():
    return torch.randint(50, (2, 12), generator=torch.Generator().manual_seed(1))


def kept(model):
    return {name: two_four.kept_magnitude(model.get_submodule(name).weight) for name in huggingface.layers(model)}


@pytest.mark.parametrize("name", list(CONFIGS))
def test_every_layer_gets_a_better_order_and_no_output_changes(name):
    model = drawn(CONFIGS[name]())
    channels, x = free_channels(model), {"input_ids": tokens()}
    scores = {f"{layer}.weight": model.get_submodule(layer).weight.detach() for layer in huggingface.layers(model)}
    permuted = two_four.permute_channels(model, x, channels, two_four.find_orders(channels, scores))
    with torch.no_grad():
        torch.testing.assert_close(permuted(**x).logits, model(**x).logits, rtol=0, atol=1e-10)
    before, after = kept(model), kept(permuted)
    assert sum(after.values()) > sum(before.values())
    for block in range(2):
        for layer in ("self_attn.o_proj", "mlp.down_proj"):  # whose order nothing else shares
            assert after[f"model.layers.{block}.{layer}"] > before[f"model.layers.{block}.{layer}"]
    columns = {(name, place) for places in channels for name, dim, along in places if dim == 1 for place in along}
    assert all((name, column) in columns for name, score in scores.items() for column in range(score.shape[1]))
    assert (permuted.lm_head.weight is permuted.model.embed_tokens.weight) == ("tied" in name)


@pytest.mark.parametrize("name", list(CONFIGS))
def test_any_orders_leave_the_outputs_alone(name):
    model, generator = drawn(CONFIGS[name]()), torch.Generator().manual_seed(2)
    channels, x = free_channels(model), {"input_ids": tokens()}
    orders = [torch.randperm(len(places[0][2]), generator=generator) for places in channels]
    permuted = two_four.permute_channels(model, x, channels, orders)
    with torch.no_grad():
        torch.testing.assert_close(permuted(**x).logits, model(**x).logits, rtol=0, atol=1e-10)


def test_each_set_matters():
    """Were a place forgotten, the outputs would differ: of every set, without one of its places."""
    model = drawn(CONFIGS["llama, biases"]())
    x = {"input_ids": tokens()}
    for places in free_channels(model):
        order = torch.arange(len(places[0][2])).flip(0)
        for number in range(len(places)):
            with pytest.raises(ValueError, match="the outputs differ"):
                two_four.permute_channels(model, x, [places[:number] + places[number + 1 :]], [order])


def test_other_families_are_refused():
    config = transformers.GPT2Config(vocab_size=50, n_embd=8, n_layer=1, n_head=2)
    with pytest.raises(ValueError, match="model family is 'gpt2', must be"):
        free_channels(huggingface.prepare_(transformers.AutoModelForCausalLM.from_config(config)))


def test_a_permuted_model_is_saved_and_read_by_transformers_alone(tmp_path):
    model, x = drawn(CONFIGS["llama, tied"]()), {"input_ids": tokens()}
    channels, generator = free_channels(model), torch.Generator().manual_seed(3)
    orders = [torch.randperm(len(places[0][2]), generator=generator) for places in channels]
    permuted = two_four.permute_channels(model, x, channels, orders)
    huggingface.save(permuted, tmp_path)
    read = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float64).eval()
    with torch.no_grad():
        torch.testing.assert_close(read(**x).logits, model(**x).logits, rtol=0, atol=1e-4)  # norms in float32
