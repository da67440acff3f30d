"""The recursion against inversion, surgery against a constrained solver, deletion against the definitions."""

import copy
import itertools
import math
import warnings

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from pruning_lib.after_training import obs
from pruning_lib.structure import Masks, prunable
from pruning_lib.workbench import models, monks

DECAY = 1e-2


def rows_and_weights(rows=90, n=40, seed=0):
    generator = torch.Generator().manual_seed(seed)
    X = torch.randn(rows, n, generator=generator, dtype=torch.float64)
    return X, torch.randn(n, generator=generator, dtype=torch.float64)


def definite(n=12, seed=0):
    """A positive definite H, its inverse, and w."""
    X, w = rows_and_weights(3 * n, n, seed)
    H = X.T @ X / len(X)
    return H, torch.linalg.inv(H), w


def tanh_net(seed=0, dtype=torch.float64):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3)).to(dtype)


def pair(size=20, seed=1, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(size, 5, generator=generator).to(dtype), torch.randn(size, 3, generator=generator).to(dtype)


def every_name(model):
    return [name for name, _ in model.named_parameters()]


@pytest.fixture(scope="module")
def trained():
    """A net at a minimum of E + α/2‖w‖² over its weights and biases, and its data."""
    model = tanh_net()
    monks.minimize(model, pair(), DECAY, steps=1000)
    return model, [pair()]


# ---- Jacobian and Hessian


def test_jacobian_rows_are_the_derivatives_of_each_output():
    """OBS-9: sample after sample, in each output after output."""
    model, (inputs, _) = tanh_net(), pair(7)
    names = every_name(model)
    J = torch.cat(list(obs.jacobian_rows(model, inputs, names)))
    assert J.shape == (7 * 3, 39)
    for row, (sample, output) in zip(J, itertools.product(range(7), range(3)), strict=True):
        gradients = torch.autograd.grad(model(inputs)[sample, output], list(model.parameters()))
        torch.testing.assert_close(row, torch.cat([g.flatten() for g in gradients]), rtol=0, atol=1e-14)
    for block in (1, 4, 6, 1000):
        parts = list(obs.jacobian_rows(model, inputs, names, block=block))
        assert max(map(len, parts)) <= max(block, 3)
        torch.testing.assert_close(torch.cat(parts), J, rtol=0, atol=1e-14)


def test_jacobian_rows_of_convolutions_default_to_the_prunable_weights():
    model = models.lenet5((1, 8, 8))
    inputs = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    before = copy.deepcopy(model.state_dict())
    J = torch.cat(list(obs.jacobian_rows(model, inputs)))
    assert J.shape == (20, sum(weight.numel() for weight in prunable(model).values()))
    gradients = torch.autograd.grad(model(inputs)[1, 4], list(prunable(model).values()))
    torch.testing.assert_close(J[14], torch.cat([g.flatten() for g in gradients]), rtol=1e-4, atol=1e-6)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_jacobian_rows_take_tuples_and_dicts():
    class Sum(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(5, 2).double()

        def forward(self, a, b):
            return self.layer(a) + b

    model, (a, _) = Sum(), pair(4)
    first, second = (
        torch.cat(list(obs.jacobian_rows(model, inputs)))
        for inputs in ((a, torch.ones(4, 2)), {"b": torch.ones(4, 2), "a": a})
    )
    assert torch.equal(first, second)
    torch.testing.assert_close(first[2:4], torch.block_diag(a[1:2], a[1:2]), rtol=0, atol=0)


@pytest.mark.parametrize(
    "call",
    [
        lambda model, batches: next(obs.jacobian_rows(model, batches[0][0])),
        obs.squared_error,
        obs.gradient,
        obs.exact_hessian,
        obs.steps,
        lambda model, batches: obs.prune(model, batches, count=3, method="magnitude"),
        lambda model, batches: obs.prune(model, batches, tolerance=9.0),
    ],
)
def test_training_mode_that_mixes_samples_is_an_error_and_the_model_is_as_before(call):
    model = nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4), nn.Linear(4, 3)).double()
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(ValueError, match=r"1 \(BatchNorm1d\) is in training mode: call model.eval\(\) first"):
        call(model, [pair()])
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert len(next(obs.jacobian_rows(model.eval(), pair()[0]))) == 60


