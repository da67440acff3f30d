"""SparseGPT against the textbook loop in float64, and on whole models against a walk written out by hand."""

import copy
import math
import warnings

import pytest
import torch
from textbook_sparsegpt import prune_weight as textbook
from torch import nn

from pruning_lib.after_training import exact, reconstruction, sparsegpt
from pruning_lib.after_training.elimination import factor

F64 = torch.float64


def layer(rows=24, columns=300, tokens=None, seed=0, dead=()):
    """A weight and the Hessian of correlated inputs."""
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.eye(columns, dtype=F64) + torch.randn(columns, columns, generator=generator, dtype=F64) / 8
    X = torch.randn(tokens or 2 * columns, columns, generator=generator, dtype=F64) @ mixing
    X[:, list(dead)] = 0
    weight = torch.randn(rows, columns, generator=generator, dtype=F64) / columns**0.5
    return weight, reconstruction.Hessian(columns, F64).add(X).matrix


GOALS = {"50%": {"sparsity": 0.5}, "80%": {"sparsity": 0.8}, "2:4": {"n_m": (2, 4)}, "4:8": {"n_m": (4, 8)}}
LAYERS = {
    "1000 columns": {"rows": 16, "columns": 1000, "tokens": 1100},
    "dead columns": {"columns": 296, "dead": (0, 3, 128, 295)},
    "rank-deficient": {"columns": 296, "tokens": 90},
    "one row": {"rows": 1, "columns": 40},
}


@pytest.mark.parametrize("goal", GOALS.values(), ids=GOALS)
@pytest.mark.parametrize("shape", LAYERS.values(), ids=LAYERS)
def test_equals_the_textbook_loop(shape, goal):
    weight, hessian = layer(**shape)
    given = weight.clone(), hessian.clone()
    pruned, keep = sparsegpt.prune_weight(weight, hessian, **goal)
    expected, expected_keep = textbook(weight, hessian, **goal)
    assert torch.equal(keep, expected_keep)
    torch.testing.assert_close(pruned, expected, rtol=0, atol=1e-12)
    assert (pruned[~keep] == 0).all()
    assert torch.equal(weight, given[0]) and torch.equal(hessian, given[1])


@pytest.mark.parametrize("block", [1, 7, 128, 130, 1000])
def test_any_block_size(block):
    weight, hessian = layer()
    pruned, keep = sparsegpt.prune_weight(weight, hessian, sparsity=0.6, block=block)
    expected, expected_keep = textbook(weight, hessian, sparsity=0.6, block=block)
    assert torch.equal(keep, expected_keep)
    torch.testing.assert_close(pruned, expected, rtol=0, atol=1e-12)
    for part in keep.split(block, dim=1):
        assert (~part).sum() == round(part.numel() * 0.6)


@pytest.mark.parametrize("n_m", [(1, 1), (1, 2), (3, 5), (1, 20), (30, 60)])
def test_any_n_of_m_in_any_block(n_m):
    weight, hessian = layer()
    pruned, keep = sparsegpt.prune_weight(weight, hessian, n_m=n_m)
    expected, expected_keep = textbook(weight, hessian, n_m=n_m, block=n_m[1])
    assert torch.equal(keep, expected_keep)
    torch.testing.assert_close(pruned, expected, rtol=0, atol=1e-12)
    assert (keep.view(len(keep), -1, n_m[1]).sum(-1) == n_m[0]).all()
    assert torch.equal(keep, sparsegpt.prune_weight(weight, hessian, n_m=n_m, block=17)[1])


def test_sparsity_zero_and_one():
    weight, hessian = layer()
    same, keep = sparsegpt.prune_weight(weight, hessian, sparsity=0)
    assert keep.all() and torch.equal(same, weight)
    gone, keep = sparsegpt.prune_weight(weight, hessian, sparsity=1)
    assert not keep.any() and not gone.any()


@pytest.mark.parametrize("sparsity", [0.001, 0.123, 0.5, 0.987])
def test_exact_count_even_where_all_scores_tie(sparsity):
    weight, hessian = torch.ones(5, 150, dtype=F64), torch.eye(150, dtype=F64)
    _, keep = sparsegpt.prune_weight(weight, hessian, sparsity=sparsity)
    for part in keep.split(128, dim=1):
        assert (~part).sum() == round(part.numel() * sparsity)
        columns = part.T.flatten()  # column by column, the first stay
        assert columns[: int(columns.sum())].all()
    assert torch.equal(keep, textbook(weight, hessian, sparsity=sparsity)[1])
    _, keep = sparsegpt.prune_weight(weight, hessian, n_m=(2, 5))
    assert keep.view(5, 30, 5)[..., :2].all() and not keep.view(5, 30, 5)[..., 2:].any()


