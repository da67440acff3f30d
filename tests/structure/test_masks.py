import copy
import io
import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from pruning_lib.structure import Masks, keep_largest, prunable, release


def network(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 4, 8), nn.ReLU(), nn.Linear(8, 3)
    )


def magnitude_masks(model, sparsity=0.6):
    return keep_largest({name: weight.detach().abs() for name, weight in prunable(model).items()}, sparsity)


def batch(seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(16, 1, 4, 4, generator=generator), torch.randint(0, 3, (16,), generator=generator)


def train(model, optimizer, steps=4):
    for seed in range(steps):
        optimizer.zero_grad()
        inputs, targets = batch(seed)
        F.cross_entropy(model(inputs), targets).backward()
        optimizer.step()


def network_4x4():
    model = network()
    model[4] = nn.Linear(4 * 2 * 2, 8)
    return model


OPTIMIZERS = {
    "sgd": lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, weight_decay=5e-4),
    "nesterov": lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, weight_decay=5e-4, nesterov=True),
    "adam": lambda p: torch.optim.Adam(p, 0.01, weight_decay=5e-4),
    "adamw": lambda p: torch.optim.AdamW(p, 0.01),
}


def assert_masked(model, masks):
    for name, weight in prunable(model).items():
        assert (weight[~masks[name]] == 0).all(), name
        assert (weight[masks[name]] != 0).all(), name


def test_prunable_takes_linear_and_conv_weights_only():
    model = nn.ModuleDict(
        {
            "conv": nn.Conv1d(2, 3, 1),
            "norm": nn.BatchNorm1d(3),
            "embedding": nn.Embedding(7, 4),
            "head": nn.Linear(4, 7, bias=False),
            "fc": nn.Linear(4, 5),
        }
    )
    assert list(prunable(model)) == ["conv.weight", "head.weight", "fc.weight"]
    model["head"].weight = model["embedding"].weight
    assert list(prunable(model)) == ["conv.weight", "fc.weight"]
    assert list(prunable(nn.Linear(2, 2))) == ["weight"]


def test_shared_weight_is_listed_once():
    layer = nn.Linear(3, 3)
    assert list(prunable(nn.Sequential(layer, nn.ReLU(), layer))) == ["0.weight"]


def test_no_prunable_weight():
    with pytest.raises(ValueError, match="no prunable weight"):
        prunable(nn.Sequential(nn.Embedding(3, 3), nn.LayerNorm(3)))


def test_counts():
    masks = Masks({"a": torch.tensor([True, False]), "b": torch.tensor([[False], [False]])})
    assert (masks.kept, masks.total, masks.sparsity) == (1, 4, 0.75)
    assert masks.per_layer() == {"a": 0.5, "b": 1.0}
    assert "1 of 4 kept" in repr(masks)


def test_zero_and_mask_give_the_same_output():
    """TAX-3."""
    model = network_4x4().double().eval()
    masks = magnitude_masks(model)
    inputs = batch()[0].double()
    written = copy.deepcopy(model)
    masks.zero_(written)
    products = {name: weight * masks[name] for name, weight in prunable(model).items()}
    torch.testing.assert_close(written(inputs), torch.func.functional_call(model, products, inputs), rtol=0, atol=0)
    masks.hold(model)
    torch.testing.assert_close(model(inputs), written(inputs), rtol=0, atol=0)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_held_weights_stay_zero_through_training(name):
    model = network_4x4()
    masks = magnitude_masks(model)
    optimizer = OPTIMIZERS[name](model.parameters())
    masks.hold(model)
    train(model, optimizer)
    assert_masked(model, masks)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_zeros_alone_do_not_survive_training(name):
    model = network_4x4()
    masks = magnitude_masks(model)
    optimizer = OPTIMIZERS[name](model.parameters())
    masks.zero_(model)
    train(model, optimizer)
    assert any((weight[~masks[key]] != 0).any() for key, weight in prunable(model).items())


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_momentum_gathered_before_the_mask_moves_nothing(name):
    model = network_4x4()
    optimizer = OPTIMIZERS[name](model.parameters())
    train(model, optimizer)
    masks = magnitude_masks(model)
    masks.hold(model)
    train(model, optimizer)
    assert_masked(model, masks)


