"""The forms that the SparseGPT stepper shows, its JavaScript against the library, what it sends and accepts."""

import itertools
import json

import numpy as np
import pytest
import textbook_sparsegpt
import torch
from node import computed
from sparsegpt_states import FormState, block_weights, correlated, states

from pruning_lib.after_training import sparsegpt
from pruning_lib.after_training.reconstruction import error
from pruning_lib.teaching.widgets.sparsegpt_forms import FORMS, example
from pruning_lib.teaching.widgets.sparsegpt_stepper import SparseGPTStepper

NEAR = {"rtol": 0, "atol": 1e-12}


def pruned(state: FormState) -> int:
    """How many weights are gone."""
    return int(np.isin(state.marks, ("now", "pruned")).sum())


@pytest.fixture(scope="module")
def layer() -> tuple[torch.Tensor, torch.Tensor]:
    return example()


@pytest.mark.parametrize("seed", [7, 0, 1])
@pytest.mark.parametrize(
    ("sparsity", "mask_block"), [(0.5, 4), (0.5, 3), (0.5, 1), (0.25, 8), (0.75, 2), (1, 4), (0, 5)]
)
def test_column_forms_are_one_and_sparsegpt(seed, sparsity, mask_block):
    weight, hessian = example(seed)
    made = states(weight, hessian, sparsity, mask_block)
    for shared, factored in zip(made["synchronized"], made["cholesky"], strict=True):
        torch.testing.assert_close(shared.weight, factored.weight, **NEAR)
        assert (shared.marks == factored.marks).all() and shared.planned.equal(factored.planned)
        assert shared.error == pytest.approx(factored.error, abs=1e-12)
    last = made["synchronized"][-1]
    for prune_weight in (textbook_sparsegpt.prune_weight, sparsegpt.prune_weight):
        expected, keep = prune_weight(weight, hessian, sparsity, block=mask_block, damping=0)
        torch.testing.assert_close(last.weight, expected, **NEAR)
        assert (np.isin(last.marks, ("now", "pruned")) == ~keep.numpy()).all()


@pytest.mark.parametrize(("sparsity", "mask_block"), [(0.5, 4), (0.5, 3), (0.25, 2), (1, 8)])
def test_each_weight_goes_once_and_the_sparsity_is_exact(layer, sparsity, mask_block):
    weight, hessian = layer
    for form, steps in states(weight, hessian, sparsity, mask_block).items():
        assert (steps[0].weight == weight).all() and (steps[0].marks == "kept").all() and steps[0].error == 0
        went = sum((state.marks == "now").astype(int) for state in steps)
        assert went.max() == 1 and went.sum() == pruned(steps[-1]) == round(48 * sparsity)
        for before, state in itertools.pairwise(steps):
            gone = torch.from_numpy(np.isin(state.marks, ("now", "pruned")))
            assert ((state.weight == 0) == gone).all()
            assert state.error >= before.error
            still = torch.from_numpy(np.isin(state.marks, ("moved", "now"))).logical_not()
            assert state.weight[still].equal(before.weight[still])  # only what is marked so has changed
            for i, q in enumerate(state.columns):
                assert state.marks[i, q] in ("now", "frozen") and (form != "exact" or state.marks[i, q] == "now")


def test_exact_form_is_least_squares_on_the_mask_of_each_row(layer):
    weight, hessian = layer
    steps = states(weight, hessian)["exact"]
    for state in (steps[1], steps[2], steps[-1]):
        for w, row, marks in zip(weight, state.weight, state.marks, strict=True):
            stays = torch.from_numpy(marks == "moved")
            # GPT-2 with H: w_M = w H_{:,M} (H_M)⁻¹
            expected = torch.linalg.solve(hessian[stays][:, stays], hessian[stays] @ w)
            torch.testing.assert_close(row[stays], expected, **NEAR)
    # the inverse that a step uses is that of H without what had gone before it
    stays = np.isin(steps[-1].marks, ("moved", "now"))
    for inverse, left in zip(steps[-1].inverses, torch.from_numpy(stays), strict=True):
        torch.testing.assert_close(inverse[left][:, left], torch.linalg.inv(hessian[left][:, left]), **NEAR)
        assert (inverse[~left] == 0).all() and (inverse[:, ~left] == 0).all()


def test_shrinking_inverses_and_rows_of_one_factor(layer):
    made = states(*layer)
    hessian = layer[1]
    U = made["cholesky"][0].inverses[0]
    for j in range(8):
        B, factor = made["synchronized"][j + 1].inverses[0], made["cholesky"][j + 1].inverses[0]
        torch.testing.assert_close(B[j:, j:], torch.linalg.inv(hessian[j:, j:]), **NEAR)
        assert factor.equal(U)  # never updated
        torch.testing.assert_close(U[j] / U[j, j], B[j] / B[j, j], **NEAR)
        assert U[j, j] ** 2 == pytest.approx(B[j, j].item(), abs=1e-12)


