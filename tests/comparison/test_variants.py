"""Every variant on a small part of the digits: the budget is the same, the sparsity what was asked, the record true."""

import copy
import re
from dataclasses import replace

import pytest
import torch

from pruning_lib import comparison
from pruning_lib.after_training import magnitude
from pruning_lib.comparison import variants
from pruning_lib.comparison.variants import weights
from pruning_lib.structure import prunable
from pruning_lib.taxonomy import DATA, METHODS
from pruning_lib.workbench import data, models, training

PROTOCOL = comparison.Protocol(dense_epochs=3, retrain_epochs=3, calibration=64)
EVERY = comparison.VARIANTS | comparison.CONTROLS
SETTINGS = [
    (name, variant.settings[3] if len(variant.settings) == len(comparison.SPARSITIES) else variant.settings[0])
    for name, variant in EVERY.items()
]


@pytest.fixture(scope="module")
def images():
    digits = data.load("digits")
    return replace(digits, train=tuple(part[:200] for part in digits.train), test=tuple(p[:100] for p in digits.test))


@pytest.fixture(scope="module")
def dense(images):
    return PROTOCOL.dense(images, 0)


@pytest.mark.parametrize(("name", "setting"), SETTINGS)
def test_cell(images, dense, name, setting, monkeypatch):
    epochs = []
    fit, train_gates = training.fit, variants.sss.train_gates
    monkeypatch.setattr(training, "fit", lambda m, d, e, **kw: epochs.append(e) or fit(m, d, e, **kw))
    monkeypatch.setattr(
        variants.sss,
        "train_gates",
        lambda *a, epochs, **kw: spent(epochs) and train_gates(*a, epochs=epochs, **kw),
    )

    def spent(number):
        epochs.append(number)
        return True

    before = copy.deepcopy(dense.state_dict())
    model, record = comparison.run_cell(name, setting, 0, images, PROTOCOL, dense)
    variant = EVERY[name]
    shared = PROTOCOL.dense_epochs if variant.time == "after" else 0
    assert sum(epochs) + shared == PROTOCOL.epochs, "another budget"
    assert all(torch.equal(before[key], value) for key, value in dense.state_dict().items())

    left = sum(int(weight.count_nonzero()) for weight in prunable(model).values())
    assert record["sparsity"] == pytest.approx(1 - left / weights(dense), abs=1e-6)
    assert record["accuracy"] == training.evaluate(model, images.test)[0]
    if variant.structure == "unstructured":
        assert record["sparsity"] == pytest.approx(setting, abs=2e-3)
        assert record["parameters"] == sum(p.numel() for p in dense.parameters())
        assert record["macs"]["nonzero"] < record["macs"]["dense"]
    if name in ("filters", "small"):
        assert setting <= record["sparsity"] < setting + 0.02
        assert record["macs"]["nonzero"] == record["macs"]["dense"]
    if name == "n_of_m":
        assert record["per_layer"]["fc1.weight"] == 0.5 and record["per_layer"]["conv1.weight"] == 0
        assert record["bytes"]["two_four"] < record["bytes"]["dense"]


def test_the_comparison_trains_in_the_faster_layout(images):
    model, seen = PROTOCOL.fresh(images, 0), []
    model.conv2.register_forward_pre_hook(
        lambda module, _: seen.append(module.weight.is_contiguous(memory_format=torch.channels_last))
    )
    PROTOCOL.fit(model, images, 1, 0)
    trained = len(seen)
    comparison.Case(PROTOCOL, images, model, 0.5, 0).accuracy(model)
    assert 0 < trained < len(seen) and all(seen)


def test_the_same_cell_again_gives_the_same_numbers(images, dense):
    first, second = (comparison.run_cell("sparsegpt", 0.9, 1, images, PROTOCOL, dense)[1] for _ in range(2))
    assert first | {"seconds": 0} == second | {"seconds": 0}


def test_emptied_layers_are_named(images, dense):
    record = comparison.run_cell("wanda", 0.99, 0, images, PROTOCOL, dense)[1]
    assert record["emptied"] == ["conv1.weight"]  # 25 weights in a row, of which round(24.75) go
    assert record["per_layer"]["conv1.weight"] == 1


def test_smaller_takes_no_more_than_it_must(dense, images):
    example = images.test[0][:2]
    for sparsity in (0.0, 0.5, 0.9):
        share = 1 - weights(comparison.smaller(dense, example, sparsity)) / weights(dense)
        assert sparsity <= share < sparsity + 0.02
    with pytest.raises(ValueError, match="sparsity is 2"):
        comparison.smaller(dense, example, 2)


@pytest.mark.parametrize("name", ["resnet8", "lenet_300_100"])  # no neurons that can go, no filters
def test_smaller_takes_what_the_network_has(images, name):
    network = models.build(name, images.shape, len(images.classes))
    share = 1 - weights(comparison.smaller(network, images.test[0][:2], 0.5)) / weights(network)
    assert 0.5 <= share < 0.55