def test_a_model_that_puts_out_no_tensor_is_said():
    class Pair(nn.Linear):
        def forward(self, x):
            return super().forward(x), x

    for call in (lambda model: next(obs.jacobian_rows(model, pair()[0])), lambda m: obs.squared_error(m, [pair()])):
        with pytest.raises(ValueError, match="the model puts out a tuple of 2, must be a tensor"):
            call(Pair(5, 3).double())


@pytest.mark.parametrize(("names", "match"), [(["nope"], "'nope', must be among 0.weight"), ([], "at least one")])
def test_bad_names_are_errors(names, match):
    with pytest.raises(ValueError, match=match):
        next(obs.jacobian_rows(tanh_net(), pair()[0], names))


def test_exact_hessian_is_the_outer_product_and_the_dropped_term():
    """OBS-7: H = 1/P Σ [X Xᵀ − ∂²F/∂w²·(t − o)]; at t = o the outer product is all (OBS-8)."""
    model, (inputs, targets) = tanh_net(), pair(6)
    names = every_name(model)
    outer = obs.hessian(torch.cat(list(obs.jacobian_rows(model, inputs, names))), samples=6)
    residual = (targets - model(inputs)).detach()

    def linear_in_outputs(*parameters):  # Σ_k F(w, in_k)ᵀ(t − o)_k with (t − o) held
        outputs = torch.func.functional_call(model, dict(zip(names, parameters, strict=True)), inputs)
        return (outputs * residual).sum()

    second = torch.autograd.functional.hessian(linear_in_outputs, tuple(p.detach() for p in model.parameters()))
    second = torch.cat(
        [
            torch.cat([part.reshape(p.numel(), -1) for part in row], 1)
            for p, row in zip(model.parameters(), second, strict=True)
        ]
    )
    exact = obs.exact_hessian(model, [(inputs[:4], targets[:4]), (inputs[4:], targets[4:])], names)
    torch.testing.assert_close(exact, outer - second / 6, rtol=0, atol=1e-12)
    assert (second / 6).norm() > 0.05 * outer.norm()
    fitted = obs.exact_hessian(model, [(inputs, model(inputs).detach())], names)
    torch.testing.assert_close(fitted, outer, rtol=0, atol=1e-12)


def test_gradient_and_error_are_those_of_obs_6():
    model, (inputs, targets) = tanh_net(), pair()
    error = (targets - model(inputs)).square().sum() / 40
    slopes = torch.autograd.grad(error, list(prunable(model).values()))
    batches = [(inputs[:7], targets[:7]), (inputs[7:], targets[7:])]
    torch.testing.assert_close(obs.squared_error(model, batches), error, rtol=1e-14, atol=0)
    expected = torch.cat([slope.flatten() for slope in slopes])
    torch.testing.assert_close(obs.gradient(model, batches), expected, rtol=0, atol=1e-14)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_the_error_is_summed_in_float64(dtype):
    """Squares of 300 are over the largest float16, and 8 bits cannot count 500 samples."""
    targets = torch.full((500, 3), 300.0, dtype=dtype)
    error = obs.squared_error(nn.Identity(), [(torch.zeros_like(targets), targets)] * 2)
    assert error.dtype == torch.float64 and error.item() == 3 * 300**2 / 2


# ---- The recursion