def test_price_and_cost_on_the_shown_example(layer):
    made = states(*layer)
    last = {form: steps[-1] for form, steps in made.items()}
    assert last["exact"].error < last["synchronized"].error
    assert [len(made[form]) for form in FORMS] == [5, 9, 9]
    # 6 rows, their inverses brought from 8 × 8 to 5 × 5; one from 8 × 8 to 1 × 1; none
    assert (last["exact"].updates, last["exact"].entries) == (18, 6 * (49 + 36 + 25))
    assert (last["synchronized"].updates, last["synchronized"].entries) == (7, 49 + 36 + 25 + 16 + 9 + 4 + 1)
    assert (last["cholesky"].updates, last["cholesky"].entries) == (0, 0)


def test_error_is_that_of_the_outputs():
    inputs = torch.randn(4, 30, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    weight = torch.tensor([[1.0, -2.0, 0.5, 0.3], [0.2, 0.1, -1.0, 2.0]], dtype=torch.float64)
    for steps in states(weight, inputs @ inputs.T, mask_block=2).values():
        change = (weight - steps[-1].weight) @ inputs
        assert steps[-1].error == pytest.approx(change.square().sum().item())


def js(tmp_path, expression: str, given):
    """What an expression about `given` is in the widget's JavaScript."""
    names = "formStates, blockStates, losses, traffic, correlated, correlation, refusal"
    return computed(tmp_path, "sparsegpt_layer", names, expression, given)


def random_layers(count: int = 12) -> list[dict]:
    """Layers of many sizes, correlations, sparsities and blocks, among them ragged ones, no and all weights pruned."""
    generator = torch.Generator().manual_seed(1)
    settings = [(6, 8, 0.5, 4), (6, 8, 0.5, 3), (6, 8, 0.25, 8), (8, 10, 0.5, 5), (4, 8, 0.75, 2), (6, 8, 0.5, 1)]
    settings += [(6, 8, 1.0, 4), (6, 8, 0.0, 5), (2, 2, 0.5, 1), (1, 10, 0.2, 10)]
    layers = []
    for place in range(count):
        rows, columns, sparsity, block = settings[place % len(settings)]
        mixing = torch.eye(columns, dtype=torch.float64) + place % 4 * torch.randn(
            columns, columns, generator=generator, dtype=torch.float64
        )
        inputs = mixing @ torch.randn(columns, 60, generator=generator, dtype=torch.float64)
        weight = torch.randn(rows, columns, generator=generator, dtype=torch.float64)
        hessian = (inputs @ inputs.T / 60).tolist()
        layers.append({"weight": weight.tolist(), "hessian": hessian, "sparsity": sparsity, "maskBlock": block})
    return layers


def tensors(layer: dict) -> tuple[torch.Tensor, torch.Tensor]:
    return tuple(torch.tensor(layer[name], dtype=torch.float64) for name in ("weight", "hessian"))


def test_javascript_shows_the_states_of_the_library(tmp_path):
    layers = random_layers()
    answers = js(tmp_path, "given.map((one) => formStates(one.weight, one.hessian, one))", layers)
    for layer, answer in zip(layers, answers, strict=True):
        made = states(*tensors(layer), layer["sparsity"], layer["maskBlock"])
        assert list(answer) == list(FORMS)
        for form in FORMS:
            for found, state in zip(answer[form], made[form], strict=True):
                assert found["marks"] == state.marks.tolist(), (layer, form)
                assert found["planned"] == state.planned.tolist() and found["columns"] == state.columns
                assert (found["updates"], found["entries"]) == (state.updates, state.entries)
                assert found["error"] == pytest.approx(state.error, rel=1e-8, abs=1e-9)
                for name in ("weight", "inverses"):
                    expected = getattr(state, name)
                    close = {"rtol": 1e-7, "atol": 1e-8 * (1 + expected.abs().max().item())}
                    torch.testing.assert_close(torch.tensor(found[name], dtype=torch.float64), expected, **close)


def test_javascript_goes_block_by_block_as_the_library(tmp_path):
    layers = random_layers()
    answers = js(tmp_path, "given.map((one) => blockStates(one.weight, one.hessian, one))", layers)
    for layer, found in zip(layers, answers, strict=True):
        weight, hessian = tensors(layer)
        expected = block_weights(weight, hessian, layer["sparsity"], layer["maskBlock"])
        assert len(found) == len(expected)
        for state, W in zip(found, expected, strict=True):
            close = {"rtol": 1e-7, "atol": 1e-8 * (1 + W.abs().max().item())}
            torch.testing.assert_close(torch.tensor(state["weight"], dtype=torch.float64), W, **close)
        pruned_weight, keep = sparsegpt.prune_weight(
            weight, hessian, layer["sparsity"], block=layer["maskBlock"], damping=0
        )
        assert (np.isin(found[-1]["marks"], ("now", "pruned")) == ~keep.numpy()).all()
        torch.testing.assert_close(torch.tensor(found[-1]["weight"], dtype=torch.float64), pruned_weight, **close)


def test_marks_of_the_blocks_say_what_has_changed(tmp_path, layer):
    weight, hessian = layer
    given = {"weight": weight.tolist(), "hessian": hessian.tolist(), "sparsity": 0.5, "maskBlock": 4}
    found = js(tmp_path, "blockStates(given.weight, given.hessian, given)", given)
    phases = [state["phase"] for state in found]
    assert phases == ["start", "mask", *["column"] * 4, "lazy", "mask", *["column"] * 4]
    for before, state in itertools.pairwise(found):
        changed = np.array(before["weight"]) != np.array(state["weight"])
        assert (changed == np.isin(state["marks"], ("moved", "now"))).all()
    waits = [np.array(state["marks"]) == "waits" for state in found]
    assert [bool(here.any()) for here in waits[:6]] == [False, False, True, True, True, True]
    assert not any(here.any() for here in waits[6:])
    assert (found[6]["marks"] == np.where(waits[5], "moved", found[6]["marks"])).all()  # who waited is served


def test_bytes_moved_are_counted_weight_by_weight(tmp_path):
    sizes = [(6, 8, 4), (6, 8, 3), (5, 7, 7), (3, 10, 1)]
    for (rows, columns, block), found in zip(
        sizes, js(tmp_path, "given.map((one) => traffic(...one))", sizes), strict=True
    ):
        eager = sum(8 for j in range(columns) for _ in range(rows) for k in range(columns) if k >= j)
        lazy = 0
        for start in range(0, columns, block):
            end = min(start + block, columns)
            lazy += 8 * rows * sum(end - j for j in range(start, end)) + 8 * rows * (columns - end)
        assert found == {"eager": eager, "lazy": lazy}
    (large,) = js(tmp_path, "[traffic(4096, 4096, 128)]", None)
    assert large["eager"] == 8 * 4096 * 4096 * 4097 // 2 and 25 < large["eager"] / large["lazy"] < 26


def test_losses_without_correlation_and_with_much_of_it(tmp_path, layer):
    weight, hessian = layer
    given = {"weight": weight.tolist(), "hessian": hessian.tolist(), "sparsity": 0.5, "maskBlock": 4}
    rhos = [0.0, 0.3, 0.95, 0.99]
    expression = "given.rhos.map((rho) => losses(given.weight, correlated(given.hessian, rho), given))"
    independent, some, much, most = js(tmp_path, expression, given | {"rhos": rhos})
    for rho, found in zip(rhos, (independent, some, much, most), strict=True):
        inputs = correlated(hessian, rho)
        made, keep = sparsegpt.prune_weight(weight, inputs, 0.5, block=4, damping=0)
        assert found["alone"] == pytest.approx(error(weight, weight * keep, inputs))
        assert found["shared"] == pytest.approx(error(weight, made, inputs), rel=1e-6)
        exact = states(weight, inputs)["exact"][-1].error / (weight @ inputs * weight).sum()
        assert found["exact"] == pytest.approx(exact.item(), rel=1e-6)
    assert independent["shared"] == pytest.approx(independent["alone"], rel=1e-12)  # nobody can make up for another
    assert most["shared"] < 0.02 * most["alone"] and much["shared"] < 0.1 * much["alone"]


def test_correlations_are_those_of_the_library(tmp_path, layer):
    hessian = layer[1] * torch.arange(1.0, 9)[:, None].sqrt() * torch.arange(1.0, 9).sqrt()
    equal, mean = js(tmp_path, "[correlated(given, 0.4), correlation(correlated(given, 0.4))]", hessian.tolist())
    torch.testing.assert_close(torch.tensor(equal, dtype=torch.float64), correlated(hessian, 0.4), **NEAR)
    assert mean == pytest.approx(0.4)
    (mean,) = js(tmp_path, "[correlation(given)]", layer[1].tolist())
    assert mean == pytest.approx((layer[1].abs().sum().item() - 8) / 56)


def test_page_and_python_refuse_the_same_layers(tmp_path, layer):
    weight, hessian = layer
    bad = [("weight", torch.zeros(6, 8)), ("hessian", correlated(hessian, 0.9995)), ("hessian", hessian.clone())]
    bad[2][1][2, 4] = bad[2][1][4, 2] = 1.5
    good = [("hessian", correlated(hessian, rho)) for rho in (0.0, 0.99)] + [("weight", -weight)]
    layers = [{"weight": weight.tolist(), "hessian": hessian.tolist()} | {n: v.tolist()} for n, v in (*bad, *good)]
    words = js(tmp_path, "given.map((one) => refusal(one.weight, one.hessian, (j) => `x${j + 1}`))", layers)
    assert "all weights would be 0" in words[0] and "all but 0.10 % of input x2" in words[1]
    assert "H would be indefinite (pivot −" in words[2] and words[3:] == [""] * 3
    stepper = SparseGPTStepper(weight, hessian)
    for name, value in bad:
        with pytest.raises(ValueError, match=name):
            setattr(stepper, name, value.tolist())
        assert (stepper.weight, stepper.hessian) == (weight.tolist(), hessian.tolist())
    for name, value in good:
        setattr(stepper, name, value.tolist())
        assert getattr(stepper, name) == value.tolist()
    assert stepper.given == {"weight": weight.tolist(), "hessian": hessian.tolist()}


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("weight", [[1.0] * 8] * 5, r"weight has rows of \[8\] numbers, must be \(6, 8\)"),
        ("weight", [[1.0] * 8] * 5 + [[1.0] * 7], r"weight has rows of \[7, 8\] numbers"),
        ("weight", [[float("nan")] * 8] * 6, "weight contains values that are not finite"),
        ("hessian", [[1.0] * 8] * 8, "hessian is not symmetric and positive definite with pivots of at least 0.001"),
    ],
)
def test_bad_changes_leave_the_layer_as_it_was(layer, name, value, message):
    stepper = SparseGPTStepper(*layer)
    with pytest.raises(ValueError, match=message):
        setattr(stepper, name, value)
    assert (stepper.weight, stepper.hessian) == (layer[0].tolist(), layer[1].tolist())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"weight": torch.ones(9, 8)}, r"weight has shape \(9, 8\), must be \(1 to 8, 2 to 10\)"),
        ({"weight": torch.ones(8)}, r"weight has shape \(8,\)"),
        ({"weight": torch.full((6, 8), torch.nan)}, "weight contains values that are not finite"),
        ({"hessian": torch.eye(7)}, r"hessian has shape \(7, 7\), must be \(8, 8\)"),
        ({"hessian": torch.full((8, 8), torch.inf)}, "hessian contains values that are not finite"),
        ({"hessian": torch.ones(8, 8)}, "hessian is not symmetric and positive definite"),
        ({"weight": torch.zeros(6, 8)}, "weight is 0 everywhere"),
        ({"hessian": torch.eye(8) + torch.ones(8, 8).triu(1)}, "hessian is not symmetric"),
        ({"sparsity": 1.5}, "sparsity is 1.5"),
        ({"sparsity": 0.3}, "sparsity is 0.3: columns · sparsity is 2.4, must be whole"),
        (
            {"sparsity": 0.125, "mask_block": 1},
            "sparsity is 0.125: rows · mask_block · sparsity is 0.75, must be whole",
        ),
        ({"mask_block": 0}, "mask_block is 0, must be a number of columns from 1 to 8"),
        ({"mask_block": 2.0}, "mask_block is 2.0"),
    ],
)
def test_bad_layers_are_refused(layer, changes, message):
    with pytest.raises(ValueError, match=message):
        SparseGPTStepper(**{"weight": layer[0], "hessian": layer[1]} | changes)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"step": 12}, "step is 12, must be from 0 to 11"),
        ({"step": -1}, "step is -1"),
        ({"form": "obc"}, "form is 'obc'"),
        ({"view": "rows"}, "view is 'rows'"),
    ],
)
def test_bad_values_are_refused_at_the_start_and_later(layer, bad, message):
    with pytest.raises(ValueError, match=message):
        SparseGPTStepper(*layer, **bad)
    stepper = SparseGPTStepper(*layer, form="cholesky", step=3)
    ((name, value),) = bad.items()
    with pytest.raises(ValueError, match=message):
        setattr(stepper, name, value)
    assert (stepper.form, stepper.step) == ("cholesky", 3)


def test_state_is_small_and_follows_the_traits(layer):
    stepper = SparseGPTStepper(*layer, form="synchronized", step=8)
    assert (stepper.weight, stepper.hessian) == (layer[0].tolist(), layer[1].tolist())
    assert len(json.dumps([stepper.weight, stepper.hessian, stepper.given])) < 5000
    stepper.form = "exact"  # has fewer steps: shows its last, and the step is still there afterwards
    stepper.view = "layer"
    assert (stepper.step, stepper.view) == (8, "layer")
