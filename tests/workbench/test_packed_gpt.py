"""What is packed comes back, to the last bit; and the file that ships."""

import copy

import pytest
import torch
from packed_models import TINY, on_a_grid, packed

from pruning_lib.tensors import write_tensors
from pruning_lib.workbench import text
from pruning_lib.workbench.checkpoint import load_checkpoint
from pruning_lib.workbench.gpt import GPT
from pruning_lib.workbench.language import perplexity
from pruning_lib.workbench.packed_gpt import PACKED, PackedGPT, pack


def test_every_variant_comes_back_from_the_file(tmp_path):
    models, _ = on_a_grid()
    packed().save(tmp_path / "gpt.safetensors")
    read = PackedGPT.load(tmp_path / "gpt.safetensors")
    assert read == packed() and list(read.parts) == list(models)
    for name, model in models.items():
        back = read.model(name)
        assert isinstance(back, GPT) and not back.training and back.config == TINY
        for key, value in model.state_dict().items():
            torch.testing.assert_close(back.state_dict()[key], value, rtol=1e-6, atol=0, msg=f"{name}: {key}")
    zeros = [(read.model(name).blocks[0].mlp.up.weight == 0).float().mean() for name in models]
    assert zeros[0] < 0.1 and min(zeros[1:]) > 0.5


def test_the_index_says_where_each_part_is():
    index, content = packed().index, packed().content
    assert index["config"] == vars(TINY) and index["shapes"][0] == ["token.weight", [256, 16]]
    for name, part in packed().parts.items():
        place = index["parts"][name]
        assert content[place["at"] :][: place["length"]] == part
    assert [one["base"] for one in index["parts"].values()] == [None, "dense", "a, 50 %"]


def test_a_variant_that_resembles_its_base_needs_fewer_bytes():
    models, scales = on_a_grid()
    pair = {name: models[name] for name in ("dense", "a, 50 %")} | {"again": models["a, 50 %"]}
    near = pack(pair, scales, {"a, 50 %": "dense", "again": "a, 50 %"})
    far = pack(pair, scales, {"a, 50 %": "dense", "again": "dense"})
    assert len(near.parts["again"]) < 0.5 * len(far.parts["again"])


def test_what_cannot_be_packed_is_refused_by_name():
    models, scales = on_a_grid()
    bases = {"a, 50 %": "dense", "b, 50 %": "dense"}
    with pytest.raises(ValueError, match="base of a, 50 % is 'b, 50 %', must be one of 'dense'"):
        pack(models, scales, bases | {"a, 50 %": "b, 50 %"})
    for change, message in ((0.3, "is not made of whole multiples"), (200, "from -127 to 127")):
        broken = copy.deepcopy(models)
        weight = broken["b, 50 %"].blocks[1].mlp.up.weight.data
        weight[0, 0] = change * scales["blocks.1.mlp.up.weight"][0]
        with pytest.raises(ValueError, match=rf"b, 50 %: blocks.1.mlp.up.weight .*{message}"):
            pack(broken, scales, bases)
    models["a, 50 %"].norm.bias.data[0] += 1
    with pytest.raises(ValueError, match="a, 50 % differs from dense in norm.bias, must only in the blocks' matrices"):
        pack(models, scales, bases)


def test_other_files_and_unknown_variants_are_refused(tmp_path):
    with pytest.raises(ValueError, match="nothing.safetensors is not there"):
        PackedGPT.load(tmp_path / "nothing.safetensors")
    write_tensors(tmp_path / "other.safetensors", {"dense": torch.zeros(3)}, {"config": {}})
    with pytest.raises(ValueError, match="other.safetensors is no packed GPT: 'variants'"):
        PackedGPT.load(tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match="variant is 'c', must be one of 'dense', 'a, 50 %', 'b, 50 %'"):
        packed().model("c")


def test_the_file_that_ships_holds_the_trained_gpt_and_what_pruning_made_of_it():
    read, (trained, about) = PackedGPT.load(), load_checkpoint()
    assert len(read.content) < 2.5e6 and PACKED.stat().st_size < 2.6e6
    some = text.load(about["text"]).held_out[: 6 * 256]
    exact = perplexity(trained, some)
    found = {}
    for one in read.about["variants"]:
        model = read.model(one["name"])
        found[one["name"]] = perplexity(model, some)
        zeros = torch.cat([(block.mlp.up.weight == 0).flatten() for block in model.blocks]).float().mean()
        assert zeros > one["sparsity"] - 0.1 and abs(one["perplexity"] / one["float32"] - 1) < 0.1
    assert 0.98 < found["dense"] / exact < 1.02
    for percent in ("70%", "80%"):
        assert found["dense"] < found[f"sparsegpt+refit, {percent}"] < found[f"sparsegpt, {percent}"]
        assert found[f"sparsegpt, {percent}"] < found[f"magnitude, {percent}"]
