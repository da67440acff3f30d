"""Proximal steps against their definitions, APG against its bound, ProximalSGD against APG and torch's SGD."""

import copy
import math

import pytest
import torch

from pruning_lib.during_training.proximal import (
    ProximalSGD,
    apg,
    apg_momentum,
    hard_threshold,
    ista,
    prox_l1,
    ridge_shrink,
    soft_threshold,
)

Z = torch.tensor([-2.0, -0.5, -0.1, 0.0, 0.3, 0.5, 4.0], dtype=torch.float64)


@pytest.fixture
def lasso():
    """f(x) = ½‖Ax − b‖², its step 1/L, and γ."""
    generator = torch.Generator().manual_seed(0)
    A = torch.randn(30, 12, generator=generator, dtype=torch.float64) * torch.linspace(0.1, 2, 12)
    b = A[:, :4].sum(1) + 0.1 * torch.randn(30, generator=generator, dtype=torch.float64)
    step = 1 / torch.linalg.matrix_norm(A, 2).item() ** 2
    return (lambda x: 0.5 * (A @ x - b).square().sum()), step, 1.5


@pytest.mark.parametrize(
    ("prox", "penalty"),
    [
        (soft_threshold, lambda x: 0.4 * x.abs()),
        (hard_threshold, lambda x: 0.4**2 / 2 * (x != 0)),
        (ridge_shrink, lambda x: 0.4 / 2 * x.square()),
    ],
)
def test_shrinkage_is_the_prox_of_its_penalty(prox, penalty):
    # argmin_x penalty(x) + ½(x − z)², by trying every x of a grid that holds zero
    x = torch.arange(-5000, 5001, dtype=torch.float64) / 1000
    best = torch.stack([x[(penalty(x) + 0.5 * (x - z) ** 2).argmin()] for z in Z])
    torch.testing.assert_close(prox(Z, 0.4), best, atol=1e-3, rtol=0)


def test_soft_threshold_is_the_formula_with_exact_positive_zeros():
    shrunk = soft_threshold(Z, 0.5)
    torch.testing.assert_close(shrunk, Z.sign() * (Z.abs() - 0.5).clamp(min=0), rtol=0, atol=0)
    assert (shrunk == 0).tolist() == [False, True, True, True, True, True, False]
    assert not torch.signbit(shrunk[shrunk == 0]).any()


def test_prox_l1_thresholds_at_step_times_gamma():
    torch.testing.assert_close(prox_l1(Z, step=0.1, gamma=3.0), soft_threshold(Z, 0.3), rtol=0, atol=1e-15)


@pytest.mark.parametrize("alpha", [-1e-9, math.nan, math.inf])
@pytest.mark.parametrize("function", [soft_threshold, hard_threshold, ridge_shrink])
def test_bad_threshold_is_an_error(function, alpha):
    with pytest.raises(ValueError, match="alpha is"):
        function(Z, alpha)


def test_momentum_starts_at_the_third_iteration():
    assert [apg_momentum(t) for t in range(1, 6)] == [0, 0, 1 / 4, 2 / 5, 3 / 6]
    with pytest.raises(ValueError, match="t is 0"):
        apg_momentum(0)


def test_states_are_those_of_sss_5(lasso):
    f, step, gamma = lasso
    states = list(apg(f, torch.ones(12, dtype=torch.float64), step, gamma, 8))
    assert [state.t for state in states] == list(range(1, 9))
    points = [torch.ones(12, dtype=torch.float64)] * 2 + [state.point for state in states]
    for state, before, earlier in zip(states, points[1:], points, strict=False):
        factor = (state.t - 2) / (state.t + 1) if state.t > 1 else 0.0
        d = before + factor * (before - earlier)
        x = d.clone().requires_grad_()
        f(x).backward()
        z = d - step * x.grad
        torch.testing.assert_close(state.look_ahead, d, rtol=0, atol=1e-14)
        torch.testing.assert_close(state.z, z, rtol=0, atol=1e-14)
        torch.testing.assert_close(state.point, soft_threshold(z, step * gamma), rtol=0, atol=1e-14)
        assert state.momentum == factor
        assert state.objective == pytest.approx(float(f(state.point) + gamma * state.point.abs().sum()), rel=1e-14)


