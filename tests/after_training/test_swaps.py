"""Swaps against brute force: every one lowers the refitted error, the first is the best there is, none is left."""

import pytest
import torch
from torch import nn

from pruning_lib.after_training import sparsegpt, swaps
from pruning_lib.after_training.reconstruction import Hessian, error, refit

F64 = torch.float64


def layer(rows=5, columns=16, samples=60, seed=0):
    """Weights and the Hessian of correlated inputs."""
    generator = torch.Generator().manual_seed(seed)
    X = torch.randn(samples, columns, generator=generator, dtype=F64)
    X = X @ torch.randn(columns, columns, generator=generator, dtype=F64)
    return torch.randn(rows, columns, generator=generator, dtype=F64), Hessian(columns, F64).add(X).matrix


def mask(rows=5, columns=16, counts=(8, 8, 5, 0, 16)):
    keep = torch.zeros(rows, columns, dtype=torch.bool)
    for row, count in enumerate(counts):
        keep[row, torch.randperm(columns, generator=torch.Generator().manual_seed(row))[:count]] = True
    return keep


def row_errors(weight, hessian, keep):
    D = weight - refit(weight, hessian, keep)
    return (D @ hessian * D).sum(1) / (weight @ hessian * weight).sum()


def exchanged(keep, n_m=None):
    """Every mask that one exchange in one row makes of `keep`, with its row."""
    m = n_m[1] if n_m else keep.shape[1]
    for row in range(len(keep)):
        for q in keep[row].nonzero().flatten().tolist():
            for p in (~keep[row]).nonzero().flatten().tolist():
                if p // m == q // m:
                    other = keep.clone()
                    other[row, q], other[row, p] = False, True
                    yield row, other


PROBLEMS = [(None, mask()), ((2, 4), torch.tensor([[True, True, False, False] * 4] * 5)), ((1, 4), mask() & False)]
PROBLEMS[2][1][:, ::4] = True


@pytest.mark.parametrize(("n_m", "keep"), PROBLEMS)
def test_each_swap_lowers_the_error_until_none_does(n_m, keep):
    weight, hessian = layer()
    before, last, swapped = row_errors(weight, hessian, keep), keep, torch.zeros(5, dtype=torch.long)
    for budget in range(50):
        found = swaps.search(weight, hessian, keep, n_m, budget)
        after = row_errors(weight, hessian, found.keep)
        torch.testing.assert_close(found.before, row_errors(weight, hessian, keep))
        torch.testing.assert_close(found.after, after)
        torch.testing.assert_close(found.weight, refit(weight, hessian, found.keep))
        more = found.swaps > swapped
        assert (after[more] < before[more]).all() and torch.equal(found.keep[~more], last[~more])
        if budget > 0 and not more.any():
            break
        before, last, swapped = after, found.keep, found.swaps
    assert 2 <= found.swaps.max() < 49
    assert torch.equal(found.keep.sum(1), keep.sum(1))
    if n_m:
        assert (found.keep.view(5, -1, 4).sum(2) == n_m[0]).all()
    least = min(row_errors(weight, hessian, other)[row] - after[row] for row, other in exchanged(found.keep, n_m))
    assert least > -1e-9
    everything = swaps.search(weight, hessian, keep, n_m)
    assert torch.equal(everything.keep, found.keep) and torch.equal(everything.swaps, found.swaps)


@pytest.mark.parametrize(("n_m", "keep"), PROBLEMS)
def test_the_first_swap_is_the_best_of_all(n_m, keep):
    weight, hessian = layer(seed=1)
    found = swaps.search(weight, hessian, keep, n_m, budget=1)
    best = row_errors(weight, hessian, keep)
    for row, other in exchanged(keep, n_m):
        best[row] = torch.minimum(best[row], row_errors(weight, hessian, other)[row])
    torch.testing.assert_close(found.after, best)


@pytest.mark.parametrize("n_m", [None, (2, 4)])
def test_few_candidates_and_small_chunks_end_too(n_m, monkeypatch):
    weight, hessian = layer(12, 32, 100)
    _, keep = sparsegpt.prune_weight(weight, hessian, None if n_m else 0.6, n_m)
    alone = torch.cat([swaps.search(w[None], hessian, k[None], n_m).keep for w, k in zip(weight, keep, strict=True)])
    monkeypatch.setattr(swaps, "_CHUNK", 2**15)
    monkeypatch.setattr(swaps, "_PANEL", 5)
    assert torch.equal(swaps.search(weight, hessian, keep, n_m).keep, alone)
    monkeypatch.setattr(swaps, "_CANDIDATES", 3)
    found = swaps.search(weight, hessian, keep, n_m)
    assert torch.equal(found.keep.sum(1), keep.sum(1)) and (found.after <= found.before).all()
    assert found.after.sum() < 0.95 * found.before.sum()
    torch.testing.assert_close(found.after, row_errors(weight, hessian, found.keep))


def test_float32_ends_as_well_as_float64():
    weight, hessian = layer(20, 48, 400)
    _, keep = sparsegpt.prune_weight(weight, hessian, 0.5)
    single = swaps.search(weight.float(), hessian.float(), keep)
    assert single.weight.dtype == torch.float32
    exact = row_errors(weight, hessian, single.keep).sum()
    assert exact < 1.02 * swaps.search(weight, hessian, keep).after.sum()
    assert error(weight, single.weight.double(), hessian) < 1.0001 * exact
    halves = swaps.search(weight.bfloat16(), hessian.float(), keep)
    assert halves.weight.dtype == torch.bfloat16 and halves.after.sum() < 0.95 * halves.before.sum()