@pytest.mark.parametrize("rows", [25, 90])  # H of 40 weights: singular, regular
@pytest.mark.parametrize("alpha", [1e-6, 1e-4, 1e-2])
@pytest.mark.parametrize("block", [1, 7, 256])
def test_recursion_equals_inversion(rows, alpha, block):
    """OBS-12 against torch.linalg.inv(H + αI)."""
    X, _ = rows_and_weights(rows)
    for samples in (1, rows // 5, rows):
        inverse = torch.linalg.inv(X.T @ X / samples + alpha * torch.eye(40, dtype=torch.float64))
        found = obs.inverse_hessian(X, alpha, samples, block=block)
        # what is subtracted from α⁻¹I = 10⁶ leaves 10⁶ times the rounding of 1
        assert (found - inverse).abs().max() <= 1e-8 * max(1, inverse.abs().max())


@pytest.mark.parametrize("rows", [25, 90])
@pytest.mark.parametrize("block", [1, 7, 256])
def test_rounding_is_as_told_at_the_smallest_alpha_of_the_paper(rows, block):
    """Against VᵀΛV, since torch.linalg.inv(H + αI) is further off where H is singular."""
    alpha = 1e-8
    for seed, scale in ((0, 1), (1, 10)):
        X = scale * rows_and_weights(rows, seed=seed)[0]
        _, sizes, V = torch.linalg.svd(X)
        eigenvalues = F.pad(sizes, (0, 40 - len(sizes))).square() / rows + alpha
        off = (obs.inverse_hessian(X, alpha, block=block) - (V.T / eigenvalues) @ V).abs().max()
        assert off < 2e-15 / alpha


def test_one_row_at_a_time_is_the_printed_recursion():
    X, _ = rows_and_weights(30, 8)
    H_inv = torch.eye(8, dtype=torch.float64) / 1e-4
    for x in X:
        H_inv = H_inv - torch.outer(H_inv @ x, x @ H_inv) / (30 + x @ H_inv @ x)
    torch.testing.assert_close(obs.inverse_hessian(X, 1e-4, block=1), H_inv, rtol=1e-9, atol=0)


def test_how_the_rows_come_does_not_matter():
    X, _ = rows_and_weights()
    whole, H = obs.inverse_hessian(X, 1e-3, block=16), X.T @ X / 30
    for sizes in ([90], [1] * 90, [50, 3, 37]):
        parts = iter(X.split(sizes))
        torch.testing.assert_close(obs.inverse_hessian(parts, 1e-3, 90, block=16), whole, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(obs.hessian(iter(X.split(sizes)), samples=30), H, rtol=0, atol=1e-14)
    assert obs.inverse_hessian(X.float(), 1e-3).dtype == torch.float64


@pytest.mark.parametrize("alpha", [0, -1e-6, math.nan, math.inf])
def test_bad_alpha_is_an_error(alpha):
    with pytest.raises(ValueError, match="alpha is"):
        obs.inverse_hessian(torch.ones(3, 2), alpha)
    with pytest.raises(ValueError, match="alpha is"):
        obs.steps(tanh_net(), [pair()], alpha=alpha)


def test_bad_rows_are_errors():
    X = torch.ones(20, 3)
    X[13, 1] = math.nan
    with pytest.raises(ValueError, match="row 13 of the Jacobian is not finite"):
        obs.inverse_hessian(iter(X.split(4)), 1e-3, samples=20)
    with pytest.raises(ValueError, match="samples is None"):
        obs.inverse_hessian(iter(X.split(4)), 1e-3)
    with pytest.raises(ValueError, match="samples is 0"):
        obs.hessian(X, samples=0)
    with pytest.raises(ValueError, match="rows is empty"):
        obs.inverse_hessian(torch.ones(0, 3), 1e-3)
    with pytest.raises(ValueError, match=r"rows have shape \(2, 4\)"):
        obs.hessian([torch.ones(2, 3), torch.ones(2, 4)], samples=4)
    with pytest.raises(ValueError, match="block is 0"):
        obs.inverse_hessian(torch.ones(2, 3), 1e-3, block=0)


# ---- One surgery


@pytest.mark.parametrize("q", [0, 5, 11])
def test_surgery_solves_the_constrained_problem(q):
    """OBS-3: min ½δwᵀHδw s.t. e_qᵀδw + w_q = 0, by its linear system of first-order conditions (OBS-4)."""
    H, H_inv, w = definite()
    system = torch.zeros(13, 13, dtype=torch.float64)
    system[:12, :12], system[12, q], system[q, 12] = H, 1, 1
    right = torch.zeros(13, dtype=torch.float64)
    right[12] = -w[q]
    change = torch.linalg.solve(system, right)[:12]
    new, _ = obs.surgery(w, H_inv, q)
    assert new[q] == 0
    torch.testing.assert_close(new - w, change, rtol=0, atol=1e-12)
    torch.testing.assert_close(obs.saliency(w, H_inv)[q], change @ H @ change / 2, rtol=1e-12, atol=0)


def test_surgery_downdates_to_the_inverse_of_the_smaller_matrix():
    H, H_inv, w = definite()
    kept, first = list(range(12)), (w, H_inv)
    for q in (3, 11, 0, 7):
        w, H_inv = obs.surgery(w, H_inv, q)
        kept.remove(q)
        smaller = torch.linalg.inv(H[kept][:, kept])
        torch.testing.assert_close(H_inv[kept][:, kept], smaller, rtol=0, atol=1e-11)
    gone = [0, 3, 7, 11]
    assert not w[gone].any() and not H_inv[gone].any() and not H_inv[:, gone].any()
    assert obs.saliency(w, H_inv)[gone].isinf().all() and obs.saliency(w, H_inv)[kept].isfinite().all()
    assert torch.equal(first[0], definite()[2]) and torch.equal(first[1], definite()[1]), "arguments are unchanged"


def test_surgery_one_by_one_ends_at_the_joint_optimum():
    """On a quadratic error, deleting several weights in turn gives the optimum under all the constraints."""
    H, H_inv, start = definite()
    w, gone, kept = start, [2, 9, 4], [i for i in range(12) if i not in (2, 9, 4)]
    for q in gone:
        w, H_inv = obs.surgery(w, H_inv, q)
    # min over δ_kept with δ_gone = −w_gone: H_kk δ_k = H_kg w_g
    change = torch.linalg.solve(H[kept][:, kept], H[kept][:, gone] @ start[gone])
    torch.testing.assert_close(w[kept], start[kept] + change, rtol=0, atol=1e-11)


def test_saliency_is_what_the_error_of_a_linear_net_rises_by():
    """For outputs linear in w the Taylor series ends at its second term: the prediction is exact."""
    inputs, _ = pair(40)
    targets = inputs @ torch.randn(5, 1, generator=torch.Generator().manual_seed(3), dtype=torch.float64) + 0.1
    model = nn.Sequential(nn.Linear(5, 1, bias=False)).double()
    alpha = 1e-3
    H = inputs.T @ inputs / 40
    with torch.no_grad():
        model[0].weight.copy_(torch.linalg.solve(H + alpha * torch.eye(5), inputs.T @ targets / 40).T)
    history = [deletion for deletion, _ in obs.steps(model, [(inputs, targets)], alpha=alpha, recompute=None)]
    assert [deletion.left for deletion in history] == [4, 3, 2, 1, 0]
    for deletion in history:
        assert deletion.change == pytest.approx(deletion.saliency, rel=1e-9)
    assert history[-1].error == pytest.approx(targets.square().sum().item() / 80, rel=1e-12)


def test_bad_surgery_is_an_error():
    _, H_inv, w = definite()
    for q in (-1, 12):
        with pytest.raises(ValueError, match=f"q is {q}, must be an index of w: 0 to 11"):
            obs.surgery(w, H_inv, q)
    with pytest.raises(ValueError, match="q is 3, where H_inv has 0.0"):
        obs.surgery(*obs.surgery(w, H_inv, 3), 3)
    with pytest.raises(ValueError, match="w and H_inv have shapes"):
        obs.surgery(w, H_inv[:5], 3)
    with pytest.raises(ValueError, match="not finite or negative"):
        obs.saliency(w, -H_inv)


# ---- The loop


def brute_force(model, batch, method, alpha):
    """Index, score and new weights of one deletion, by the formulas, from the explicit Jacobian."""
    J = torch.cat(list(obs.jacobian_rows(model, batch[0], every_name(model))))
    w = torch.cat([p.detach().flatten() for p in model.parameters()])
    H = J.T @ J / len(batch[1]) + alpha * torch.eye(len(w))
    H_inv = torch.linalg.inv(H)
    scores = {
        "obs": w**2 / (2 * H_inv.diagonal()),
        "obd": H.diagonal() * w**2 / 2,
        "magnitude": w.abs(),
    }[method]
    q = int(scores.argmin())
    if method == "obs":
        w = w - w[q] / H_inv[q, q] * H_inv[:, q]
    w[q] = 0
    return q, scores[q].item(), w


@pytest.mark.parametrize("method", obs.METHODS)
def test_first_deletion_is_that_of_the_formula(trained, method):
    model, batches = trained
    q, score, w = brute_force(model, batches[0], method, DECAY)
    deletion, pruned = next(obs.steps(model, batches, method=method, alpha=DECAY, names=every_name(model)))
    found = torch.cat([p.flatten() for p in pruned.parameters()])
    torch.testing.assert_close(found, w, rtol=0, atol=1e-10)
    assert dict(pruned.named_parameters())[deletion.name][deletion.index] == 0
    assert int((found == 0).nonzero()) == q
    assert deletion.saliency == pytest.approx(score, rel=1e-8)

    def penalized(net):
        w = torch.cat([p.detach().flatten() for p in net.parameters()])
        return obs.squared_error(net, batches).item() + DECAY / 2 * w.square().sum().item()

    assert deletion.change == pytest.approx(penalized(pruned) - penalized(model), rel=1e-9)


@pytest.mark.parametrize("recompute", [1, 4, None])
@pytest.mark.parametrize("method", obs.METHODS)
def test_deleted_weights_stay_exactly_zero(trained, method, recompute):
    model, batches = trained
    before = copy.deepcopy(model)
    places = set()
    for deletion, pruned in obs.steps(model, batches, method=method, alpha=DECAY, recompute=recompute):
        places.add((deletion.name, deletion.index))
        weights = prunable(pruned)
        assert len(places) == 32 - deletion.left
        assert all(weights[name][index] == 0 for name, index in places)
        assert deletion.error == pytest.approx(obs.squared_error(pruned, batches).item(), rel=1e-12)
    assert deletion.left == 0
    assert all(torch.equal(p, q) for p, q in zip(model.parameters(), before.parameters(), strict=True))


def test_prune_writes_the_weights_and_returns_masks(trained):
    model, batches = copy.deepcopy(trained[0]), trained[1]
    masks, history = obs.prune(model, batches, count=10, alpha=DECAY, progress=False)
    assert masks.kept == 22 and len(history) == 10 and history[-1].left == 22
    for name, mask in masks.items():
        assert torch.equal(prunable(model)[name] != 0, mask)
    assert obs.squared_error(model, batches).item() == pytest.approx(history[-1].error, rel=1e-12)
    assert torch.equal(model[0].bias, trained[0][0].bias), "biases were not named"


def test_sparsity_counts_what_was_gone_before(trained):
    model, batches = copy.deepcopy(trained[0]), trained[1]
    first, _ = obs.prune(model, batches, count=5, alpha=DECAY, progress=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # only the weights are readjusted, and the start is off the minimum by now
        masks, history = obs.prune(model, batches, sparsity=0.5, masks=first, alpha=DECAY, progress=False)
    assert masks.sparsity == 0.5 and len(history) == 11
    assert all(not (mask & ~first[name]).any() for name, mask in masks.items())
    assert all(torch.equal(prunable(model)[name] != 0, mask) for name, mask in masks.items())
    with pytest.raises(ValueError, match="sparsity is 0.1, must be at least 0.5"):
        obs.prune(model, batches, sparsity=0.1, masks=masks)
    with pytest.raises(ValueError, match="names and masks are both given"):
        obs.prune(model, batches, sparsity=0.6, masks=masks, names=["0.weight"])


def test_tolerance_is_kept_and_used_up(trained):
    model, batches = copy.deepcopy(trained[0]), trained[1]
    errors = [deletion.error for deletion, _ in obs.steps(model, batches, alpha=DECAY)]
    tolerance = errors[6]
    first_above = next(i for i, error in enumerate(errors) if error > tolerance)
    masks, history = obs.prune(model, batches, tolerance=tolerance, alpha=DECAY, progress=False)
    assert [deletion.error for deletion in history] == errors[:first_above]
    assert masks.kept == 32 - first_above
    assert obs.squared_error(model, batches).item() == pytest.approx(errors[first_above - 1], rel=1e-12)
    with pytest.raises(ValueError, match="must be at least the error before pruning"):
        obs.prune(model, batches, tolerance=1e-9, alpha=DECAY)


def test_float32_networks_are_pruned_too(trained):
    single = copy.deepcopy(trained[0]).float()
    batches = [tuple(tensor.float() for tensor in trained[1][0])]
    masks, _ = obs.prune(single, batches, count=12, alpha=DECAY, progress=False)
    double = copy.deepcopy(trained[0])
    assert masks == obs.prune(double, trained[1], count=12, alpha=DECAY, progress=False)[0]
    assert single[0].weight.dtype == torch.float32
    torch.testing.assert_close(single[0].weight.double(), double[0].weight, rtol=0, atol=1e-4)


def test_a_net_that_is_not_at_a_minimum_warns_with_the_gradient_norm(trained):
    model, batches = trained
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        next(obs.steps(model, batches, alpha=DECAY, names=every_name(model)))
        next(obs.steps(tanh_net(), batches, method="magnitude"))
    for method in ("obs", "obd"):
        moved = tanh_net()
        norm = (
            obs.gradient(moved, batches) + DECAY * torch.cat([w.flatten() for w in prunable(moved).values()])
        ).norm()
        with pytest.warns(UserWarning, match=f"not at a minimum.*gradient's norm is {norm.item():.3g}"):
            next(obs.steps(moved, batches, method=method, alpha=DECAY))


@pytest.mark.parametrize("method", ["obs", "obd"])
def test_one_large_weight_at_its_minimum_does_not_hide_that_the_small_ones_are_not(method):
    """Outputs linear in w, H = I: ½w² is 125,000 times as much for the large weight as for those that go first."""
    inputs = math.sqrt(5) * torch.eye(5, dtype=torch.float64)
    best, w = (torch.tensor([[1000.0, *[small] * 4]], dtype=torch.float64) for small in (0.1, 0.5))
    model = nn.Sequential(nn.Linear(5, 1, bias=False)).double()
    with torch.no_grad():
        model[0].weight.copy_(w)
    with pytest.warns(UserWarning, match=r"first-order terms that .* are 1\.6 of the second-order"):
        next(obs.steps(model, [(inputs, inputs @ w.T - 0.4 * inputs[:, 1:].sum(1, keepdim=True))], method=method))
    with torch.no_grad():
        model[0].weight.copy_(best)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        next(obs.steps(model, [(inputs, inputs @ best.T)], method=method))


def test_weights_that_are_zero_already_do_not_hide_it_either(trained):
    model = tanh_net()
    with torch.no_grad():
        model[0].weight[0] = 0  # 5 of 32, more than go first
    with pytest.warns(UserWarning, match="not at a minimum"):
        next(obs.steps(model, trained[1], method="obd", alpha=DECAY))


def test_the_warning_points_to_who_called():
    with pytest.warns(UserWarning, match="not at a minimum") as caught:
        next(obs.steps(tanh_net(), [pair()]))
        obs.prune(tanh_net(), [pair()], count=1, progress=False)
    assert [warning.filename for warning in caught] == [__file__] * 2


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
def test_masks_of_a_cpu_serve_a_model_on_a_gpu(trained):
    model, batches = copy.deepcopy(trained[0]).cuda(), [tuple(tensor.cuda() for tensor in trained[1][0])]
    masks = Masks({name: torch.ones(w.shape, dtype=torch.bool) for name, w in prunable(model).items()})
    found, _ = obs.prune(model, batches, count=4, masks=masks, alpha=DECAY, progress=False)
    assert found.kept == 28 and masks.kept == 32
    assert all(torch.equal(weight != 0, found[name]) for name, weight in prunable(model).items())


def test_a_layer_that_loses_all_weights_is_told(trained):
    model, batches = copy.deepcopy(trained[0]), trained[1]
    with pytest.warns(UserWarning, match="all weights of 2.weight are gone"):
        obs.prune(model, batches, count=12, alpha=DECAY, names=["2.weight"], progress=False)
    assert not model[2].weight.any()


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({}, "exactly one"),
        ({"count": 3, "sparsity": 0.5}, "exactly one"),
        ({"count": 33}, "count is 33, must be an integer from 0 to 32"),
        ({"count": -1}, "count is -1"),
        ({"count": 2.5}, "count is 2.5, must be an integer from 0 to 32"),
        ({"sparsity": 1.5}, "sparsity is 1.5"),
        ({"tolerance": math.nan}, "tolerance is nan"),
        ({"count": 3, "method": "sgd"}, "method is 'sgd'"),
        ({"count": 3, "alpha": 0.0}, "alpha is 0.0"),
        ({"count": 3, "recompute": 0}, "recompute is 0"),
        ({"count": 3, "recompute": 1.5}, "recompute is 1.5, must be an integer of at least 1, or None"),
        ({"count": 3, "masks": Masks({"0.weight": torch.ones(2, 2, dtype=torch.bool)})}, r"has shape \(2, 2\)"),
    ],
)
def test_bad_options_are_errors(trained, options, match):
    with pytest.raises(ValueError, match=match):
        obs.prune(trained[0], trained[1], **options, progress=False)


def test_bad_data_is_an_error_and_the_model_is_as_before():
    model, (inputs, targets) = tanh_net(), pair()
    before = copy.deepcopy(model.state_dict())
    bad = inputs.clone()
    bad[3, 2] = math.inf
    for batches, match in [
        ([(inputs, torch.zeros(20, dtype=torch.long))], "labels are given one-hot"),
        ([(bad, targets * math.nan)], "error is nan"),
        ([], "batches is empty"),
    ]:
        with pytest.raises(ValueError, match=match):
            obs.prune(model, batches, count=3, progress=False)
    with pytest.raises(ValueError, match="batches is empty"):
        obs.prune(model, [], count=0)
    with pytest.raises(ValueError, match=r"error is nan.*inputs and targets\?$"):
        obs.prune(model, [(bad, targets * math.nan)], count=3, method="magnitude", progress=False)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_a_jacobian_that_is_not_finite_is_an_error_and_the_model_is_as_before():
    class Root(nn.Module):
        def forward(self, x):
            return x.abs().sqrt()  # no slope at 0

    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 4), Root(), nn.Linear(4, 3)).double()
    batches = [(pair()[0] * (torch.arange(20) != 6).unsqueeze(1), pair()[1])]  # the biases are zero, so is sample 6
    nn.init.zeros_(model[0].bias)
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(ValueError, match="row 18 of the Jacobian is not finite"):
        obs.prune(model, batches, count=3, names=every_name(model), progress=False)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_an_interrupt_leaves_the_model_as_it_was(trained, monkeypatch):
    model, batches = copy.deepcopy(trained[0]), trained[1]
    before, calls, recursion = copy.deepcopy(model.state_dict()), [], obs.inverse_hessian

    def interrupted(*args):
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return recursion(*args)

    monkeypatch.setattr(obs, "inverse_hessian", interrupted)
    with pytest.raises(KeyboardInterrupt):
        obs.prune(model, batches, count=10, alpha=DECAY, progress=False)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