def test_smaller_than_one_unit_in_each_layer_is_refused(dense, images):
    example = images.test[0][:2]
    with pytest.raises(
        ValueError, match=r"sparsity is 1.0, must be at most 0\.99\d+: each layer keeps a unit"
    ) as caught:
        comparison.smaller(dense, example, 1.0)
    most = float(re.search(r"at most (0\.\d+)", str(caught.value))[1])
    assert 1 - weights(comparison.smaller(dense, example, most)) / weights(dense) == pytest.approx(most, abs=1e-6)


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("dense_epochs", 1, "a whole number, at least 2"),
        ("retrain_epochs", 2, "a whole number, at least 3"),
        ("batch_size", 0, "a whole number, at least 1"),
        ("lr", 0.0, "a number above 0"),
        ("lr", float("nan"), "a number above 0"),
    ],
)
def test_a_protocol_has_what_the_variants_need(name, value, allowed):
    with pytest.raises(ValueError, match=f"{name} is {value}, must be {allowed}"):
        comparison.Protocol(**{name: value})
    assert comparison.Protocol(dense_epochs=2, retrain_epochs=3).epochs == 5


def test_built_small_has_the_shapes_that_removing_leaves(images, dense):
    removed, built = (comparison.run_cell(name, 0.9, 0, images, PROTOCOL, dense)[1] for name in ("filters", "small"))
    assert built["shapes"] == removed["shapes"]


def test_a_shuffled_mask_keeps_the_counts_of_each_layer_and_other_places(images):
    model, case = PROTOCOL.fresh(images, 3), comparison.Case(PROTOCOL, images, None, 0.9, 3)
    own, moved = variants._snip(model, case), variants._snip_moved(model, case)
    assert {name: int(mask.sum()) for name, mask in moved.items()} == {name: int(m.sum()) for name, m in own.items()}
    assert all((moved[name] != own[name]).any() for name in own)


@pytest.mark.parametrize("name", [name for name in comparison.CONTROLS if name.endswith("_spared")])
def test_a_spared_first_layer_is_paid_for_by_the_others(images, dense, name):
    record = comparison.run_cell(name, 0.95, 0, images, PROTOCOL, dense)[1]
    first, *others = record["per_layer"].values()
    assert first == 0 and record["sparsity"] == pytest.approx(0.95, abs=2e-3)
    assert all(share == pytest.approx(others[0], abs=0.02) and share > 0.95 for share in others)


def test_refitted_has_the_mask_of_magnitude_per_layer_and_a_smaller_error(images, dense):
    case = comparison.Case(PROTOCOL, images, copy.deepcopy(dense), 0.8, 0)
    plain, fitted = copy.deepcopy(dense), copy.deepcopy(dense)
    masks = magnitude.prune(plain, 0.8, scope="layer")
    masks.zero_(plain)
    found = variants.calibrated(variants.magnitude_refitted)(fitted, case)
    assert all(torch.equal(found[name], masks[name]) for name in masks)
    x = case.sample(PROTOCOL.calibration)[0]
    with torch.no_grad():
        errors = [(model(x) - dense(x)).square().sum() for model in (plain, fitted)]
    assert errors[1] < 0.5 * errors[0]


@pytest.mark.parametrize("seed", range(5))
def test_random_scores_know_nothing_of_the_weights(images, seed):
    model = PROTOCOL.fresh(images, seed)
    for name, score in variants.random_scores(model, seed).items():
        size = prunable(model)[name].detach().abs().flatten()
        both = torch.stack([size, size.argsort().argsort(), prunable(model)[name].detach().flatten()])
        for values in both:
            assert torch.corrcoef(torch.stack([values, score.flatten()]))[0, 1].abs() < 4 / len(size) ** 0.5


def test_a_method_of_the_taxonomy_is_compared_or_it_is_said_why_not():
    compared = {variant.method for variant in comparison.VARIANTS.values()} - {None}
    left_out = set(variants.NOT_COMPARED)
    assert {method.name for method in METHODS} == compared | left_out, "a variant is missing, or why there is none"
    assert not compared & left_out and all(variants.NOT_COMPARED.values())


def test_a_variant_has_the_traits_of_its_method():
    rows = {method.name: method for method in METHODS}
    own = {}
    for name, variant in comparison.VARIANTS.items():
        assert variant.data in DATA
        if variant.method:
            row = rows[variant.method]
            assert variant.time == row.time and variant.structure in row.structures
            own |= {} if variant.data == row.data else {name: variant.data}
    assert own == {"magnitude_refit": "a few unlabeled samples"}
    baselines = [name for name, variant in comparison.VARIANTS.items() if not variant.method]
    assert baselines == ["random", "init", "small", "dense", "dense_twice"]
    snip = comparison.VARIANTS["snip"]
    assert (snip.label, snip.time, snip.data) == ("SNIP", "before", "a few labeled samples")


def test_unknown_variant_is_refused(images, dense):
    with pytest.raises(ValueError, match="name is 'lottery', must be one of 'random'"):
        comparison.run_cell("lottery", 0.5, 0, images, PROTOCOL, dense)
