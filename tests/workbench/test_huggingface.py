"""Tiny models drawn at random from the configurations of each family; nothing is downloaded."""

import copy
import math
import sys
from types import SimpleNamespace

import pytest
import torch

from pruning_lib.after_training import reconstruction, sparsegpt
from pruning_lib.structure import Masks, choose_units, prunable, remove, score_units, zero_units
from pruning_lib.workbench import huggingface

transformers = pytest.importorskip("transformers", reason="transformers is not installed (extra llm)")

WORDS = 50
CONTEXT = 16
SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "max_position_embeddings": CONTEXT}
ENDS = {"vocab_size": WORDS, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
GROUPED = SMALL | ENDS | {"num_key_value_heads": 2, "intermediate_size": 48}
CONFIGS = {
    "opt": lambda: transformers.OPTConfig(**SMALL, **ENDS, ffn_dim=48, word_embed_proj_dim=16),
    "llama": lambda: transformers.LlamaConfig(**GROUPED),
    "qwen2": lambda: transformers.Qwen2Config(**GROUPED),
    "qwen3": lambda: transformers.Qwen3Config(**GROUPED, head_dim=8),
    "gpt2": lambda: transformers.GPT2Config(**ENDS, n_embd=32, n_layer=2, n_head=4, n_positions=CONTEXT),
}
GATED = ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj"] + [
    f"mlp.{part}_proj" for part in ("gate", "up", "down")
]
LAYERS = {
    "opt": [f"self_attn.{part}" for part in ("k_proj", "v_proj", "q_proj", "out_proj")] + ["fc1", "fc2"],
    "llama": GATED,
    "qwen2": GATED,
    "qwen3": GATED,
    "gpt2": ["attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj"],
}
FAMILIES = pytest.mark.parametrize("family", list(CONFIGS))


def drawn(family):
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(CONFIGS[family]()).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(std=0.3)  # so that the model has preferences
    return model


