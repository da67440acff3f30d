"""The recorded networks: whole, small, and what their record says."""

import pytest
import torch

from pruning_lib.structure import prunable
from pruning_lib.teaching import recorded_lenet
from pruning_lib.teaching.recorded_lenet import FILE, from_vector, load, ranking, to_vector
from pruning_lib.tensors import read_tensors, write_tensors
from pruning_lib.workbench import models, training
from pruning_lib.workbench.data import load as load_data


@pytest.fixture(scope="module")
def recorded():
    return load()


def test_masks_keep_the_first_in_the_ranking(recorded):
    assert list(recorded.ranks) == ["SNIP", "magnitude", "random"]
    assert recorded.sparsities == [0.0, 0.5, 0.8, 0.9, 0.95, 0.98, 0.99]
    for score, ranks in recorded.ranks.items():
        assert ranks.int().sort().values.equal(torch.arange(50_200, dtype=torch.int32))
        masks = recorded.masks(score, 0.9)
        assert masks.kept == 5020
        assert torch.cat([mask.flatten() for mask in masks.values()]).equal(ranks.int() < 5020)
    sizes = torch.cat([w.detach().abs().flatten() for w in prunable(from_vector(recorded.start)).values()])
    assert recorded.ranks["magnitude"].equal(ranking(sizes))


def test_networks_have_the_masks_and_their_own_weights(recorded):
    start = recorded.network("SNIP", 0.95, trained=False)
    trained = recorded.network("SNIP", 0.95)
    for name, mask in recorded.masks("SNIP", 0.95).items():
        before, after = start.get_parameter(name), trained.get_parameter(name)
        assert not before[~mask].any() and not after[~mask].any()
        assert not torch.equal(before[mask], after[mask])
    assert to_vector(recorded.network("random", 0.0)).equal(recorded.dense)
    assert to_vector(recorded.network("random", 0.0, trained=False)).equal(recorded.start)


def test_they_read_the_digits(recorded):
    test = load_data("digits").test
    right = {
        (score, s): 360 * training.evaluate(recorded.network(score, s), test)[0]
        for score in recorded.ranks
        for s in (0.0, 0.95)
    }
    assert {key: round(value) for key, value in right.items()} == {
        ("SNIP", 0.0): 349,
        ("SNIP", 0.95): 332,
        ("magnitude", 0.0): 349,
        ("magnitude", 0.95): 311,
        ("random", 0.0): 349,
        ("random", 0.95): 135,
    }


def test_vectors_hold_weights_then_biases():
    network = models.lenet_300_100((1, 8, 8), seed=3)
    network.fc1.bias.data += 1
    vector = to_vector(network)
    assert vector.dtype == torch.float16 and len(vector) == 50_200 + 410
    assert (vector[50_200:50_500] == 1).all()
    assert vector[: 300 * 64].equal(network.fc1.weight.detach().flatten().half())
    assert to_vector(from_vector(vector)).equal(vector)


def test_ranking_of_ties_and_files_written(tmp_path, recorded):
    assert ranking(torch.tensor([1.0, 3.0, 1.0, 3.0])).tolist() == [2, 0, 3, 1]
    recorded_lenet.write(recorded, tmp_path / "copy.safetensors")
    again = load(tmp_path / "copy.safetensors")
    assert again.about == recorded.about and again.trained.keys() == recorded.trained.keys()
    assert all(again.trained[key].equal(values) for key, values in recorded.trained.items())
    assert FILE.stat().st_size < 700_000


def test_every_score_is_written_and_read(tmp_path, recorded):
    ranks = recorded.ranks | {"two words": recorded.ranks["random"].flip(0)}
    trained = recorded.trained | {("two words", s): recorded.trained["random", s] for s in recorded.sparsities[1:]}
    recorded_lenet.write(recorded._replace(ranks=ranks, trained=trained), tmp_path / "more.safetensors")
    again = load(tmp_path / "more.safetensors")
    assert list(again.ranks) == ["SNIP", "magnitude", "random", "two words"]
    assert all(again.ranks[score].equal(rank) for score, rank in ranks.items())
    assert again.trained.keys() == trained.keys()


def test_bad_input(tmp_path, recorded):
    with pytest.raises(ValueError, match="sparsity is 0.7, must be one of 0.0, 0.5"):
        recorded.network("SNIP", 0.7)
    with pytest.raises(ValueError, match="score is 'size', must be one of 'SNIP'"):
        recorded.masks("size", 0.5)
    (tmp_path / "cut.safetensors").write_bytes(FILE.read_bytes()[:1000])
    with pytest.raises(ValueError, match="is not a whole file of tensors"):
        load(tmp_path / "cut.safetensors")
    whole = read_tensors(FILE)[0]
    for wrong in (
        {"weight": torch.ones(3)},
        {name: tensor for name, tensor in whole.items() if name != "rank SNIP"},
        {name: tensor for name, tensor in whole.items() if name != "dense"},
        {name: tensor for name, tensor in whole.items() if name != "trained random 0.9"},
        whole | {"start": torch.tensor(1.0)},
        whole | {"start": whole["start"][:-1]},
        whole | {"rank random": whole["rank random"][:-1]},
    ):
        write_tensors(tmp_path / "other.safetensors", wrong)
        with pytest.raises(ValueError, match="other.safetensors holds no recorded LeNet"):
            load(tmp_path / "other.safetensors")
