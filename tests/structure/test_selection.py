"""One rule of choosing, in every method: how many stay, and which of equal scores."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from pruning_lib.after_training import exact, magnitude, obs, sparsegpt, swaps, wanda
from pruning_lib.after_training.reconstruction import Hessian
from pruning_lib.before_training import snip, synflow
from pruning_lib.structure import choose_units, keep_largest, keep_stripes
from pruning_lib.structure.selection import count_kept, first_to_go, largest
from pruning_lib.teaching.exercises.sparsegpt import choose as choose_in_exercise

F64 = torch.float64
HALVES = [(5, 0.5), (7, 0.5), (10, 0.25), (10, 0.75), (6, 0.25), (6, 0.75), (20, 0.125), (3, 0.5)]
CASES = [*HALVES, (10, 0.9), (10, 0.95), (15, 0.9), (25, 0.98), (25, 0.5), (30, 0.95), (9, 0.0), (9, 1.0), (8, 1 / 3)]


@pytest.mark.parametrize(
    ("total", "sparsity", "kept"),
    [(5, 0.5, 2), (7, 0.5, 4), (10, 0.25, 8), (10, 0.75, 2), (3, 0.5, 2), (1, 0.5, 0), (10, 0.9, 1), (30, 0.9, 3)],
)
def test_a_half_goes_to_the_even_number(total, sparsity, kept):
    assert count_kept(total, sparsity) == kept


def test_the_count_is_that_of_doubles_whatever_type_the_sparsity_has():
    for total in (1, 2, 10, 25, 1000, 10**9 + 7):
        for thousandths in range(1001):
            assert count_kept(total, thousandths / 1000) == round(total * (1 - thousandths / 1000))
    assert count_kept(10**9, np.float32(0.75)) == 250_000_000
    assert count_kept(10**9, np.float32(0.9)) == round(10**9 * (1 - float(np.float32(0.9))))


def ones(total):
    return torch.ones(1, total, dtype=F64)


def layer(total):
    """A model of one layer with `total` weights of one input each, so that each weight is one of a column's rows."""
    model = nn.Linear(total, 1, bias=False).double()
    with torch.no_grad():
        model.weight.copy_(torch.arange(1.0, total + 1))
    return model


def by_obs(method, total, sparsity):
    batches = [(torch.eye(total, dtype=F64), layer(total)(torch.eye(total, dtype=F64)).detach())]
    return obs.prune(layer(total), batches, sparsity=sparsity, method=method, recompute=None, progress=False)[0].kept


def by_exact_steps(total, sparsity):
    states = list(sparsegpt.steps(ones(total), torch.eye(total, dtype=F64), sparsity, form="exact"))
    return int(states[-1].keep.sum()) if states else total


def by_units(scope):
    def kept(total, sparsity):
        scores = torch.arange(total).double()
        dropped = choose_units({"a": scores}, sparsity, scope)
        return total - len(dropped.get("a", [])) - (count_kept(total, sparsity) == 0)  # of a layer one unit stays

    return kept


METHODS = {
    "global": lambda total, s: keep_largest({"a": ones(total)}, s).kept,
    "global, two layers": lambda total, s: keep_largest({"a": ones(total - 1), "b": ones(1)}, s).kept,
    "layer": lambda total, s: keep_largest({"a": ones(total), "b": ones(total)}, s, "layer").kept / 2,
    "stripes": lambda total, s: keep_stripes({"a": torch.ones(total, 2, 1, 1)}, s).kept / 2,
    "magnitude": lambda total, s: magnitude.prune(layer(total), s).kept,
    "snip": lambda total, s: snip.prune(layer(total), [(ones(total), torch.ones(1, 1).double())], s, F.mse_loss).kept,
    "synflow": lambda total, s: synflow.prune(layer(total), ones(total), s, 3, progress=False).kept,
    "wanda": lambda total, s: int(wanda.prune_weight(ones(total), ones(total)[0], s)[1].sum()),
    "sparsegpt": lambda total, s: int(sparsegpt.prune_weight(ones(total), torch.eye(total).double(), s)[1].sum()),
    "swaps": lambda total, s: int(swaps.prune_weight(ones(total), torch.eye(total).double(), s)[1].sum()),
    "sparsegpt, a narrow last block": lambda total, s: (
        int(sparsegpt.prune_weight(ones(2 * total), torch.eye(2 * total).double(), s, block=total)[1].sum()) / 2
    ),
    "exact": lambda total, s: int(exact.prune_weight(ones(total), torch.eye(total).double(), s)[1].sum()),
    "exact, step by step": by_exact_steps,
    "obs": lambda total, s: by_obs("obs", total, s),
    "obd": lambda total, s: by_obs("obd", total, s),
    "obs.prune by magnitude": lambda total, s: by_obs("magnitude", total, s),
    "units per layer": by_units("layer"),
    "units, global": by_units("global"),
    "exercise": lambda total, s: int(choose_in_exercise(ones(total), s).sum()),
}


