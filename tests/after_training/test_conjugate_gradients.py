"""Rows fitted together by conjugate gradients against a Cholesky solution of each."""

import pytest
import torch

from pruning_lib.after_training import sparsegpt
from pruning_lib.after_training.conjugate_gradients import descend, product
from pruning_lib.after_training.reconstruction import Hessian, refit

F64 = torch.float64


@pytest.fixture(scope="module")
def layer():
    """W (rows, columns), H of correlated inputs, one column never seen; a mask of 60 %, in one row all, in one none."""
    generator = torch.Generator().manual_seed(0)
    X = torch.randn(900, 300, generator=generator, dtype=F64)
    X = X @ (torch.eye(300) + torch.randn(300, 300, generator=generator, dtype=F64) / 300**0.5)
    X[:, 5] = 0
    weight = torch.randn(10, 300, generator=generator, dtype=F64)
    keep = torch.rand(10, 300, generator=generator) < 0.6
    keep[0], keep[1] = True, False
    keep[:8, 5] = keep[:8, 5] | (torch.arange(8) != 1)
    return weight, Hessian(300, F64).add(X).matrix, keep


def errors(weight, fitted, hessian):
    D = weight.to(F64) - fitted.to(F64)
    return ((D @ hessian.to(F64)) * D).sum(1)


@pytest.mark.parametrize("dtype", [torch.float32, F64])
@pytest.mark.parametrize("damping", [0.0, 0.1])
def test_refit_is_within_the_tolerance_of_the_exact_solution(layer, dtype, damping):
    weight, hessian, keep = (each if each.dtype == torch.bool else each.to(dtype) for each in layer)
    exact = refit(weight.double(), hessian.double(), keep, damping, tolerance=0)
    damped = hessian.double() + damping * hessian.diagonal().double().mean() * torch.eye(300)
    parts = [damped, weight.double().masked_fill(keep, 0)]  # what goes is not damped

    def damped_errors(fitted):
        constant = damping * hessian.diagonal().double().mean() * parts[1].square().sum(1)
        return errors(weight, fitted, damped) - constant

    fitted = refit(weight, hessian, keep, damping)
    assert fitted.dtype == dtype and (fitted[~keep] == 0).all()
    least = damped_errors(exact)
    assert (damped_errors(fitted) <= 1.001 * least + 1e-9).all()
    assert (damped_errors(fitted)[2:] > least[2:] * (1 + 1e-9)).all()  # by steps, not by Cholesky
    torch.testing.assert_close(fitted[0], weight[0])


@pytest.mark.parametrize("tolerance", [0.1, 1e-3, 1e-12])
def test_the_reported_excess_is_that_over_the_minimum(layer, tolerance):
    weight, hessian, keep = layer[0][2:], layer[1], layer[2][2:]
    exact = errors(weight, refit(weight, hessian, keep, tolerance=0), hessian)
    found = descend(weight, hessian, keep, weight, tolerance)
    true = errors(weight, found.weight, hessian) / exact - 1
    undone = found.excess > tolerance
    assert (found.steps[undone] >= 300 // 16).all()
    assert (true[~undone] <= tolerance).all()
    assert undone.all() if tolerance == 1e-12 else not undone.any()
    if tolerance > 1e-12:  # below, rounding
        assert (true <= 1.5 * found.excess).all() and (found.excess <= 20 * true).all()


def test_a_row_alone_goes_the_same_way_and_others_are_left_alone(layer):
    weight, hessian, keep = layer
    together = descend(weight, hessian, keep, weight, 1e-3)
    alone = descend(weight, hessian, keep, weight, 1e-3, rows=torch.tensor([3]))
    errors_of = [errors(weight, each.weight, hessian) for each in (together, alone)]
    assert errors_of[1][3] == pytest.approx(errors_of[0][3].item(), rel=1e-3)
    assert torch.equal(alone.weight[4], weight[4] * keep[4]) and alone.excess[4].isinf() and alone.steps[4] == 0
    assert together.steps[1] == 0 == together.excess[1]  # nothing stays


def test_from_sparsegpt_it_ends_below_sparsegpt_in_fewer_steps(layer):
    weight, hessian, _ = layer
    start, keep = sparsegpt.prune_weight(weight, hessian, sparsity=0.4)
    fitted, again = sparsegpt.prune_weight(weight, hessian, sparsity=0.4, refit=True)
    assert torch.equal(keep, again) and (fitted[:, 5] == 0).all()
    damped = hessian + 0.01 * hessian.diagonal().mean() * torch.eye(len(hessian))  # as SparseGPT itself
    exact = refit(weight, hessian, keep, 0.01, tolerance=0).masked_fill(hessian.diagonal() == 0, 0)
    least, found = (errors(weight, each, damped).sum() for each in (exact, fitted))
    assert least * (1 - 1e-9) <= found <= 1.001 * least < errors(weight, start, damped).sum()
    steps = [descend(weight, hessian, keep, begin, 1e-3).steps.sum() for begin in (start, weight)]
    assert steps[0] < steps[1]


def test_rows_that_do_not_get_there_are_solved_exactly(layer):
    weight, _, keep = layer
    generator = torch.Generator().manual_seed(1)
    walk = torch.randn(900, 300, generator=generator, dtype=F64).cumsum(1)
    hessian = Hessian(300, F64).add(walk).matrix
    assert (descend(weight, hessian, keep, weight, 1e-6).excess[2:] > 1e-6).all()
    exact = refit(weight, hessian, keep, tolerance=0)
    torch.testing.assert_close(refit(weight, hessian, keep, tolerance=1e-6)[2:], exact[2:], rtol=1e-9, atol=1e-9)


def test_a_hessian_that_is_not_positive_semi_definite_is_told(layer):
    weight, _, keep = layer
    indefinite = torch.eye(300, dtype=F64)
    indefinite[0, 1] = indefinite[1, 0] = 1.5
    keep = keep.clone()
    keep[2:, :2] = True
    assert descend(weight, indefinite, keep, weight, 1e-3).excess.isinf().all()
    with pytest.warns(UserWarning, match="no Cholesky factor at damping 0: it was raised to 1"):
        refit(weight, indefinite, keep)


def test_fewer_inputs_than_columns_are_fitted(layer):
    weight, _, keep = layer
    X = torch.randn(120, 300, generator=torch.Generator().manual_seed(2), dtype=F64)
    hessian = Hessian(300, F64).add(X).matrix
    with pytest.warns(UserWarning, match="no Cholesky factor at damping 0"):
        fitted = refit(weight, hessian, keep)
    assert (errors(weight, fitted, hessian)[2:] < 1e-6 * errors(weight, 0 * weight, hessian)[2:]).all()


def test_product_is_in_float64(layer):
    D, hessian = layer[0], layer[1].float()
    torch.testing.assert_close(product(D, hessian), D @ hessian.double(), rtol=1e-12, atol=1e-12)