def test_columns_that_depend_on_each_other_are_computed_in_float64():
    weight, hessian = layer(8, 24, 400)
    hessian[-1], hessian[:, -1] = hessian[0], hessian[:, 0]
    hessian[-1, -1] = hessian[0, 0] * (1 + 1e-7)
    _, keep = sparsegpt.prune_weight(weight, hessian, 0.5)
    found = swaps.search(weight.float(), hessian, keep)
    assert found.after.dtype == F64 and found.weight.dtype == torch.float32
    torch.testing.assert_close(found.after, row_errors(weight, hessian, found.keep), rtol=1e-4, atol=0)


def test_a_layer_of_zeros_stays_one():
    found = swaps.search(torch.zeros(5, 16), torch.eye(16), mask())
    assert torch.equal(found.keep, mask()) and not found.weight.any() and not found.after.any()


def test_singular_hessians_are_damped_with_a_warning():
    weight, hessian = layer(samples=6)
    with pytest.warns(UserWarning, match="damping 0: it was raised to 1e-06"):
        found = swaps.search(weight, hessian, mask())
    assert found.weight.isfinite().all() and (found.after <= found.before).all()
    quiet = swaps.search(weight, hessian, mask(), damping=0.01)
    damped = hessian + 0.01 * hessian.diagonal().mean() * torch.eye(16, dtype=F64)
    torch.testing.assert_close(quiet.weight, swaps.search(weight, damped, mask()).weight)


def test_columns_never_seen_leave_the_mask():
    weight, hessian = layer()
    hessian[3] = hessian[:, 3] = 0
    keep = mask(counts=(8,) * 5)
    keep[:, 3], keep[:, 4] = True, False
    found = swaps.search(weight, hessian, keep)
    assert not found.keep[:, 3].any() and not found.weight[:, 3].any()
    full = swaps.search(weight, hessian, torch.ones_like(keep))
    assert torch.allclose(full.weight, weight.index_fill(1, torch.tensor([3]), 0))


@pytest.mark.parametrize("target", [{"sparsity": 0.5}, {"n_m": (2, 4)}, {"sparsity": 0.0}, {"sparsity": 1.0}])
def test_weights_start_from_the_mask_of_sparsegpt(target):
    weight, hessian = layer(10, 32, 100)
    refitted, start = sparsegpt.prune_weight(weight, hessian, **target, refit=True)
    pruned, keep = swaps.prune_weight(weight, hessian, **target)
    better, same = swaps.improve(weight, hessian, start, target.get("n_m"), damping=0.01)
    assert torch.equal(pruned, better) and torch.equal(keep, same)
    assert torch.equal(keep.sum(1), start.sum(1)) and not pruned[~keep].any()
    strict = target not in ({"sparsity": 0.0}, {"sparsity": 1.0})
    assert error(weight, pruned, hessian) <= (0.95 if strict else 1) * error(weight, refitted, hessian) + 1e-12
    torch.testing.assert_close(swaps.prune_weight(weight, hessian, **target, budget=0)[0], refitted)


def test_model_is_walked_in_order():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 4)).double()
    X = torch.randn(40, 16, dtype=F64) @ torch.randn(16, 16, dtype=F64)
    first, keep = swaps.prune_weight(model[0].weight, Hessian(16, F64).add(X).matrix, n_m=(2, 4))
    hidden = torch.relu(X @ first.T + model[0].bias).detach()
    second, _ = swaps.prune_weight(model[2].weight, Hessian(8, F64).add(hidden).matrix, n_m=(2, 4))
    masks = swaps.prune_model(model, X.split(9), n_m=(2, 4), progress=False)
    assert torch.equal(masks["0.weight"], keep)
    torch.testing.assert_close(model[0].weight, first)
    torch.testing.assert_close(model[2].weight, second)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"keep": torch.ones(2, 8)}, "keep is torch.float32"),
        ({"keep": torch.ones(2, 7, dtype=torch.bool)}, r"keep is torch.bool \(2, 7\), must be torch.bool \(2, 8\)"),
        ({"n_m": (2, 4)}, "keep does not have 2 of every 4 weights"),
        ({"n_m": (3, 2)}, "n_m is"),
        ({"n_m": (1, 3)}, "must be a multiple of m = 3"),
        ({"budget": -1}, "budget is -1, must be at least 0"),
        ({"budget": 1.5}, "budget is 1.5, must be a whole number"),
        ({"damping": 2}, "damping is 2"),
        ({"hessian": torch.full((8, 8), torch.nan)}, "hessian .* must be finite"),
        ({"hessian": torch.eye(7)}, "hessian has shape"),
        ({"hessian": -torch.eye(8)}, "on its diagonal"),
        ({"weight": torch.full((2, 8), torch.inf)}, "weight .* must be finite"),
    ],
)
def test_bad_input_is_an_error(change, message):
    keep = torch.zeros(2, 8, dtype=torch.bool)
    keep[:, :3] = True
    with pytest.raises(ValueError, match=message):
        swaps.search(**{"weight": torch.ones(2, 8), "hessian": torch.eye(8), "keep": keep, **change})


@pytest.mark.parametrize("change", [{"sparsity": 2}, {"sparsity": None}, {"budget": -1}, {"damping": -1}])
def test_a_model_is_unchanged_after_bad_options(change):
    model = nn.Linear(8, 4)
    before = model.weight.clone()
    with pytest.raises(ValueError, match="must be"):
        swaps.prune_model(model, [torch.randn(9, 8)], **{"sparsity": 0.5, **change}, progress=False)
    assert torch.equal(model.weight, before)