def test_training_equals_training_of_the_product():
    """TAX-2: gradient descent on L(W ⊙ M) with M fixed, written out, in float64."""
    model = network_4x4().double()
    masks = magnitude_masks(model)
    reference = copy.deepcopy(model)
    masks.hold(model)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    parameters = dict(reference.named_parameters())
    for seed in range(3):
        inputs, targets = batch(seed)
        optimizer.zero_grad()
        F.cross_entropy(model(inputs.double()), targets).backward()
        optimizer.step()
        masked = {key: value * masks[key] if key in masks else value for key, value in parameters.items()}
        loss = F.cross_entropy(torch.func.functional_call(reference, masked, inputs.double()), targets)
        gradients = torch.autograd.grad(loss, list(parameters.values()))
        with torch.no_grad():
            for parameter, gradient in zip(parameters.values(), gradients, strict=True):
                parameter -= 0.1 * gradient
    for key, value in model.named_parameters():
        expected = parameters[key] * masks[key] if key in masks else parameters[key]
        torch.testing.assert_close(value, expected, rtol=1e-12, atol=1e-14)


def test_state_dict_has_plain_names_and_loading_keeps_the_mask():
    model = network_4x4()
    dense = {key: value.clone() for key, value in model.state_dict().items()}
    masks = magnitude_masks(model)
    masks.hold(model)
    assert list(model.state_dict()) == list(dense)
    plain = network_4x4()
    plain.load_state_dict(model.state_dict())
    assert_masked(plain, masks)
    model.load_state_dict(dense)
    assert_masked(model, masks)
    model.load_state_dict(dense, assign=True)
    train(model, OPTIMIZERS["sgd"](model.parameters()))
    assert_masked(model, masks)


def test_deepcopy_is_held_too_and_independent():
    model = network_4x4()
    masks = magnitude_masks(model)
    handle = masks.hold(model)
    clone = copy.deepcopy(model)
    train(clone, OPTIMIZERS["adam"](clone.parameters()))
    assert_masked(clone, masks)
    release(clone)
    train(clone, OPTIMIZERS["sgd"](clone.parameters()))
    assert (prunable(clone)["4.weight"][~masks["4.weight"]] != 0).any()
    train(model, OPTIMIZERS["sgd"](model.parameters()))
    assert_masked(model, masks)
    handle.remove()


def test_pickled_model_is_held():
    model = network_4x4()
    masks = magnitude_masks(model)
    masks.hold(model)
    loaded = pickled(model)
    train(loaded, OPTIMIZERS["sgd"](loaded.parameters()))
    assert_masked(loaded, masks)


def test_remove_bakes_or_restores():
    model = network_4x4()
    before = {name: weight.detach().clone() for name, weight in prunable(model).items()}
    masks = magnitude_masks(model)
    masks.hold(model).remove()
    assert_masked(model, masks)
    with torch.no_grad():
        for name, weight in prunable(model).items():
            weight.copy_(before[name])
    masks.hold(model).remove(restore=True)
    for name, weight in prunable(model).items():
        assert torch.equal(weight, before[name])
    assert not any(module._forward_pre_hooks or module._load_state_dict_post_hooks for module in model.modules())
    train(model, OPTIMIZERS["sgd"](model.parameters()))
    assert (prunable(model)["4.weight"][~masks["4.weight"]] != 0).all()


def test_two_forward_passes_before_one_backward():
    model = network_4x4()
    magnitude_masks(model).hold(model)
    inputs, targets = batch()
    first, second = model(inputs), model(inputs)
    (F.cross_entropy(first, targets) + F.cross_entropy(second, targets)).backward()


def test_functional_call_on_a_held_model_leaves_it_held():
    model = network_4x4()
    masks = magnitude_masks(model)
    masks.hold(model)
    weights = {name: weight.detach().clone().requires_grad_() for name, weight in prunable(model).items()}
    torch.func.functional_call(model, weights, batch()[0]).sum().backward()
    optimizer = OPTIMIZERS["sgd"](model.parameters())
    train(model, optimizer)
    assert_masked(model, masks)
    assert all((weight.grad[~masks[name]] == 0).all() for name, weight in prunable(model).items())


