"""Models whose layers cannot be seen are named as what they are; of a compiled one the original is used."""

import copy

import pytest
import torch
from torch import nn

from pruning_lib.acceleration import storage
from pruning_lib.acceleration.macs import macs
from pruning_lib.after_training import magnitude, obs, wanda
from pruning_lib.before_training import snip
from pruning_lib.checks import check_at_least, check_model
from pruning_lib.during_training import slimming, sss
from pruning_lib.structure import Masks, prunable, remove, score_units, zero_units

X = torch.rand(2, 3)


def mlp() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 6), nn.ReLU(), nn.Linear(6, 2))


def exported(model: nn.Module) -> nn.Module:
    return torch.export.export(model, (X,)).module()


CASES = {
    "script": (torch.jit.script, "the model is TorchScript, .*: give the nn.Module it was made from"),
    "trace": (lambda model: torch.jit.trace(model, X), "the model is TorchScript"),
    "a scripted layer": (lambda model: nn.Sequential(torch.jit.script(model), nn.ReLU()), "layer '0' is TorchScript"),
    "export": (exported, "the model is an exported graph"),
    "dynamic": (torch.ao.quantization.quantize_dynamic, "layer '0' is quantized"),
    "complex": (lambda model: model.to(torch.complex64), "weight of layer '0' is torch.complex64, must be real"),
    "lazy": (lambda model: model.append(nn.LazyLinear(4)), "layer '3' is a LazyLinear without weights: run the model"),
    "lazy norm": (lambda model: model.append(nn.LazyBatchNorm1d()), "layer '3' is a LazyBatchNorm1d without weights"),
    "function": (lambda model: torch.relu, "model is builtin_function_or_method, must be an nn.Module"),
}


def counted_or_held(model: nn.Module) -> tuple:
    """What counts or holds weights, and takes complex and lazy ones."""
    mask = torch.ones(6, 3, dtype=torch.bool)
    return lambda: macs(model, X), lambda: storage.stored(model), lambda: Masks({"0.weight": mask}).hold(model)


HIDDEN = ("script", "trace", "a scripted layer", "export", "dynamic", "function")


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:.*deprecated", "ignore:Lazy modules")
@pytest.mark.parametrize("name", CASES)
def test_models_without_layers_to_prune_are_named(name):
    make, message = CASES[name]
    model = make(mlp())
    for use in (
        *(counted_or_held(model) if name in HIDDEN else ()),
        lambda: sss.add_gates(model),
        lambda: slimming.scales(model),
        lambda: score_units(model, "neuron", example_inputs=X),
        lambda: score_units(model, "neuron"),
        lambda: remove(model, X, {"0": [1]}),
        lambda: zero_units(model, {"0": [1]}),
        lambda: magnitude.prune_units(model, 0.5, X, "neuron"),
        lambda: prunable(model),
    ):
        with pytest.raises(ValueError, match=message):
            use()


def test_a_compiled_model_is_its_original():
    model = mlp()
    compiled, units = torch.compile(model), {"0": [1, 4]}
    assert check_model(compiled) is model
    for inputs in (X, None):
        assert torch.equal(score_units(compiled, "neuron", "l1", inputs)["0"], model[0].weight.abs().sum(1))
    smaller, zeroed = remove(compiled, X, units), copy.deepcopy(model)
    zero_units(zeroed, units)
    assert type(smaller) is nn.Sequential
    torch.testing.assert_close(smaller(X), zeroed(X))
    masks = magnitude.prune_units(compiled, 0.5, X, "neuron")
    assert masks == magnitude.prune_units(model, 0.5, X, "neuron")
    assert (
        magnitude.units_gone(masks, compiled, X, "neuron")["0"].tolist()
        == (~masks["0.weight"].any(1)).nonzero().flatten().tolist()
    )
    with pytest.raises(ValueError, match="masks name '_orig_mod.0.weight', which the model has not"):
        magnitude.units_gone(Masks({"_orig_mod.0.weight": masks["0.weight"]}), compiled, X, "neuron")
    zero_units(compiled, units, X)
    assert torch.equal(model[0].weight, zeroed[0].weight)