# ---- What it is for


@pytest.mark.parametrize(("problem", "left"), [(1, 18), (2, 19)])
def test_monks_problems_survive_obs_and_not_magnitude(problem, left):
    task = monks.load(problem, seed=1)
    model = monks.network(task, seed=1)
    monks.minimize(model, task.train, DECAY)
    names = every_name(model)
    total = sum(parameter.numel() for parameter in model.parameters())
    accuracies = {}
    for method in ("obs", "magnitude"):
        pruned = copy.deepcopy(model)
        options = {"method": method, "alpha": DECAY, "names": names, "progress": False}
        masks, _ = obs.prune(pruned, [task.train], count=total - left, **options)
        assert masks.kept == left
        accuracies[method] = monks.accuracy(pruned, task.test)
    assert accuracies["obs"] == 1 and accuracies["magnitude"] < 0.9


def test_monks_problem_3_needs_eight_weights():
    task = monks.load(3)
    model = monks.network(task)
    monks.minimize(model, task.train, DECAY)
    masks, _ = obs.prune(model, [task.train], count=31, alpha=DECAY, names=every_name(model), progress=False)
    assert masks.kept == 8 and sum(int(parameter.count_nonzero()) for parameter in model.parameters()) == 8
    assert monks.accuracy(model, task.test) >= 0.96


