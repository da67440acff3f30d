import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pruning_lib.structure import keep_largest

# Few distinct values, so that ties are the rule.
tied_scores = st.lists(st.lists(st.integers(0, 3).map(float), min_size=1, max_size=12), min_size=1, max_size=4)


def as_scores(lists):
    return {f"layer{i}": torch.tensor(values, dtype=torch.float64) for i, values in enumerate(lists)}


def brute_force(values, sparsity):
    """Indices of the k largest, the first of equals first, by sorting."""
    k = round(len(values) * (1 - sparsity))
    order = sorted(range(len(values)), key=lambda i: (-values[i], i))
    return set(order[:k])


@settings(max_examples=200, deadline=None)
@given(lists=tied_scores, sparsity=st.floats(0, 1))
def test_global_keeps_the_k_largest_ties_by_index(lists, sparsity):
    masks = keep_largest(as_scores(lists), sparsity)
    flat = torch.cat(list(masks.values()))
    expected = brute_force([value for values in lists for value in values], sparsity)
    assert set(flat.nonzero().flatten().tolist()) == expected
    assert masks.kept == round(masks.total * (1 - sparsity))


@settings(max_examples=100, deadline=None)
@given(lists=tied_scores, sparsity=st.floats(0, 1))
def test_layer_scope_prunes_each_layer_alone(lists, sparsity):
    masks = keep_largest(as_scores(lists), sparsity, scope="layer")
    for mask, values in zip(masks.values(), lists, strict=True):
        assert set(mask.nonzero().flatten().tolist()) == brute_force(values, sparsity)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.int64])
def test_any_dtype_and_shape(dtype):
    scores = {"a": torch.arange(24).view(2, 3, 4).to(dtype), "b": torch.arange(24, 30).to(dtype)}
    masks = keep_largest(scores, 0.8)
    assert masks["a"].shape == (2, 3, 4)
    assert masks["a"].sum() == 0
    assert masks["b"].all()


def test_all_equal_scores_keep_the_first():
    masks = keep_largest({"a": torch.zeros(5), "b": torch.zeros(5)}, 0.7)
    assert masks["a"].tolist() == [True, True, True, False, False]
    assert not masks["b"].any()


@pytest.mark.parametrize("sparsity", [-0.1, 1.5, math.nan, math.inf])
def test_sparsity_out_of_range(sparsity):
    with pytest.raises(ValueError, match=r"sparsity is .* \[0, 1\]"):
        keep_largest({"a": torch.ones(3)}, sparsity)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_scores_not_finite(value):
    with pytest.raises(ValueError, match=r"scores\['b'\] contains .*must be finite"):
        keep_largest({"a": torch.ones(3), "b": torch.tensor([1.0, value])}, 0.5)


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        (torch.ones(3), r"scores is a tensor of shape \(3,\), must be a dict"),
        ([torch.ones(3)], "scores is a list of 1, must be a dict"),
        ({"a": [1, 2, 3]}, r"scores\['a'\] is a list of 3, must be a tensor of real numbers"),
        ({"a": torch.ones(3, 3, dtype=torch.complex64)}, r"scores\['a'\] is torch.complex64, must be a tensor of real"),
    ],
)
def test_what_is_no_dict_of_real_tensors_is_said(scores, message):
    with pytest.raises(ValueError, match=message):
        keep_largest(scores, 0.5)


def test_no_scores_and_unknown_scope():
    with pytest.raises(ValueError, match="empty"):
        keep_largest({}, 0.5)
    with pytest.raises(ValueError, match="scope is 'rows'.*'global', 'layer'"):
        keep_largest({"a": torch.ones(3)}, 0.5, scope="rows")