def test_factor_holds_the_pivots_of_all_shrinking_inverses():
    _, hessian = layer(columns=12)
    T, p, _ = factor(hessian, 0.01, F64)
    damped = hessian + 0.01 * hessian.diagonal().mean() * torch.eye(12, dtype=F64)
    torch.testing.assert_close(T * p**2 @ T.T, damped, rtol=0, atol=1e-12)
    rows = torch.linalg.inv(T)
    for j in range(12):
        B = torch.linalg.inv(damped[j:, j:])  # (H_{U_j})⁻¹
        torch.testing.assert_close(B[0, 0], 1 / p[j] ** 2, rtol=1e-10, atol=0)
        torch.testing.assert_close(B[0] / B[0, 0], rows[j, j:], rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_lower_precision(dtype):
    weight, hessian = layer()
    pruned, keep = sparsegpt.prune_weight(nn.Parameter(weight.to(dtype)), hessian.float(), sparsity=0.5)
    assert not pruned.requires_grad
    expected, expected_keep = textbook(weight.to(dtype).double(), hessian, sparsity=0.5)
    assert pruned.dtype == dtype and (pruned[~keep] == 0).all()
    assert (keep != expected_keep).double().mean() < 0.001  # near ties
    ours, theirs = (reconstruction.error(weight, found.double(), hessian) for found in (pruned, expected))
    assert ours <= theirs * (1.001 if dtype == torch.float32 else 1.05)


@pytest.mark.parametrize("goal", GOALS.values(), ids=GOALS)
def test_order_of_the_errors(goal):
    weight, hessian = layer(rows=20, columns=40, tokens=200)
    errors = {}
    for name, (pruned, keep) in {
        "exact": exact.prune_weight(weight, hessian, **goal),
        "refit": sparsegpt.prune_weight(weight, hessian, refit=True, **goal),
        "sparsegpt": sparsegpt.prune_weight(weight, hessian, **goal),
    }.items():
        errors[name] = reconstruction.error(weight, pruned, hessian)
        assert (pruned[~keep] == 0).all()
    assert errors["exact"] < errors["refit"] < errors["sparsegpt"]
    _, keep = sparsegpt.prune_weight(weight, hessian, **goal)
    zeroed = reconstruction.error(weight, weight * keep, hessian)
    assert errors["sparsegpt"] < zeroed


def test_joint_quantization_is_the_textbook_with_rounding():
    weight, hessian = layer(rows=6, columns=140)
    pruned, keep = sparsegpt.prune_weight(weight, hessian, sparsity=0.5, bits=4)
    low, high = weight.amin(1).clamp(max=0), weight.amax(1).clamp(min=0)
    scale = (high - low) / 15
    zero = (-low / scale).round()
    # Column by column: keep or zero, round, and let what is right of it make up.
    W = weight.clone()
    damped = hessian + 0.01 * hessian.diagonal().mean() * torch.eye(140, dtype=F64)
    U = torch.linalg.cholesky(torch.linalg.inv(damped), upper=True)
    for j in range(140):
        q = scale * ((W[:, j] / scale + zero).round().clamp(0, 15) - zero) * keep[:, j]
        W[:, j:] -= torch.outer((W[:, j] - q) / U[j, j], U[j, j:])
        W[:, j] = q
    torch.testing.assert_close(pruned, W, rtol=0, atol=1e-12)
    assert all(len(row.unique()) <= 16 for row in pruned)
    alone, _ = sparsegpt.prune_weight(weight, hessian, sparsity=0.5)
    after = scale[:, None] * ((alone / scale[:, None] + zero[:, None]).round().clamp(0, 15) - zero[:, None])
    assert reconstruction.error(weight, pruned, hessian) < reconstruction.error(weight, after, hessian)


@pytest.mark.parametrize("goal", [{"sparsity": 0.5, "block": 6}, {"n_m": (2, 4)}], ids=["50%", "2:4"])
def test_steps_of_both_column_forms_end_at_prune_weight(goal):
    weight, hessian = layer(rows=5, columns=16, dead=(2,))
    expected, keep = sparsegpt.prune_weight(weight, hessian, **goal)
    forms = [list(sparsegpt.steps(weight, hessian, form=form, **goal)) for form in ("cholesky", "synchronized")]
    damped = hessian.clone()
    damped[2, 2] = 1
    damped += 0.01 * damped.diagonal().mean() * torch.eye(16, dtype=F64)
    for j, (one, other) in enumerate(zip(*forms, strict=True)):
        for name in ("weight", "pivots", "inverse_rows"):
            torch.testing.assert_close(getattr(one, name), getattr(other, name), rtol=1e-9, atol=1e-12)
        assert torch.equal(one.keep, other.keep) and torch.equal(one.compensated, other.compensated)
        assert one.columns.eq(j).all()
        B = torch.linalg.inv(damped[j:, j:])
        torch.testing.assert_close(one.inverse_rows[0, j:], B[0], rtol=1e-9, atol=1e-12)
        assert one.error == pytest.approx(reconstruction.error(weight, one.weight, hessian))
    assert torch.equal(one.keep, keep)
    torch.testing.assert_close(one.weight, expected, rtol=0, atol=1e-12)


def test_exact_steps_take_the_cheapest_and_update_exactly():
    weight, hessian = layer(rows=3, columns=8, tokens=40)
    damped = hessian + 0.01 * hessian.diagonal().mean() * torch.eye(8, dtype=F64)
    before = weight
    steps = list(sparsegpt.steps(weight, hessian, sparsity=0.5, form="exact"))
    assert len(steps) == 4
    for step in steps:
        assert torch.equal(step.weight == 0, ~step.keep)
        for row in range(3):
            left = [*step.keep[row].nonzero().flatten().tolist(), int(step.columns[row])]
            B = torch.linalg.inv(damped[left][:, left])
            assert (before[row, left] ** 2 / B.diagonal()).argmin() == len(left) - 1
            torch.testing.assert_close(step.inverse_rows[row, left], B[-1], rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(
            step.weight, reconstruction.refit(weight, hessian, step.keep, 0.01), rtol=1e-9, atol=1e-12
        )
        before = step.weight
    assert [int((~step.keep).sum()) for step in steps] == [3, 6, 9, 12]


BAD = {
    "both": ({"sparsity": 0.5, "n_m": (2, 4)}, "exactly one of them"),
    "neither": ({}, "exactly one of them"),
    "sparsity": ({"sparsity": 1.5}, "sparsity is 1.5"),
    "nan": ({"sparsity": math.nan}, "sparsity is nan"),
    "n over m": ({"n_m": (5, 4)}, r"n_m is \(5, 4\)"),
    "none of m": ({"n_m": (0, 4)}, r"n_m is \(0, 4\)"),
    "no pair": ({"n_m": 4}, "n_m is 4"),
    "columns": ({"n_m": (2, 7)}, "weight has 300 columns, must be a multiple of m = 7"),
    "block": ({"sparsity": 0.5, "block": 0}, "block is 0"),
    "damping": ({"sparsity": 0.5, "damping": math.nan}, "damping is nan"),
    "bits": ({"sparsity": 0.5, "bits": 0}, "bits is 0"),
    "bits and refit": ({"sparsity": 0.5, "bits": 4, "refit": True}, "refit is True and bits is 4"),
}


@pytest.mark.parametrize(("options", "message"), BAD.values(), ids=BAD)
def test_bad_options_are_errors(options, message):
    weight, hessian = layer()
    with pytest.raises(ValueError, match=message):
        sparsegpt.prune_weight(weight, hessian, **options)
    model = nn.Linear(300, 2)
    before = model.weight.detach().clone()
    with pytest.raises(ValueError, match=message.replace("weight has 300 columns", "has 300 columns")):
        sparsegpt.prune_model(model, [torch.randn(9, 300)], progress=False, **options)
    assert torch.equal(model.weight, before)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda W, H: (W, H[:-1]), "hessian has shape"),
        (lambda W, H: (W, H[:-1, :-1]), "hessian has shape"),
        (lambda W, H: (W, H.index_fill(0, torch.tensor(3), math.nan)), "must be finite"),
        (lambda W, H: (W, H.index_fill(0, torch.tensor(3), math.inf)), "must be finite"),
        (lambda W, H: (W, -H), "on its diagonal"),
        (lambda W, H: (W.index_fill(0, torch.tensor(0), math.nan), H), "weight .* must be finite"),
        (lambda W, H: (W[0], H), "weight has shape"),
    ],
)
def test_bad_layer_is_an_error(spoil, message):
    for function in (sparsegpt.prune_weight, sparsegpt.steps, exact.prune_weight):
        with pytest.raises(ValueError, match=message):
            function(*spoil(*layer()), sparsity=0.5)