def test_the_names_of_a_compiled_models_weights_are_the_originals_everywhere():
    model, y = mlp(), torch.tensor([0, 1])
    compiled = torch.compile(copy.deepcopy(model), backend="eager")
    assert list(prunable(compiled)) == list(prunable(model))
    assert storage.stored(compiled) == storage.stored(model)
    assert macs(compiled, X) == macs(model, X)
    for name, score in snip.sensitivity(model, [(X, y)]).items():
        torch.testing.assert_close(snip.sensitivity(compiled, [(X, y)])[name], score)
    for rows in zip(obs.jacobian_rows(compiled, X), obs.jacobian_rows(model, X, ["0.weight", "2.weight"]), strict=True):
        torch.testing.assert_close(*rows)
    masks = [wanda.prune_model(net, [X], 0.5, layers=["0"], progress=False) for net in (compiled, model)]
    assert masks[0] == masks[1]
    assert torch.equal(compiled._orig_mod[0].weight, model[0].weight)

    halves = [magnitude.prune(net, 0.5) for net in (compiled, model)]
    assert halves[0] == halves[1]
    handle = halves[0].hold(compiled)
    first = magnitude.gone_first(compiled, {"0.weight": torch.ones(6, 3)})["0.weight"]
    assert torch.equal(first < 1, ~halves[0]["0.weight"])
    handle.remove(restore=True)

    masks = magnitude.prune_units(compiled, 0.5, X, "neuron")
    handle = masks.hold(compiled)
    optimizer = torch.optim.Adam(compiled.parameters())
    for _ in range(2):
        compiled(X).sum().backward()
        optimizer.step()
    assert not compiled._orig_mod[0].weight[~masks["0.weight"]].any()
    before, compiled._orig_mod[0] = compiled._orig_mod[0], nn.Linear(3, 6)
    with pytest.raises(ValueError, match="'0.weight' is held by a mask, but '0' is another layer now"):
        compiled(X)
    compiled._orig_mod[0] = before
    handle.remove()
    with torch.no_grad():
        before.weight.fill_(1)
    compiled(X)
    assert before.weight.all()


def test_gates_of_a_compiled_model_are_the_originals():
    model = nn.Sequential(nn.Conv2d(3, 6, 3), nn.Conv2d(6, 2, 1))
    gated = sss.add_gates(torch.compile(model, backend="eager"), "channel")
    assert list(sss.gates(gated)) == ["0"]
    with torch.no_grad():
        sss.gates(gated)["0"][1] = 0
    x = torch.rand(1, 3, 4, 4)
    smaller = sss.remove_closed(torch.compile(gated, backend="eager"), x)
    assert smaller[0].out_channels == 5
    torch.testing.assert_close(smaller(x), gated(x))


def test_layers_compiled_one_by_one_are_followed():
    model = nn.Sequential(torch.compile(mlp()), nn.Tanh(), nn.Linear(2, 2))
    units, plain = {"0._orig_mod.0": [1, 4]}, nn.Sequential(model[0]._orig_mod, *model[1:])
    assert list(score_units(model, "neuron", example_inputs=X)) == ["0._orig_mod.0", "0._orig_mod.2"]
    smaller, expected = remove(model, X, units), remove(plain, X, {"0.0": [1, 4]})
    small = smaller[0]._orig_mod
    torch.testing.assert_close(nn.Sequential(small, *smaller[1:])(X), expected(X))
    assert small[0].out_features == 4


def test_float_layers_of_quantization_tools_are_no_obstacle():
    model = mlp().append(torch.ao.nn.quantized.FloatFunctional())
    assert check_model(model) is model


def test_the_first_value_that_is_too_small_or_nan_is_named():
    check_at_least(1, count=1, size=1.5)
    with pytest.raises(ValueError, match="^size is 0, must be at least 1$"):
        check_at_least(1, count=2, size=0, depth=-1)
    with pytest.raises(ValueError, match="^lr is nan, must be at least 0$"):
        check_at_least(0, lr=float("nan"))