def tokens(*shape):
    return torch.randint(3, WORDS, shape, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def tokenizer():
    """Words w3 … w49, w1 before every text."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    plain = Tokenizer(models.WordLevel({f"w{i}": i for i in range(WORDS)}, unk_token="w0"))
    plain.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    plain.post_processor = processors.TemplateProcessing(single="w1 $A", special_tokens=[("w1", 1)])
    return transformers.PreTrainedTokenizerFast(tokenizer_object=plain, unk_token="w0")


def prose(ids):
    return " ".join(f"w{i}" for i in ids.tolist())


@FAMILIES
def test_layers_are_the_linear_ones_of_the_decoder_blocks(family):
    model = huggingface.prepare_(drawn(family))
    places = {"opt": "model.decoder.layers", "gpt2": "transformer.h"}
    place = places.get(family, "model.layers")
    assert sorted(huggingface.layers(model)) == sorted(f"{place}.{i}.{name}" for i in (0, 1) for name in LAYERS[family])
    assert len(huggingface.decoder_blocks(model)) == 2
    assert {f"{name}.weight" for name in huggingface.layers(model)} <= prunable(model).keys()
    assert not model.config.use_cache


def test_conv1d_becomes_a_linear_layer_with_the_same_outputs():
    model = drawn("gpt2")
    x = tokens(3, CONTEXT)
    before, state = model(x).logits, {name: value.clone() for name, value in model.state_dict().items()}
    generator_state = torch.get_rng_state()
    assert huggingface.prepare_(model) is model
    assert torch.equal(torch.get_rng_state(), generator_state)
    torch.testing.assert_close(model(x).logits, before)
    assert model.state_dict().keys() == state.keys()
    for name in huggingface.layers(model):
        layer = model.get_submodule(name)
        assert type(layer).__mro__[1] is torch.nn.Linear
        assert torch.equal(layer.weight, state[f"{name}.weight"].T)
        assert tuple(layer.weight.shape) == (layer.out_features, layer.in_features)
        assert not layer.training


def test_a_conv1d_is_not_listed_as_if_it_were_linear():
    with pytest.raises(ValueError, match=r"transformer.h.0.attn.c_attn is a Conv1D .*: use prepare_"):
        huggingface.layers(drawn("gpt2"))


@FAMILIES
def test_a_pruned_model_saved_and_loaded_gives_the_same_outputs(family, tokenizer, tmp_path):
    model, x = huggingface.prepare_(drawn(family)), tokens(2, CONTEXT)
    generator = torch.Generator().manual_seed(0)
    weights = {f"{name}.weight": model.get_submodule(name).weight for name in huggingface.layers(model)}
    masks = Masks({name: torch.rand(weight.shape, generator=generator) > 0.5 for name, weight in weights.items()})
    masks.zero_(model)
    huggingface.save(model, tmp_path, tokenizer)
    again, _ = huggingface.load(tmp_path)
    assert torch.equal(again(x).logits, model(x).logits)
    for name, mask in masks.items():
        assert torch.equal(again.get_parameter(name) == 0, ~mask)
    # Other readers get the family's own layout.
    plain = transformers.AutoModelForCausalLM.from_pretrained(tmp_path)
    torch.testing.assert_close(plain(x).logits, model(x).logits)


@FAMILIES
@pytest.mark.parametrize("prepared", [True, False])
def test_saving_leaves_the_model_alone_and_writes_the_cache_as_it_was(family, prepared, tmp_path):
    model = drawn(family)
    if prepared:
        huggingface.prepare_(huggingface.prepare_(model))
    modules, parameters = dict(model.named_modules()), dict(model.named_parameters())
    values = {name: value.clone() for name, value in model.state_dict().items()}
    huggingface.save(model, tmp_path)
    assert dict(model.named_modules()) == modules  # the same objects
    for name, parameter in model.named_parameters():
        assert parameter is parameters[name] and torch.equal(parameter, values[name])
    assert model.config.use_cache is not prepared
    plain = transformers.AutoModelForCausalLM.from_pretrained(tmp_path)
    assert plain.config.use_cache
    x = tokens(2, CONTEXT)
    torch.testing.assert_close(plain(x).logits, model(x).logits)


def test_load_gives_the_tokenizer_and_takes_type_and_device(tokenizer, tmp_path):
    huggingface.save(huggingface.prepare_(drawn("opt")), tmp_path, tokenizer)
    model, tokenizer = huggingface.load(tmp_path)
    assert next(model.parameters()).dtype == torch.float32
    assert tokenizer("w5 w7")["input_ids"] == [1, 5, 7]
    model, _ = huggingface.load(tmp_path, dtype=torch.bfloat16, device="cpu")
    assert next(model.parameters()).dtype == torch.bfloat16
    perplexity = huggingface.wikitext_perplexity(model, tokenizer, prose(tokens(64)), progress=False)
    assert math.isfinite(perplexity)


def test_other_families_are_refused(tmp_path):
    config = transformers.BloomConfig(hidden_size=16, n_layer=1, n_head=2, vocab_size=WORDS)
    config.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="model family is 'bloom', must be one of 'opt', 'llama'"):
        huggingface.load(tmp_path)
    model = transformers.AutoModelForCausalLM.from_config(config)
    for function in (huggingface.prepare_, huggingface.layers, huggingface.decoder_blocks):
        with pytest.raises(ValueError, match="model family is 'bloom'"):
            function(model)
    with pytest.raises(ValueError, match="model family is None"):
        huggingface.layers(torch.nn.Linear(2, 2))


@FAMILIES
@pytest.mark.parametrize("context", [None, 5])
def test_perplexity_equals_the_models_own_loss_segment_by_segment(family, context, tokenizer):
    model, ids = huggingface.prepare_(drawn(family)), tokens(50)
    known = torch.cat([torch.tensor([1]), ids])  # the tokenizer begins with w1
    length = context or CONTEXT
    losses = [
        model(input_ids=part, labels=part).loss.item()  # the mean over all but the first token
        for part in (known[i : i + length].unsqueeze(0) for i in range(0, len(known) - length + 1, length))
    ]
    assert len(losses) == 51 // length
    measured = huggingface.wikitext_perplexity(model, tokenizer, prose(ids), context, progress=False)
    assert measured == pytest.approx(math.exp(sum(losses) / len(losses)), rel=1e-5)


def test_perplexity_refuses_bad_input(tokenizer):
    model = huggingface.prepare_(drawn("llama"))
    with pytest.raises(ValueError, match="context is 17, must be at most 16 as the model's"):
        huggingface.wikitext_perplexity(model, tokenizer, prose(tokens(50)), 17)
    with pytest.raises(ValueError, match="must be .* with at least 16 tokens"):
        huggingface.wikitext_perplexity(model, tokenizer, prose(tokens(10)))


def test_calibration_draws_whole_stretches_of_documents_that_are_long_enough(tokenizer):
    texts = [torch.arange(3, 3 + length) for length in (4, 9, 12, 5)]
    documents = [prose(ids) for ids in texts]
    batches = huggingface.calibration(tokenizer, documents, count=300, length=10, seed=3, progress=False)
    assert len(batches) == 300 and all(batch.shape == (1, 10) and batch.dtype == torch.int64 for batch in batches)
    known = {tuple([1, *ids.tolist()][i : i + 10]) for ids in texts for i in range(len(ids) - 8)}
    assert {tuple(batch[0].tolist()) for batch in batches} == known  # every stretch of the two long ones, no other
    again = huggingface.calibration(tokenizer, documents, count=300, length=10, seed=3, progress=False)
    other = huggingface.calibration(tokenizer, documents, count=300, length=10, seed=4, progress=False)
    assert torch.equal(torch.cat(batches), torch.cat(again))
    assert not torch.equal(torch.cat(batches), torch.cat(other))


@pytest.mark.parametrize("documents", [[], ["w3 w4", "w5"]])
def test_calibration_without_a_long_document_is_refused(tokenizer, documents):
    message = f"documents: none of {len(documents)} has length = 4 tokens, one must have"
    with pytest.raises(ValueError, match=message):
        huggingface.calibration(tokenizer, documents, count=2, length=4, progress=False)


@pytest.mark.parametrize(("option", "value"), [("count", 0), ("length", 1)])
def test_calibration_refuses_bad_sizes(tokenizer, option, value):
    with pytest.raises(ValueError, match=f"{option} is {value}, must be at least"):
        huggingface.calibration(tokenizer, ["w3 w4 w5"], progress=False, **{option: value})


def test_the_papers_data_are_asked_for_by_name(tokenizer, monkeypatch):
    asked = []

    def load_dataset(*names, **options):
        asked.append((names, options))
        return {"text": ["w3 w4 w5", "", "w6 w7 w8 w9"]}

    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=load_dataset))
    batches = huggingface.calibration(tokenizer, count=1, length=5, progress=False)
    assert batches[0].tolist() == [[1, 6, 7, 8, 9]]
    assert huggingface.wikitext() == "w3 w4 w5\n\n\n\nw6 w7 w8 w9"
    shard = {"train": "en/c4-train.00000-of-01024.json.gz"}
    assert asked == [
        (("allenai/c4",), {"data_files": shard, "split": "train"}),
        (("Salesforce/wikitext", "wikitext-2-raw-v1"), {"split": "test"}),
    ]


def gather(hessian):
    def hook(module, inputs):
        hessian.add(inputs[0])

    return hook


@FAMILIES
@pytest.mark.filterwarnings("error:the elements of")  # the blocks are walked one by one
def test_sequential_pruning_equals_whole_passes_of_the_model_block_by_block(family):
    model, batches = huggingface.prepare_(drawn(family)).double(), list(tokens(6, CONTEXT).split(2))
    expected = copy.deepcopy(model)
    names = huggingface.layers(model)
    place = huggingface.BLOCKS[family]
    for block in range(len(huggingface.decoder_blocks(expected))):
        layers = {name: expected.get_submodule(name) for name in names if name.startswith(f"{place}.{block}.")}
        hessians = {name: reconstruction.Hessian(layer.in_features, torch.float64) for name, layer in layers.items()}
        hooks = [layers[name].register_forward_pre_hook(gather(hessian)) for name, hessian in hessians.items()]
        with torch.no_grad():
            for batch in batches:
                expected(batch)
            for name, layer in layers.items():
                layer.weight.copy_(sparsegpt.prune_weight(layer.weight, hessians[name].matrix, n_m=(2, 4))[0])
        for hook in hooks:
            hook.remove()
    masks = sparsegpt.prune_model(model, batches, n_m=(2, 4), layers=names, progress=False)
    assert set(masks) == {f"{name}.weight" for name in names} and masks.sparsity == 0.5
    for name, value in expected.state_dict().items():
        torch.testing.assert_close(model.state_dict()[name], value, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("family", ["opt", "llama", "qwen2", "qwen3"])
def test_heads_and_neurons_can_be_removed(family):
    model, inputs = drawn(family).double(), {"input_ids": tokens(2, 6), "use_cache": False}
    heads = choose_units(score_units(model, "head", example_inputs=inputs), 0.5)
    units = heads | choose_units(score_units(model, "neuron", example_inputs=inputs), 0.5)
    assert len(heads) == 2 and len(units) == 4  # in each block attention and a hidden layer
    smaller, zeroed = remove(model, inputs, units), copy.deepcopy(model)
    zero_units(zeroed, units, inputs)
    with torch.no_grad():
        expected = zeroed(**inputs).logits
        torch.testing.assert_close(smaller(**inputs).logits, expected, rtol=1e-9, atol=1e-12)
        assert (model(**inputs).logits - expected).abs().max() > 1e-3
    for name in heads:
        attention = smaller.get_submodule(name)
        queries = model.get_submodule(name).q_proj.out_features // 2  # two of four heads, and what they read
        assert (attention.q_proj.out_features, attention.k_proj.out_features) == (
            queries,
            queries // (2 - (family == "opt")),
        )
