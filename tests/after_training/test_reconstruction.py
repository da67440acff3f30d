"""Hessian, error and refit against X itself, the exact form against trying every mask."""

import itertools
import math
import re

import pytest
import torch

from pruning_lib.after_training import exact, sparsegpt
from pruning_lib.after_training.reconstruction import Hessian, error, refit

F64 = torch.float64


@pytest.fixture
def layer():
    """W (rows, columns), inputs X (tokens, columns), a mask of about half."""
    generator = torch.Generator().manual_seed(0)
    X = torch.randn(60, 10, generator=generator, dtype=F64) @ torch.randn(10, 10, generator=generator, dtype=F64)
    weight = torch.randn(7, 10, generator=generator, dtype=F64)
    keep = torch.rand(7, 10, generator=generator) < 0.5
    keep[0], keep[1] = True, False
    return weight, X, keep


@pytest.mark.parametrize("sizes", [[60], [1] * 60, [7, 0, 50, 3]])
def test_any_split_gives_the_mean_of_2xx(layer, sizes):
    _, X, _ = layer
    expected = sum(2 * torch.outer(x, x) for x in X) / 60
    hessian = Hessian(10, F64)
    for part in X.split(sizes):
        assert hessian.add(part) is hessian
    torch.testing.assert_close(hessian.matrix, expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(Hessian(10, F64).add(X.view(3, 4, 5, 10)).matrix, expected, rtol=0, atol=1e-12)


def test_half_precision_inputs_are_added_in_float32(layer):
    _, X, _ = layer
    half = Hessian(10)
    for part in X.to(torch.bfloat16).split(1):
        half.add(part)
    expected = Hessian(10, F64).add(X.to(torch.bfloat16).double()).matrix
    torch.testing.assert_close(half.matrix.double(), expected, rtol=1e-5, atol=1e-4)


def test_error_is_that_of_the_outputs(layer):
    weight, X, keep = layer
    pruned = weight * keep
    expected = ((weight - pruned) @ X.T).square().sum() / (weight @ X.T).square().sum()
    assert error(weight, pruned, Hessian(10, F64).add(X).matrix) == pytest.approx(expected.item(), rel=1e-12)
    assert error(weight, weight, Hessian(10, F64).add(X).matrix) == 0
    assert error(weight, 0 * weight, Hessian(10, F64).add(X).matrix) == 1


def test_refit_equals_least_squares_per_row(layer):
    weight, X, keep = layer
    fitted = refit(weight, Hessian(10, F64).add(X).matrix, keep)
    for w, row, mask in zip(fitted, weight, keep, strict=True):
        assert (w[~mask] == 0).all()
        solution = torch.linalg.lstsq(X[:, mask], (X @ row)[:, None]).solution[:, 0]
        torch.testing.assert_close(w[mask], solution, rtol=1e-9, atol=1e-10)
    torch.testing.assert_close(fitted[0], weight[0], rtol=0, atol=0)


def test_refit_with_too_few_inputs_warns_and_fits_them(layer):
    weight, X, keep = layer
    keep[:, :8] = True
    few = X[:5]
    with pytest.warns(UserWarning, match="no Cholesky factor at damping 0"):
        fitted = refit(weight, Hessian(10, F64).add(few).matrix, keep)
    torch.testing.assert_close(few @ fitted[2:].T, few @ weight[2:].T, rtol=1e-4, atol=1e-4)


def test_refit_of_a_row_does_not_depend_on_the_others(layer):
    weight, X, keep = layer
    keep[2:5] = True
    hessian = Hessian(10, F64).add(X[:6]).matrix  # too few inputs for rows 0 and 2 to 4 only
    with pytest.warns(UserWarning, match="was raised to"):
        together = refit(weight, hessian, keep)
    for row in (1, 6):
        alone = refit(weight[row : row + 1], hessian, keep[row : row + 1])
        torch.testing.assert_close(alone, together[row : row + 1], rtol=1e-12, atol=1e-12)


def test_damping_goes_up_to_the_largest_before_giving_up(layer):
    weight, _, keep = layer
    indefinite = torch.eye(10, dtype=F64)
    indefinite[0, 1] = indefinite[1, 0] = 1.5  # lowest eigenvalue −0.5
    with pytest.warns(UserWarning, match="at damping 0.3: it was raised to 1"):
        refit(weight, indefinite, torch.ones_like(keep), damping=0.3)
    indefinite[0, 1] = indefinite[1, 0] = 3
    with pytest.raises(ValueError, match="at damping 0.3, nor with any up to 1"):
        refit(weight, indefinite, torch.ones_like(keep), damping=0.3)


def test_refit_leaves_dead_columns_alone(layer):
    weight, X, keep = layer
    X[:, 3] = 0
    keep[:, 3] = True
    fitted = refit(weight, Hessian(10, F64).add(X).matrix, keep)
    torch.testing.assert_close(fitted[:, 3], weight[:, 3], rtol=0, atol=0)
    mask = keep[2] & (torch.arange(10) != 3)
    solution = torch.linalg.lstsq(X[:, mask], (X @ weight[2])[:, None]).solution[:, 0]
    torch.testing.assert_close(fitted[2, mask], solution, rtol=1e-9, atol=1e-10)


def test_exact_ends_exact_on_its_mask_and_near_the_best_of_all_masks(layer):
    weight, X, _ = layer
    hessian = Hessian(10, F64).add(X).matrix
    pruned, keep = exact.prune_weight(weight[:1], hessian, sparsity=0.4, damping=0.0)
    assert (~keep).sum() == 4
    torch.testing.assert_close(pruned, refit(weight[:1], hessian, keep), rtol=1e-8, atol=1e-9)
    errors = []
    for gone in itertools.combinations(range(10), 4):
        mask = torch.ones(1, 10, dtype=torch.bool)
        mask[0, list(gone)] = False
        errors.append(error(weight[:1], refit(weight[:1], hessian, mask), hessian))
    found = error(weight[:1], pruned, hessian)
    assert min(errors) * (1 - 1e-9) <= found <= sorted(errors)[len(errors) // 20]  # greedy: of the best twentieth


def test_exact_spreads_the_zeros_over_the_rows_and_keeps_to_n_of_m(layer, monkeypatch):
    weight, X, _ = layer
    weight[0] *= 10
    hessian = Hessian(10, F64).add(X).matrix
    pruned, keep = exact.prune_weight(weight, hessian, sparsity=0.33)
    assert (~keep).sum() == round(70 * 0.33)
    assert keep[0].sum() > keep[1:].sum(1).max()
    monkeypatch.setattr(exact, "CHUNK", 1)
    again, _ = exact.prune_weight(weight, hessian, sparsity=0.33)
    torch.testing.assert_close(again, pruned, rtol=0, atol=0)
    _, keep = exact.prune_weight(weight, hessian, n_m=(3, 5))
    assert (keep.view(7, 2, 5).sum(-1) == 3).all()
    pruned, keep = exact.prune_weight(weight, hessian, n_m=(2, 2))
    assert keep.all() and torch.equal(pruned, weight)
    for sparsity in (0, 1):
        pruned, keep = exact.prune_weight(weight, hessian, sparsity=sparsity)
        torch.testing.assert_close(pruned, weight * (1 - sparsity), rtol=0, atol=0)
        assert keep.all() if sparsity == 0 else not keep.any()


@pytest.mark.parametrize("damping", [math.nan, -1, 5, None, "0.1"])
def test_bad_damping_is_an_error(layer, damping):
    weight, X, keep = layer
    hessian = Hessian(10, F64).add(X).matrix
    for call in (
        lambda: refit(weight, hessian, keep, damping),
        lambda: exact.prune_weight(weight, hessian, 0.5, damping=damping),
        lambda: sparsegpt.prune_weight(weight, hessian, 0.5, damping=damping),
    ):
        with pytest.raises(ValueError, match=re.escape(f"damping is {damping!r}")):
            call()


def test_bad_input_is_an_error(layer):
    weight, X, keep = layer
    hessian = Hessian(10, F64).add(X).matrix
    for call, message in [
        (lambda: Hessian(0), "columns is 0"),
        (lambda: Hessian(3, torch.float16), "dtype is torch.float16"),
        (lambda: Hessian(10).add(X.T), r"inputs has shape \(10, 60\)"),
        (lambda: Hessian(10).matrix, "has seen no inputs"),
        (lambda: Hessian(10, F64).add(X).add(X * math.nan).matrix, "must be finite"),
        (lambda: error(weight, weight[:2], hessian), "pruned has shape"),
        (lambda: error(weight, weight, hessian[:4]), "hessian has shape"),
        (lambda: error(0 * weight, weight, hessian), "WX‖² is 0"),
        (lambda: refit(weight, hessian, keep.double()), "keep is torch.float64"),
        (lambda: refit(weight, hessian, keep[:2]), r"keep is torch.bool \(2, 10\)"),
        (lambda: refit(weight, hessian, keep, start=weight[:2]), r"start has shape \(2, 10\)"),
        (lambda: refit(weight, hessian, keep, start=weight * math.nan), "and finite"),
        (lambda: refit(weight, hessian, keep, tolerance=-1), "tolerance is -1"),
        (lambda: refit(weight, hessian, keep, tolerance=math.nan), "tolerance is nan"),
        (lambda: refit(weight, hessian, keep, tolerance=None), "tolerance is None"),
        (lambda: refit(weight, hessian * math.inf, keep), "must be finite"),
    ]:
        with pytest.raises(ValueError, match=message):
            call()
