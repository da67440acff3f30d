"""The three forms that the SparseGPT stepper shows, what it sends and accepts."""

import itertools
import json

import numpy as np
import pytest
import textbook_sparsegpt
import torch

from pruning_lib.after_training import sparsegpt
from pruning_lib.teaching.widgets.sparsegpt_forms import FORMS, FormState, example, states
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


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"weight": torch.ones(9, 8)}, r"weight has shape \(9, 8\), must be \(1 to 8, 2 to 10\)"),
        ({"weight": torch.ones(8)}, r"weight has shape \(8,\)"),
        ({"weight": torch.full((6, 8), torch.nan)}, "weight contains values that are not finite"),
        ({"hessian": torch.eye(7)}, r"hessian has shape \(7, 7\), must be \(8, 8\)"),
        ({"hessian": torch.full((8, 8), torch.inf)}, "hessian contains values that are not finite"),
        ({"hessian": torch.ones(8, 8)}, "hessian is not symmetric and positive definite"),
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
    arguments = {"weight": layer[0], "hessian": layer[1]} | changes
    for call in (states, SparseGPTStepper):
        with pytest.raises(ValueError, match=message):
            call(**arguments)


@pytest.mark.parametrize(
    ("bad", "message"),
    [({"step": 9}, "step is 9, must be from 0 to 8"), ({"step": -1}, "step is -1"), ({"form": "obc"}, "form is 'obc'")],
)
def test_bad_values_are_refused_at_the_start_and_later(layer, bad, message):
    with pytest.raises(ValueError, match=message):
        SparseGPTStepper(*layer, **bad)
    stepper = SparseGPTStepper(*layer, form="cholesky", step=3)
    ((name, value),) = bad.items()
    with pytest.raises(ValueError, match=message):
        setattr(stepper, name, value)
    assert (stepper.form, stepper.step) == ("cholesky", 3)


def test_state_is_sent_once_and_small(layer):
    stepper = SparseGPTStepper(*layer, form="synchronized", step=8)
    sent = stepper.states
    made = states(*layer)
    assert list(sent) == list(FORMS)
    for form in FORMS:
        for entry, state in zip(sent[form], made[form], strict=True):
            assert entry["weight"] == state.weight.tolist() and entry["marks"] == state.marks.tolist()
            assert entry["inverses"] == state.inverses.tolist() and entry["error"] == state.error
    assert len(json.dumps(sent)) < 200_000
    stepper.form = "exact"  # has fewer steps: shows its last, and the step is still there afterwards
    assert stepper.step == 8