def test_a_classifier_on_one_hot_targets_is_pruned():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 6), nn.ReLU(), nn.Linear(6, 3))
    inputs = torch.randn(30, 1, 4, 4)
    targets = F.one_hot(torch.arange(30) % 3, 3).float()
    with pytest.warns(UserWarning, match="not at a minimum"):
        masks, _ = obs.prune(model, [(inputs, targets)], sparsity=0.5, recompute=20, alpha=1e-4, progress=False)
    assert masks.sparsity == 0.5


# ---- what is handed over


def test_pairs_and_dicts_with_labels_are_batches():
    model, (inputs, targets) = tanh_net(), pair()
    expected = obs.gradient(model, [(inputs, targets)])
    for given in ([inputs, targets], {"input": inputs, "labels": targets}, ({"input": inputs}, targets)):
        assert torch.equal(obs.gradient(model, [given]), expected)
        assert torch.equal(obs.squared_error(model, [given]), obs.squared_error(model, [(inputs, targets)]))
        clone, other = copy.deepcopy(model), copy.deepcopy(model)
        options = {"count": 4, "method": "magnitude", "progress": False}
        assert obs.prune(clone, [given], **options)[1] == obs.prune(other, [(inputs, targets)], **options)[1]
    rows = torch.cat(list(obs.jacobian_rows(model, inputs)))
    for given in ([inputs, targets], {"input": inputs, "labels": targets}):
        assert torch.equal(torch.cat(list(obs.jacobian_rows(model, given))), rows)