def test_holding_twice_is_refused():
    model = network_4x4()
    masks = magnitude_masks(model)
    handle = masks.hold(model)
    with pytest.raises(ValueError, match=r"'0.weight' is held"):
        masks.hold(model)
    handle.remove()
    masks.hold(model)


@pytest.mark.parametrize("apply", [Masks.zero_, Masks.hold])
def test_masks_that_do_not_fit_change_nothing(apply):
    model = network_4x4()
    before = copy.deepcopy(model.state_dict())
    fitting = torch.zeros(4, 1, 3, 3, dtype=torch.bool)
    with pytest.raises(ValueError, match=r"masks\['4.weight'\] has shape \(2, 2\), must be \(8, 16\)"):
        apply(Masks({"0.weight": fitting, "4.weight": torch.zeros(2, 2, dtype=torch.bool)}), model)
    with pytest.raises(ValueError, match="'9.weight'"):
        apply(Masks({"0.weight": fitting, "9.weight": fitting}), model)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert not any(module._forward_pre_hooks for module in model.modules())


def test_masks_of_numbers_and_empty_masks_are_refused():
    for wrong in (torch.ones(2), torch.ones(0, dtype=torch.bool), [True]):
        with pytest.raises(ValueError, match=r"masks\['a'\] is .*, must be a torch.bool tensor"):
            Masks({"a": wrong})
    with pytest.raises(ValueError, match="empty"):
        Masks({})


def test_equality():
    masks = magnitude_masks(network_4x4())
    assert masks == Masks({name: mask.clone() for name, mask in masks.items()})
    assert masks != magnitude_masks(network_4x4(), 0.5)
    assert masks != "masks"


def test_save_and_load(tmp_path):
    path = tmp_path / "masks.safetensors"
    masks = magnitude_masks(network_4x4())
    masks.save(path)
    loaded = Masks.load(path)
    assert loaded == masks
    path.write_bytes(b"")  # the loaded masks do not depend on the file
    assert loaded == masks
    shared = torch.tensor([True, False])
    Masks({"a": shared, "b": shared}).save(path)
    assert Masks.load(path).kept == 2
    assert [file.name for file in tmp_path.iterdir()] == ["masks.safetensors"]


@pytest.mark.parametrize("length", [0, 5, 100, -3])
def test_truncated_mask_file(tmp_path, length):
    path = tmp_path / "masks.safetensors"
    magnitude_masks(network_4x4()).save(path)
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(ValueError, match=r"masks.safetensors is not a whole mask file"):
        Masks.load(path)


def test_a_failed_save_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "masks.safetensors"
    masks = magnitude_masks(network_4x4())
    masks.save(path)
    before = path.read_bytes()

    def fails(tensors, file, metadata):
        file.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr("pruning_lib.tensors.save_file", fails)
    with pytest.raises(OSError, match="disk full"):
        masks.save(path)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["masks.safetensors"]