def test_damping_is_raised_stepwise_with_a_warning_and_never_silently():
    weight, hessian = layer(tokens=20)
    hessian -= 0.002 * hessian.diagonal().mean() * torch.eye(300, dtype=F64)  # eigenvalues below zero
    with pytest.warns(UserWarning, match=r"at damping 0.0001: it was raised to 0.01"):
        pruned, keep = sparsegpt.prune_weight(weight, hessian, sparsity=0.5, damping=1e-4)
    expected, expected_keep = textbook(weight, hessian, sparsity=0.5, damping=0.01)
    assert torch.equal(keep, expected_keep)
    torch.testing.assert_close(pruned, expected, rtol=0, atol=1e-10)
    with pytest.warns(UserWarning, match="at damping 0: it was raised to 0.01"):
        sparsegpt.prune_weight(weight, hessian, sparsity=0.5, damping=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sparsegpt.prune_weight(weight, hessian, sparsity=0.5, damping=0.01)
    indefinite = torch.full((300, 300), 5.0, dtype=F64).fill_diagonal_(1)
    with pytest.raises(ValueError, match="no Cholesky factor at damping 0.01"):
        sparsegpt.prune_weight(weight, indefinite, sparsity=0.5)


def test_model_is_pruned_as_by_hand():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(12, 16), nn.ReLU(inplace=True), nn.Linear(16, 8)).double()
    batches = list(torch.randn(5, 30, 12, dtype=F64))
    by_hand = copy.deepcopy(model)
    expected = {}
    for name, inputs in (("0", lambda x: x), ("2", lambda x: by_hand[:2](x))):
        hessian = reconstruction.Hessian(by_hand.get_submodule(name).in_features, F64)
        for batch in batches:
            hessian.add(inputs(batch))
        weight, expected[f"{name}.weight"] = textbook(
            by_hand.get_submodule(name).weight.detach(), hessian.matrix, sparsity=0.5
        )
        by_hand.get_submodule(name).weight.data.copy_(weight)
    masks = sparsegpt.prune_model(model, batches, sparsity=0.5, progress=False)
    assert masks.keys() == expected.keys()
    for name in masks:
        assert torch.equal(masks[name], expected[name])
        torch.testing.assert_close(model.get_parameter(name), by_hand.get_parameter(name), rtol=0, atol=1e-10)
    masks.hold(model).remove()