@pytest.mark.filterwarnings("ignore:all weights of")
@pytest.mark.parametrize("method", METHODS)
def test_every_method_keeps_the_same_number(method):
    for total, sparsity in CASES[:3] if method == "obs" else CASES:  # obs and obd differ in the score alone
        assert METHODS[method](total, sparsity) == round(total * (1 - sparsity)), (total, sparsity)


def by_hand(row, k):
    order = sorted(range(len(row)), key=lambda i: (-row[i], i))
    return [i in order[:k] for i in range(len(row))]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, F64, torch.int64])
@pytest.mark.parametrize("n", [1, 2, 5, 16, 17, 40])
def test_largest_is_the_sorted_choice_with_and_without_ties(n, dtype):
    generator = torch.Generator().manual_seed(n)
    for high in (3, 99):
        scores = torch.randint(-2, high, (3, 4, n), generator=generator)
        for k in {0, 1, n // 3, n // 2, n - 1, n}:
            expected = [[by_hand(row, k) for row in rows] for rows in scores.tolist()]
            assert largest(scores.to(dtype), k).tolist() == expected
            turned = scores.to(dtype).transpose(1, 2).contiguous().transpose(1, 2)  # other strides
            assert largest(turned, k).tolist() == expected


def test_first_to_go_is_what_the_largest_leave_out_first():
    scores = torch.randint(0, 3, (50, 7), generator=torch.Generator().manual_seed(0)).double()
    left = (~largest(scores, 6)).int().argmax(dim=-1)
    assert torch.equal(first_to_go(scores), left)
    assert int(first_to_go(torch.tensor([2.0, 1.0, torch.inf, 1.0]))) == 3


def test_of_equal_scores_the_first_stay_in_every_method():
    W, H = torch.ones(2, 6, dtype=F64), torch.eye(6, dtype=F64)
    first_columns = torch.tensor([[True] * 3 + [False] * 3] * 2)
    assert torch.equal(wanda.prune_weight(W, H, 0.5)[1], first_columns)
    assert torch.equal(sparsegpt.prune_weight(W, H, 0.5, damping=0.0)[1], first_columns)
    assert torch.equal(exact.prune_weight(W[:1], H, 0.5, damping=0.0)[1], first_columns[:1])
    assert torch.equal(exact.prune_weight(W, H, 0.5, damping=0.0)[1], torch.tensor([[True] * 6, [False] * 6]))
    *_, last = sparsegpt.steps(W, H, 0.5, damping=0.0, form="exact")
    assert torch.equal(last.keep, first_columns)
    assert choose_units({"a": torch.ones(6)}, 0.5)["a"].tolist() == [3, 4, 5]
    model = nn.Linear(6, 1, bias=False).double()
    nn.init.ones_(model.weight)
    for method in obs.METHODS:
        masks, _ = obs.prune(model, [(H, W[:1].T)], sparsity=0.5, method=method, masks=None, progress=False)
        assert masks["weight"].tolist() == [[True] * 3 + [False] * 3], method
        nn.init.ones_(model.weight)


def test_exact_takes_the_steps_of_a_row_in_their_order_though_they_cost_the_same():
    """Steps after a dear one cost as much as it; those of them that are taken have to be the earlier ones."""
    generator = torch.Generator().manual_seed(0)
    for trial in range(10):
        X = torch.randn(40, 6, generator=generator, dtype=F64) @ torch.randn(6, 6, generator=generator, dtype=F64)
        W, H = torch.randn(3, 6, generator=generator, dtype=F64), Hessian(6, F64).add(X).matrix
        order, _ = exact.sequence(W, exact.inverse(H, 0.01)[0], None)
        _, keep = exact.prune_weight(W, H, trial / 10)
        for row, places in zip(keep, order, strict=True):
            gone = int((~row).sum())
            assert not row[places[:gone]].any() and row[places[gone:]].all()