def test_both_reach_the_optimum_and_keep_their_bounds(lasso):
    f, step, gamma = lasso
    x0 = torch.ones(12, dtype=torch.float64)
    *_, last = apg(f, x0, step, gamma, 3000)
    x = last.point.clone().requires_grad_()
    f(x).backward()
    zero = last.point == 0
    assert 0 < zero.sum() < 12
    # optimal: −∇f is γ·sign(x) where x is not zero, and within [−γ, γ] where it is
    torch.testing.assert_close(-x.grad[~zero], gamma * last.point[~zero].sign(), rtol=0, atol=1e-8)
    assert (x.grad[zero].abs() <= gamma).all()
    distance = float((x0 - last.point).square().sum())
    slow, fast = (list(method(f, x0, step, gamma, 200)) for method in (ista, apg))
    for s, q in zip(slow, fast, strict=True):
        assert s.momentum == 0
        assert s.objective - last.objective <= distance / (2 * step * s.t) + 1e-9  # O(1/t)
        assert q.objective - last.objective <= 2 * distance / (step * (q.t + 1) ** 2) + 1e-9  # O(1/t²)
    assert fast[-1].objective < slow[-1].objective
    assert x0.eq(1).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"step": 0.0}, "step is 0.0"),
        ({"step": math.nan}, "step is nan"),
        ({"gamma": -1.0}, "gamma is -1.0"),
        ({"steps": -1}, "steps"),
    ],
)
def test_bad_arguments_are_errors_at_the_call(lasso, change, message):
    f, step, gamma = lasso
    with pytest.raises(ValueError, match=message):
        apg(f, torch.ones(12, dtype=torch.float64), **{"step": step, "gamma": gamma, "steps": 3, **change})


def test_divergence_is_an_error():
    with pytest.raises(ValueError, match="not finite at iteration"):
        list(ista(lambda x: (x**4).sum(), torch.tensor([10.0]), 1.0, 0.0, 50))


def take_steps(optimizer, f, parameter, count, before=lambda t: None):
    for t in range(1, count + 1):
        before(t)
        optimizer.zero_grad()
        f(parameter).backward()
        optimizer.step()
        yield t


def test_without_gamma_it_is_nesterov_sgd_of_torch(lasso):
    f, step, _ = lasso
    ours, theirs = (torch.ones(12, dtype=torch.float64, requires_grad=True) for _ in range(2))
    proximal = ProximalSGD([ours], lr=step, momentum=0.9)
    nesterov = torch.optim.SGD([theirs], lr=step, momentum=0.9, nesterov=True)
    before = ours.detach().clone()
    for _ in zip(take_steps(proximal, f, ours, 50), take_steps(nesterov, f, theirs, 50), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)
        velocity = -step * nesterov.state[theirs]["momentum_buffer"]
        torch.testing.assert_close(proximal.true(ours) - before, velocity, rtol=0, atol=1e-12)
        torch.testing.assert_close(proximal.true(ours), theirs - 0.9 * velocity, rtol=0, atol=1e-12)
        before = proximal.true(ours)


def test_it_is_apg_with_the_same_momentum(lasso):
    f, step, gamma = lasso
    parameter = torch.ones(12, dtype=torch.float64, requires_grad=True)
    optimizer = ProximalSGD([parameter], lr=step, gamma=gamma)
    states = list(apg(f, parameter.detach(), step, gamma, 61))

    def next_momentum(t):
        optimizer.param_groups[0]["momentum"] = apg_momentum(t + 1)

    for t in take_steps(optimizer, f, parameter, 60, next_momentum):
        torch.testing.assert_close(optimizer.true(parameter), states[t - 1].point, rtol=0, atol=1e-12)
        torch.testing.assert_close(parameter, states[t].look_ahead, rtol=0, atol=1e-12, check_stride=False)
    assert (optimizer.true(parameter) == 0).any()


