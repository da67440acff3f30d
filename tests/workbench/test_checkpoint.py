import hashlib

import pytest
import torch

from pruning_lib.tensors import read_tensors, write_tensors
from pruning_lib.workbench import text
from pruning_lib.workbench.checkpoint import CHECKPOINT, load_checkpoint, save_checkpoint
from pruning_lib.workbench.gpt import GPT, Config
from pruning_lib.workbench.language import perplexity

TINY = Config(width=16, depth=2, heads=2, context=12)


@pytest.fixture
def saved(tmp_path):
    save_checkpoint(tmp_path / "gpt.safetensors", GPT(TINY, seed=1), {"steps": 3})
    return tmp_path / "gpt.safetensors"


def test_what_was_saved_is_loaded_rounded_to_float16(saved):
    model, about = load_checkpoint(saved)
    assert about == {"config": vars(TINY), "steps": 3}
    assert model.config == TINY and not model.training
    for name, value in GPT(TINY, seed=1).state_dict().items():
        assert torch.equal(model.state_dict()[name], value.half().float())


def test_sha256_beside_it_is_that_of_the_file(saved):
    expected = hashlib.sha256(saved.read_bytes()).hexdigest()
    assert saved.with_suffix(".sha256").read_text() == f"{expected}  gpt.safetensors\n"


def test_one_flipped_bit_is_refused(saved):
    raw = bytearray(saved.read_bytes())
    raw[-1] ^= 1
    saved.write_bytes(raw)
    with pytest.raises(ValueError, match=r"safetensors has SHA-256 [0-9a-f]{64}, must be [0-9a-f]{64} as gpt.sha256"):
        load_checkpoint(saved)
    saved.with_suffix(".sha256").write_text("")
    with pytest.raises(ValueError, match="has SHA-256"):
        load_checkpoint(saved)


@pytest.mark.parametrize("suffix", [".safetensors", ".sha256"])
def test_a_missing_file_is_named(saved, suffix):
    saved.with_suffix(suffix).unlink()
    with pytest.raises(ValueError, match=rf"gpt\{suffix} is not there"):
        load_checkpoint(saved)


def rehash(path):
    path.with_suffix(".sha256").write_text(hashlib.sha256(path.read_bytes()).hexdigest())


@pytest.mark.parametrize(
    ("about", "message"),
    [
        ({}, "no checkpoint of a GPT: 'config'"),
        ({"config": {"size": "huge"}}, "no checkpoint of a GPT: .*unexpected keyword argument 'size'"),
        ({"config": {**vars(TINY), "width": 32}}, "no checkpoint of a GPT: .*size mismatch"),
        ({"config": {**vars(TINY), "depth": 3}}, "no checkpoint of a GPT: .*[Mm]issing key"),
        ({"config": {**vars(TINY), "heads": 3}}, "heads is 3, must divide width = 16"),
    ],
)
def test_other_configurations_are_refused(saved, about, message):
    write_tensors(saved, read_tensors(saved)[0], about)
    rehash(saved)
    with pytest.raises(ValueError, match=f"(?s){message}"):
        load_checkpoint(saved)


def test_a_file_of_another_kind_is_refused(saved):
    for content in (b"no safetensors", saved.read_bytes()[:500]):
        saved.write_bytes(content)
        rehash(saved)
        with pytest.raises(ValueError, match="is not a whole file"):
            load_checkpoint(saved)


def test_the_checkpoint_that_ships_is_what_it_says():
    model, about = load_checkpoint()
    assert CHECKPOINT.stat().st_size <= 8_000_000
    source = text.load(about["text"])
    measured, recorded = perplexity(model, source.held_out), about["perplexity"]["held_out"]
    # Another Python version has slightly other help texts.
    same = text.digest(source.held_out) == about["held_out_sha256"]
    assert measured == pytest.approx(recorded, rel=1e-4 if same else 0.05)
    assert measured < 0.3 * perplexity(GPT(model.config), source.held_out[:2560])
