"""Under autocast, numerics give what they give without it."""

import copy

import pytest
import torch
from torch import nn

from pruning_lib.acceleration import cost, two_four
from pruning_lib.after_training import exact, obs, reconstruction, sparsegpt, swaps, wanda
from pruning_lib.before_training import iterative_snip, snip, synflow
from pruning_lib.during_training import proximal
from pruning_lib.precision import autocast_off, without_autocast
from pruning_lib.structure import keep_patterns


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 12), nn.Tanh(), nn.Linear(12, 4))


X, T, Y = drawn(40, 8), drawn(40, 4, seed=1), torch.arange(40) % 4
WEIGHT, HESSIAN = drawn(6, 8, seed=2), X.T @ X / 20
KEEP = WEIGHT.abs() > 0.5
PRUNED = WEIGHT * KEEP
SMALL = network()


def pruned_model(prune, *args, **options):
    model = network()
    found = prune(model, *args, progress=False, **options)
    return [model.state_dict(), found]


CASES = {
    "Hessian": lambda: reconstruction.Hessian(8).add(X).matrix,
    "error": lambda: reconstruction.error(WEIGHT, PRUNED, HESSIAN),
    "refit": lambda: reconstruction.refit(WEIGHT, HESSIAN, KEEP),
    "exact": lambda: exact.prune_weight(WEIGHT, HESSIAN, 0.5),
    "sparsegpt": lambda: sparsegpt.prune_weight(WEIGHT, HESSIAN, 0.5, refit=True),
    "sparsegpt steps": lambda: [vars(s) for s in sparsegpt.steps(WEIGHT, HESSIAN, 0.5)],
    "exact steps": lambda: [vars(s) for s in sparsegpt.steps(WEIGHT, HESSIAN, 0.5, form="exact")],
    "sparsegpt model": lambda: pruned_model(sparsegpt.prune_model, [X], 0.5),
    "wanda model": lambda: pruned_model(wanda.prune_model, [X], 0.5),
    "swaps": lambda: swaps.prune_weight(WEIGHT, HESSIAN, n_m=(2, 4)),
    "wanda": lambda: wanda.prune_weight(WEIGHT, HESSIAN, n_m=(2, 4)),
    "jacobian": lambda: list(obs.jacobian_rows(SMALL, X, block=8)),
    "inverse": lambda: obs.inverse_hessian(obs.jacobian_rows(SMALL, X), 1e-3, 40),
    "hessian": lambda: obs.hessian(obs.jacobian_rows(SMALL, X), 40),
    "saliency": lambda: obs.saliency(WEIGHT[0], torch.linalg.inv(HESSIAN)),
    "surgery": lambda: obs.surgery(WEIGHT[0], torch.linalg.inv(HESSIAN), 3),
    "squared error": lambda: obs.squared_error(SMALL, [(X, T)]),
    "gradient": lambda: obs.gradient(SMALL, [(X, T)]),
    "exact hessian": lambda: obs.exact_hessian(SMALL, [(X, T)], ["2.bias"]),
    "obs": lambda: pruned_model(obs.prune, [(X, T)], count=3),
    "obd": lambda: pruned_model(obs.prune, [(X, T)], count=3, method="obd", tolerance=None),
    "obs steps": lambda: next(obs.steps(SMALL, [(X, T)]))[0],
    "snip": lambda: snip.sensitivity(SMALL, [(X, Y)]),
    "snip effect": lambda: snip.exact_effect(SMALL, (X, Y), "0.weight", 5),
    "iterative snip": lambda: iterative_snip.prune(SMALL, [(X, Y)], 0.7, rounds=5, progress=False),
    "synflow": lambda: synflow.scores(SMALL, X),
    "ista": lambda: list(proximal.ista(lambda x: (WEIGHT @ x).square().sum(), WEIGHT[0], 1e-2, 0.1, 5)),
    "apg": lambda: list(proximal.apg(lambda x: (WEIGHT @ x).square().sum(), WEIGHT[0], 1e-2, 0.1, 5)),
    "csr": lambda: cost.as_csr(SMALL[0])(X),
    "csr, one row": lambda: cost.as_csr(SMALL[0])(X[0]),
    "two_four": lambda: two_four.matmul(*two_four.pack(two_four.best_mask(WEIGHT) * WEIGHT), X.T),
    "patterns": lambda: keep_patterns({"w": drawn(40, 30, 3, 3).abs()}),
    "permutation": lambda: two_four.find_permutation(WEIGHT),
}


def same(found, expected):
    """Bit for bit, in nested containers."""
    if isinstance(expected, torch.Tensor):
        return found.dtype == expected.dtype and torch.equal(found, expected)
    if isinstance(expected, dict):
        return found.keys() == expected.keys() and all(same(found[key], expected[key]) for key in expected)
    if isinstance(expected, tuple | list):
        return len(found) == len(expected) and all(map(same, found, expected))
    return found == expected


@pytest.mark.filterwarnings("ignore:the model is not at a minimum")
@pytest.mark.parametrize("case", CASES)
def test_the_result_is_that_without_autocast(case):
    expected = CASES[case]()
    with torch.autocast("cpu", torch.bfloat16):
        found = CASES[case]()
        assert (X @ X.T).dtype == torch.bfloat16  # it is on again
    assert same(found, expected)


def test_csr_takes_what_half_types_another_layer_puts_out():
    model = network()
    expected = copy.deepcopy(model)
    expected[2].forward = lambda x, layer=expected[2]: x.float() @ layer.weight.float().T + layer.bias
    mixed = nn.Sequential(*model[:2], cost.as_csr(model[2]))
    with torch.autocast("cpu", torch.bfloat16):
        out, half = mixed(X), model[:2](X)
    assert half.dtype == torch.bfloat16 and out.dtype == torch.float32
    torch.testing.assert_close(out, model[2](half.float()), rtol=1e-6, atol=1e-6)


def test_each_step_of_a_generator_runs_without_and_what_is_between_with():
    @without_autocast
    def products(count):
        """Products."""
        for _ in range(count):
            yield (X @ X.T).dtype

    seen = []
    with torch.autocast("cpu", torch.bfloat16):
        for inside in products(2):
            seen += [inside, (X @ X.T).dtype]
        with autocast_off():
            seen.append((X @ X.T).dtype)
    assert seen == [torch.float32, torch.bfloat16] * 2 + [torch.float32]
    assert products.__name__ == "products" and products.__doc__ == "Products."