def test_it_is_sss_9_when_lr_and_momentum_change(lasso):
    f, step, gamma = lasso
    parameter = torch.ones(12, dtype=torch.float64, requires_grad=True)
    optimizer = ProximalSGD([parameter], lr=step, momentum=0.9, gamma=gamma)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=5, gamma=0.5)
    look_ahead, v, mu_before = parameter.detach().clone(), 0.0, 0.0
    for t in range(1, 31):
        eta, mu = step * 0.5 ** ((t - 1) // 5), 0.9 * t / (t + 3)
        optimizer.param_groups[0]["momentum"] = mu
        optimizer.zero_grad()
        f(parameter).backward()
        shrunk = soft_threshold(look_ahead - eta * parameter.grad, eta * gamma)
        v = shrunk - look_ahead + mu_before * v
        look_ahead, mu_before = shrunk + mu * v, mu
        optimizer.step()
        scheduler.step()
        torch.testing.assert_close(optimizer.true(parameter), shrunk, rtol=0, atol=1e-12)
        torch.testing.assert_close(parameter.detach(), look_ahead, rtol=0, atol=1e-12)


def test_zeros_are_exact_in_the_true_point_only():
    parameter = torch.tensor([1.0, 1.0], requires_grad=True)
    optimizer = ProximalSGD([parameter], lr=0.1, momentum=0.9, gamma=1.0)
    moved = False
    for _ in take_steps(optimizer, lambda x: 0.5 * (x[0] - 3) ** 2 + 0.5 * x[1] ** 2, parameter, 200):
        moved |= bool(optimizer.true(parameter)[1] == 0 and parameter[1] != 0)
    assert moved, "the look-ahead point overshoots zero on the way"
    torch.testing.assert_close(optimizer.true(parameter), torch.tensor([2.0, 0.0]), atol=1e-4, rtol=0)
    assert optimizer.true(parameter)[1] == 0


def test_settled_shows_the_true_point_and_gives_the_look_ahead_back(lasso):
    f, step, gamma = lasso
    parameter = torch.ones(12, dtype=torch.float64, requires_grad=True)
    optimizer = ProximalSGD([parameter], lr=step, gamma=gamma)
    assert torch.equal(optimizer.true(parameter), parameter)
    list(take_steps(optimizer, f, parameter, 7))
    look_ahead, true = parameter.detach().clone(), optimizer.true(parameter)
    assert not torch.equal(look_ahead, true)
    with pytest.raises(RuntimeError, match="inside"), optimizer.settled():
        assert torch.equal(parameter, true)
        raise RuntimeError("inside")
    assert torch.equal(parameter, look_ahead)
    optimizer.settle_()
    assert torch.equal(parameter, true)
    with pytest.raises(ValueError, match="not one of this optimizer's"):
        optimizer.true(torch.ones(12))


def test_state_survives_saving(lasso):
    f, step, gamma = lasso
    parameter = torch.ones(12, dtype=torch.float64, requires_grad=True)
    optimizer = ProximalSGD([parameter], lr=step, gamma=gamma)
    list(take_steps(optimizer, f, parameter, 5))
    again = parameter.detach().clone().requires_grad_()
    restored = ProximalSGD([again], lr=1.0)
    restored.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for _ in zip(take_steps(optimizer, f, parameter, 5), take_steps(restored, f, again, 5), strict=True):
        assert torch.equal(parameter, again)
        assert torch.equal(optimizer.true(parameter), restored.true(again))


def test_groups_have_their_own_settings():
    a, b, unused = (torch.tensor([1.0], requires_grad=True) for _ in range(3))
    optimizer = ProximalSGD(
        [{"params": [a], "gamma": 2.0}, {"params": [b, unused], "lr": 0.2, "momentum": 0.0}], lr=0.1, gamma=0.5
    )
    (a + b).backward()
    optimizer.step()
    assert optimizer.true(a).item() == pytest.approx(1 - 0.1 - 0.1 * 2.0)
    assert a.item() == pytest.approx(0.7 - 0.9 * 0.3)
    assert b.item() == pytest.approx(1 - 0.2 - 0.2 * 0.5)
    assert unused.item() == 1


@pytest.mark.parametrize(
    "setting",
    [{"lr": 0.0}, {"lr": math.nan}, {"gamma": -0.1}, {"gamma": math.nan}, {"momentum": 1.0}, {"momentum": -0.1}],
)
def test_bad_settings_are_errors(setting):
    (name,) = setting
    parameter = torch.ones(1, requires_grad=True)
    with pytest.raises(ValueError, match=f"{name} of parameter group 0"):
        ProximalSGD([parameter], **{"lr": 0.1, **setting})
    with pytest.raises(ValueError, match=f"{name} of parameter group 1"):
        ProximalSGD([{"params": [torch.ones(1, requires_grad=True)]}, {"params": [parameter], **setting}], lr=0.1)


def test_a_setting_that_turned_bad_is_an_error_at_the_step():
    parameter = torch.ones(1, requires_grad=True)
    optimizer = ProximalSGD([parameter], lr=0.1)
    optimizer.param_groups[0]["gamma"] = -1.0
    parameter.sum().backward()
    with pytest.raises(ValueError, match="gamma of parameter group 0 is -1.0"):
        optimizer.step()
    assert parameter.item() == 1


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_bad_gradient_is_an_error_that_changes_nothing(bad):
    first, second = (torch.ones(2, requires_grad=True) for _ in range(2))
    optimizer = ProximalSGD([{"params": [("first", first)]}, {"params": [("second", second)]}], lr=0.1, gamma=1.0)
    first.grad, second.grad = torch.ones(2), torch.tensor([0.0, bad])
    with pytest.raises(ValueError, match="gradient of parameter second in group 1 contains"):
        optimizer.step()
    assert first.eq(1).all() and second.eq(1).all() and not optimizer.state


def test_closure_is_called_and_its_loss_checked():
    parameter = torch.ones(1, requires_grad=True)
    optimizer = ProximalSGD([parameter], lr=0.1, momentum=0.0)

    def closure(scale):
        optimizer.zero_grad()
        loss = scale * parameter.sum()
        loss.backward()
        return loss

    assert optimizer.step(lambda: closure(2.0)).item() == 2.0
    assert parameter.item() == pytest.approx(0.8)
    with pytest.raises(ValueError, match="loss is inf"):
        optimizer.step(lambda: closure(math.inf))
    assert parameter.item() == pytest.approx(0.8)