class Direct(nn.Module):
    """Uses its layer's weight without calling the layer, as nn.MultiheadAttention does with its output projection."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(16, 3)

    def forward(self, inputs):
        return F.linear(inputs.flatten(1), self.fc.weight, self.fc.bias)


@pytest.mark.parametrize("copied", [lambda model: model, copy.deepcopy, lambda model: pickled(model)])
def test_a_weight_used_without_its_module_is_held(copied):
    model = Direct()
    masks = magnitude_masks(model)
    masks.hold(model)
    model = copied(model)
    train(model, OPTIMIZERS["adam"](model.parameters()))
    assert_masked(model, masks)


def pickled(model):
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_masked_entries_are_zero_even_where_numbers_are_not_finite(bad):
    layer = nn.Linear(3, 1, bias=False)
    masks = Masks({"weight": torch.tensor([[True, False, False]])})
    masks.hold(layer)
    layer.load_state_dict({"weight": torch.tensor([[1.0, bad, 2.0]])})
    assert layer.weight.tolist() == [[1, 0, 0]]
    layer(torch.tensor([[1.0, bad, 1.0]])).nan_to_num().sum().backward()
    assert layer.weight.grad[0, 1:].tolist() == [0, 0]
    layer.weight.grad.fill_(bad)
    OPTIMIZERS["adam"](layer.parameters()).step()
    assert layer.weight[0, 1:].tolist() == [0, 0]


def test_each_handle_removes_its_own():
    model = network_4x4()
    masks = magnitude_masks(model)
    first = Masks({"0.weight": masks["0.weight"]}).hold(model)
    second = Masks({"4.weight": masks["4.weight"]}).hold(model)
    first.remove()
    train(model, OPTIMIZERS["sgd"](model.parameters()))
    assert (model[0].weight != 0).all()
    assert (model[4].weight[~masks["4.weight"]] == 0).all()
    with pytest.raises(ValueError, match="removed already"):
        first.remove()
    second.remove()


def test_tensors_of_the_caller_are_left_alone():
    model = network_4x4()
    masks = magnitude_masks(model)
    masks.hold(model)
    mine = {name: torch.ones_like(weight) for name, weight in prunable(model).items()}
    torch.func.functional_call(model, mine, batch()[0])
    state = {name: torch.ones_like(value) for name, value in model.state_dict().items()}
    model.load_state_dict(state, assign=True)
    model(batch()[0])
    assert all((tensor == 1).all() for tensor in [*mine.values(), *(state[name] for name in masks)])
    assert (model[4].weight[~masks["4.weight"]] == 0).all()


def test_shared_weight_is_held_in_every_module():
    layer = nn.Linear(4, 4, bias=False)
    other = nn.Linear(4, 4, bias=False)
    other.weight = layer.weight
    model = nn.Sequential(layer, other)
    mask = torch.eye(4, dtype=torch.bool)
    with pytest.raises(ValueError, match=r"'1.weight' and '0.weight' are one weight"):
        Masks({"0.weight": mask, "1.weight": ~mask}).hold(model)
    before = layer.weight.detach().clone()
    handle = Masks({"0.weight": mask}).hold(model)
    state = {"0.weight": torch.ones(4, 4), "1.weight": torch.ones(4, 4)}
    model.load_state_dict(state)
    assert torch.equal(layer.weight, torch.eye(4))
    for _ in range(3):
        model(torch.ones(1, 4)).sum().backward()
    assert len(layer.weight._backward_hooks) == 1
    handle.remove(restore=True)
    assert torch.equal(layer.weight[~mask], before[~mask])
    assert not layer.weight._backward_hooks


def test_unfreezing_later_and_changing_dtype():
    model = network_4x4()
    masks = magnitude_masks(model)
    model.requires_grad_(False)
    masks.hold(model)
    model.requires_grad_(True)
    train(model, OPTIMIZERS["sgd"](model.parameters()))
    assert all((weight.grad[~masks[name]] == 0).all() for name, weight in prunable(model).items())
    for dtype in (torch.float64, torch.bfloat16):
        model.to(dtype)
        loss = F.cross_entropy(model(batch()[0].to(dtype)), batch()[1])
        loss.backward()
        OPTIMIZERS["sgd"](model.parameters()).step()
        assert all((weight[~masks[name]] == 0).all() for name, weight in prunable(model).items())
        model.zero_grad()


def test_second_derivatives_see_the_mask():
    layer = nn.Linear(2, 1, bias=False).double()
    Masks({"weight": torch.tensor([[True, False]])}).hold(layer)
    (gradient,) = torch.autograd.grad((layer(torch.eye(2).double()) ** 3).sum(), layer.weight, create_graph=True)
    (second,) = torch.autograd.grad(gradient.sum(), layer.weight)
    assert second[0, 0].item() == pytest.approx(6 * layer.weight[0, 0].item())
    assert second[0, 1] == 0


def test_an_error_on_the_way_changes_nothing():
    model = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False))
    model[1].weight = nn.Parameter(torch.ones(1, 2).expand(2, 2))  # cannot be written to
    before = model[0].weight.detach().clone()
    drop_all = torch.zeros(2, 2, dtype=torch.bool)
    with pytest.raises(RuntimeError):
        Masks({"0.weight": drop_all, "1.weight": drop_all}).hold(model)
    assert torch.equal(model[0].weight, before)
    assert not any(module._forward_pre_hooks for module in model.modules())


def test_parametrized_weight_is_refused():
    with pytest.raises(ValueError, match=r"0\.weight is computed"):
        prunable(nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(2, 2))))