@pytest.mark.parametrize(
    ("given", "match"),
    [
        (lambda x, t: x, r"batches is a tensor of shape \(20, 5\), must be an iterable of batches"),
        (lambda x, t: [x], r"batch is a tensor of shape \(20, 5\), must be a pair \(inputs, targets\)"),
        (lambda x, t: [(x, None)], "targets is None"),
        (lambda x, t: [(x, t[0, 0])], r"targets is a tensor of shape \(\)"),
        (lambda x, t: [(x, t.numpy())], "targets is a NumPy array"),
        (lambda x, t: [(x, [t, t])], "targets are a list of 2, must be a tensor of shape .* one-hot"),
        (lambda x, t: [("text", t)], "batch is 'text', must be a tensor"),
        (lambda x, t: [(x, t[:, :2])], r"targets are a tensor of shape \(20, 2\), must be a tensor of shape \(20, 3\)"),
    ],
)
def test_what_is_no_batch_with_targets_is_an_error(given, match):
    model = tanh_net()
    for call in (obs.squared_error, obs.gradient, lambda *both: next(obs.steps(*both, method="magnitude"))):
        with pytest.raises(ValueError, match=match):
            call(model, given(*pair()))


@pytest.mark.parametrize(
    ("inputs", "match"),
    [
        ("text", "batch is 'text'"),
        (pair()[0].numpy(), "batch is a NumPy array"),
        (torch.tensor(1.0), r"shape \(\), must"),
    ],
)
def test_inputs_without_samples_are_an_error(inputs, match):
    with pytest.raises(ValueError, match=match):
        list(obs.jacobian_rows(tanh_net(), inputs))
