"""Held masks when the model is exported, and when weights or layers are exchanged under them."""

import copy

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, prune

from pruning_lib.structure import Masks, keep_largest, prunable, release
from pruning_lib.structure.holding import held

X = torch.randn(5, 6, generator=torch.Generator().manual_seed(0))


class Direct(nn.Module):
    """Uses the weights of its layers without calling them."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(6, 8), nn.Linear(8, 3)

    def forward(self, x):
        x = torch.relu(nn.functional.linear(x, self.first.weight, self.first.bias))
        return nn.functional.linear(x, self.second.weight, self.second.bias)


def sequential():
    return nn.Sequential(nn.Linear(6, 8), nn.Sequential(nn.ReLU(), nn.Linear(8, 3)))


def held_model(make=sequential):
    torch.manual_seed(0)
    model = make()
    masks = keep_largest({name: weight.detach().abs() for name, weight in prunable(model).items()}, 0.6)
    return model, masks, masks.hold(model)


def train(model, steps=3, **options):
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9, weight_decay=1e-2, **options)
    for _ in range(steps):
        optimizer.zero_grad()
        model(X).square().sum().backward()
        optimizer.step()


def assert_masked(model, masks):
    for name, weight in masks.weights_of(model).items():
        assert (weight[~masks[name]] == 0).all() and (weight[masks[name]] != 0).any(), name


# Export


def traced(model):
    return torch.jit.trace(model, X)


def frozen(model):
    return torch.jit.freeze(torch.jit.trace(model, X).eval())


def exported(model):
    return torch.export.export(model, (X,)).module()


def exported_strictly(model):
    return torch.export.export(model, (X,), strict=True).module()


def compiled(model):
    return torch.compile(model, backend="aot_eager", fullgraph=True)


@pytest.mark.parametrize("export", [traced, frozen, exported, exported_strictly, compiled, torch.fx.symbolic_trace])
@pytest.mark.parametrize("make", [sequential, Direct])
def test_a_held_model_is_exported_with_its_zeros(export, make):
    model, masks, _ = held_model(make)
    train(model)
    model.eval()
    expected = model(X)
    torch.testing.assert_close(export(model)(X), expected)
    copied = export(copy.deepcopy(model))
    torch.testing.assert_close(copied(X), expected)
    train(model.train())  # and is held as before
    assert_masked(model, masks)


@pytest.mark.parametrize("dynamo", [True, False])
def test_onnx(dynamo, tmp_path):
    import onnx

    model, masks, _ = held_model()
    torch.onnx.export(model.eval(), (X,), tmp_path / "model.onnx", dynamo=dynamo)
    graph = onnx.load(tmp_path / "model.onnx").graph
    stored = [onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer]
    for name, weight in prunable(model).items():
        same = [array for array in stored if array.shape in (weight.shape, weight.T.shape)]
        assert any((array == weight.detach().numpy().reshape(array.shape)).all() for array in same), name
    assert_masked(model, masks)


def test_a_compiled_model_is_trained_under_its_masks():
    model, masks, _ = held_model()
    train(torch.compile(model, backend="aot_eager"))
    assert_masked(model, masks)


@pytest.mark.parametrize("export", [traced, exported, lambda model: torch.compile(model, backend="eager")])
@pytest.mark.parametrize("exchange", ["parametrize", "replace"])
def test_what_the_mask_can_hold_no_longer_is_named_by_exporters_and_compiled_models_too(export, exchange):
    model, _, _ = held_model()
    if exchange == "parametrize":
        parametrizations.weight_norm(model[0])
    else:
        model[0] = nn.Linear(6, 8)
    with pytest.raises(ValueError, match="'0.weight' is held by a mask, but .*: remove the handle"):
        export(model)(X)


@pytest.mark.filterwarnings("ignore:`torch.jit.script`")
def test_a_script_says_that_the_handle_must_go_first():
    model, masks, handle = held_model()
    with pytest.raises(ValueError, match=r"'0.weight' is held by a mask, which torch.jit.script can't .*: remove the"):
        torch.jit.script(model)
    with pytest.raises(ValueError, match=r"'1.1.weight' is held by a mask, which torch.jit.script can't"):
        torch.jit.script(model[1])
    assert_masked(model, masks)
    handle.remove()
    torch.testing.assert_close(torch.jit.script(model)(X), model(X))


# What is put in a held weight's place


def new_style_weight_norm(model):
    parametrizations.weight_norm(model[1][1])


def old_style_weight_norm(model):
    nn.utils.weight_norm(model[1][1])


def orthogonal(model):
    parametrizations.orthogonal(model[1][1])


def spectral_norm(model):
    parametrizations.spectral_norm(model[1][1])


def old_style_spectral_norm(model):
    nn.utils.spectral_norm(model[1][1])


def torch_prune(model):
    prune.l1_unstructured(model[1][1], "weight", 0.5)


def another_layer(model):
    model[1][1] = nn.Linear(8, 3)


def another_layer_by_path(model):
    model.set_submodule("1.1", nn.Linear(8, 3))


def another_parent(model):
    model[1] = nn.Sequential(nn.ReLU(), nn.Linear(8, 3))


def its_copy(model):
    model[1][1] = copy.deepcopy(model[1][1])


def other_order(model):
    model[1] = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), model[1][1])


def another_shape(model):
    model[1][1].weight = nn.Parameter(torch.ones(3, 1))


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize(
    "exchange",
    [
        new_style_weight_norm,
        old_style_weight_norm,
        orthogonal,
        spectral_norm,
        old_style_spectral_norm,
        torch_prune,
        another_layer,
        another_layer_by_path,
        another_parent,
        its_copy,
        other_order,
        another_shape,
    ],
)
def test_what_the_mask_can_hold_no_longer_is_named_at_the_next_forward_pass(exchange):
    model, _, handle = held_model()
    exchange(model)
    for _ in range(2):
        with pytest.raises(ValueError, match=r"^'1\.1\.weight' is held by a mask, but .*: remove the handle"):
            model(X)
    handle.remove()
    assert not any(module._forward_pre_hooks.values() for module in [model, model[0]])
    if exchange is not another_shape:
        model(X)
    assert not held(model[0].weight)


def test_a_parametrized_weight_is_named_in_the_layer_alone_and_in_a_model_that_does_not_call_it():
    for exchange in (parametrizations.weight_norm, parametrizations.orthogonal):
        model, _, _ = held_model()
        exchange(model[0])
        with pytest.raises(ValueError, match="'0.weight' is held by a mask, but is computed from other parameters"):
            model[0](X)
        model, _, _ = held_model(Direct)
        exchange(model.second)
        with pytest.raises(ValueError, match="'second.weight' is held by a mask, but is computed from other"):
            model(X)


@pytest.mark.parametrize("make", [sequential, Direct])
def test_a_new_parameter_is_held_in_the_old_ones_place(make):
    model, masks, handle = held_model(make)
    for name, layer in [(name, model.get_submodule(name.removesuffix(".weight"))) for name in masks]:
        layer.weight = nn.Parameter(torch.ones_like(layer.weight))
        model(X)
        assert_masked(model, masks), name
        train(model)
        assert_masked(model, masks), name
    handle.remove()
    train(model)
    assert all((weight[~masks[name]] != 0).any() for name, weight in prunable(model).items())


def test_an_untied_weight_is_held_in_both_modules():
    model = nn.Sequential(nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False))
    model[1].weight = model[0].weight
    masks = Masks({"0.weight": torch.eye(4, dtype=torch.bool)})
    handle = masks.hold(model)
    state = {name: torch.ones(4, 4) for name in model.state_dict()}
    model.load_state_dict(state, assign=True)  # unties them
    assert model[0].weight is not model[1].weight
    both = Masks({"0.weight": masks["0.weight"], "1.weight": masks["0.weight"]})
    assert_masked(model, both)
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    for _ in range(3):
        model(torch.rand(2, 4)).square().sum().backward()
        optimizer.step()
        assert_masked(model, both)
    clone = copy.deepcopy(model)
    clone[1].weight.data.fill_(1)
    clone(torch.rand(2, 4))
    assert_masked(clone, both)
    handle.remove()
    assert not held(model[0].weight) and not held(model[1].weight) and held(clone[1].weight)


@pytest.mark.parametrize("replaced", ["first", "second"])
def test_one_of_two_tied_weights_exchanged_leaves_the_other_held(replaced):
    class Tied(Direct):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Linear(6, 6), nn.Linear(6, 6)
            self.second.weight = self.first.weight

    torch.manual_seed(0)
    model = Tied()
    mask = torch.rand(6, 6) < 0.5
    Masks({"first.weight": mask}).hold(model)
    train(model)
    model.get_submodule(replaced).weight = nn.Parameter(torch.randn(6, 6))
    train(model)
    assert model.first.weight is not model.second.weight
    assert_masked(model, Masks({"first.weight": mask, "second.weight": mask}))


def test_a_weight_tied_under_another_name_is_held_and_put_back():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder = nn.Linear(6, 3, bias=False)
            self.decoder = self.encoder.weight

        def forward(self, x):
            return self.encoder(x) @ self.decoder

    model = Tied()
    before = model.decoder.detach().clone()
    mask = torch.rand(3, 6, generator=torch.Generator().manual_seed(0)) < 0.5
    handle = Masks({"encoder.weight": mask}).hold(model)
    model.load_state_dict({name: torch.ones(3, 6) for name in model.state_dict()}, assign=True)
    assert (model.decoder[~mask] == 0).all() and (model.encoder.weight[~mask] == 0).all()
    handle.remove(restore=True)
    for weight in model.parameters():
        assert torch.equal(weight[~mask], before[~mask]) and (weight[mask] == 1).all()


@pytest.mark.parametrize("swap", [False, True])
def test_another_dtype_and_back(swap):
    model, masks, handle = held_model()
    torch.__future__.set_swap_module_params_on_conversion(swap)
    try:
        for dtype in (torch.float64, torch.bfloat16, torch.float32):
            model.to(dtype)
            for _ in range(2):
                model(X.to(dtype)).square().sum().backward()
                torch.optim.SGD(model.parameters(), 0.1).step()
                assert_masked(model, masks)
            model.zero_grad()
    finally:
        torch.__future__.set_swap_module_params_on_conversion(False)
    handle.remove()
    assert not held(model[0].weight)


def test_new_tensors_at_a_conversion_are_held():
    model, masks, _ = held_model()
    torch.__future__.set_overwrite_module_params_on_conversion(True)
    try:
        model.double()
    finally:
        torch.__future__.set_overwrite_module_params_on_conversion(False)
    with torch.no_grad():
        model[0].weight.add_(1)
    model(X.double())
    assert_masked(model, masks)


def test_a_layer_released_alone_is_free_and_the_others_are_held():
    model, masks, handle = held_model()
    release(model[0])
    model[0] = nn.Linear(6, 8)
    train(model)
    assert (model[0].weight != 0).all()
    assert_masked(model, Masks({"1.1.weight": masks["1.1.weight"]}))
    handle.remove()
    assert not model._forward_pre_hooks


def test_copies_of_the_model_and_of_a_layer_watch_their_own_layers():
    model, masks, handle = held_model()
    clone, layer = copy.deepcopy(model), copy.deepcopy(model[0])
    handle.remove()
    model[0] = nn.Linear(6, 8)
    model(X)
    train(clone)
    train(layer)
    assert_masked(clone, masks)
    assert_masked(layer, Masks({"weight": masks["0.weight"]}))
    clone[0] = nn.Linear(6, 8)
    with pytest.raises(ValueError, match="'0.weight' is held by a mask, but '0' is another layer now"):
        clone(X)
    release(clone)
    clone(X)