def test_options_reach_every_layer():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(12, 16), nn.Linear(16, 8)).double()
    batches = [torch.randn(200, 12, dtype=F64)]
    hessian = reconstruction.Hessian(12, F64).add(batches[0]).matrix
    for options in ({"n_m": (1, 2)}, {"sparsity": 0.4, "block": 3, "damping": 0.1}, {"sparsity": 0.4, "bits": 3}):
        fresh = copy.deepcopy(model)
        masks = sparsegpt.prune_model(fresh, batches, layers=["0"], progress=False, **options)
        weight, keep = sparsegpt.prune_weight(model[0].weight, hessian, **options)
        assert torch.equal(masks["0.weight"], keep)
        torch.testing.assert_close(fresh[0].weight.detach(), weight, rtol=0, atol=1e-10)
        assert torch.equal(fresh[1].weight, model[1].weight)


@pytest.mark.parametrize("form", ["cholesky", "synchronized", "exact"])
def test_steps_refuse_at_the_call_what_has_no_answer(form):
    weight, hessian = layer(rows=3, columns=8)
    with pytest.raises(ValueError, match="‖WX‖² is 0"):
        sparsegpt.steps(0 * weight, hessian, sparsity=0.5, form=form)
    indefinite = torch.full((8, 8), 5.0, dtype=F64).fill_diagonal_(1)
    with pytest.raises(ValueError, match="no Cholesky factor at damping 0.01"):
        sparsegpt.steps(weight, indefinite, sparsity=0.5, form=form)


def test_raised_damping_names_the_layer():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(12, 16), nn.Linear(16, 8)).double()
    few = [torch.randn(3, 12, dtype=F64)]
    with pytest.warns(UserWarning, match="at damping 0: it was raised to") as caught:
        sparsegpt.prune_model(model, few, sparsity=0.5, damping=0, progress=False)
    assert [str(warning.message)[:14] for warning in caught] == ["0: hessian has", "1: hessian has"]
    assert {warning.filename for warning in caught} == {__file__}
    with pytest.warns(UserWarning, match="^the model itself: hessian has no"):
        sparsegpt.prune_model(model[0], few, sparsity=0.5, damping=0, progress=False)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_model_in_half_precision_stays_so(dtype):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(12, 16), nn.ReLU(), nn.Linear(16, 8)).to(dtype)
    batch = torch.randn(200, 12).to(dtype)
    expected = copy.deepcopy(model).double()
    masks = sparsegpt.prune_model(model, [batch], sparsity=0.5, progress=False)
    theirs = sparsegpt.prune_model(expected, [batch.double()], sparsity=0.5, progress=False)
    for name, keep in masks.items():
        weight = model.get_parameter(name)
        assert weight.dtype == dtype and torch.equal(weight != 0, keep)
        assert keep.sum() == keep.numel() / 2 and (keep != theirs[name]).double().mean() < 0.05  # near ties
    torch.testing.assert_close(model(batch).double(), expected(batch.double()), rtol=0, atol=0.2)
