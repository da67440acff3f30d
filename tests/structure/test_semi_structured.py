from itertools import combinations, product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pruning_lib.structure import keep_n_of_m, keep_patterns, keep_stripes


@settings(max_examples=150, deadline=None)
@given(data=st.data(), m=st.integers(1, 8), rows=st.integers(1, 3), groups=st.integers(1, 3))
def test_n_of_m_keeps_the_n_largest_of_every_group(data, m, rows, groups):
    n = data.draw(st.integers(1, m))
    count = rows * groups * m
    values = data.draw(st.lists(st.integers(0, 3), min_size=count, max_size=count))
    scores = torch.tensor(values, dtype=torch.float64).view(rows, groups * m)
    kept = keep_n_of_m({"a": scores}, n, m)["a"].view(-1, m)
    for group, mask in zip(scores.view(-1, m).tolist(), kept.tolist(), strict=True):
        best = sorted(range(m), key=lambda i: (-group[i], i))[:n]
        assert [i for i in range(m) if mask[i]] == sorted(best)


def test_n_of_m_sees_a_convolution_as_its_matrix():
    scores = torch.rand(3, 4, 3, 3, generator=torch.Generator().manual_seed(0))
    conv = keep_n_of_m({"a": scores}, 2, 4)["a"]
    matrix = keep_n_of_m({"a": scores.view(3, 36)}, 2, 4)["a"]
    assert torch.equal(conv.view(3, 36), matrix)


def test_n_of_m_along_the_channels_of_each_kernel_place():
    scores = torch.rand(3, 8, 2, 3, generator=torch.Generator().manual_seed(0))
    keep = keep_n_of_m({"a": scores, "fc": scores[:, :, 0, 0]}, 2, 4, along="channels")
    for out, first, i, j in product(range(3), (0, 4), range(2), range(3)):
        group, mask = scores[out, first : first + 4, i, j], keep["a"][out, first : first + 4, i, j]
        assert set(mask.nonzero().flatten().tolist()) == set(group.topk(2).indices.tolist())
    assert torch.equal(keep["fc"], keep_n_of_m({"fc": scores[:, :, 0, 0]}, 2, 4)["fc"])
    with pytest.raises(ValueError, match=r"scores\['a'\] has 6 channels, must be a multiple of m = 4"):
        keep_n_of_m({"a": scores[:, :6]}, 2, 4, along="channels")
    with pytest.raises(ValueError, match="along is 'rows', must be one of 'columns', 'channels'"):
        keep_n_of_m({"a": scores}, 2, 4, along="rows")


def test_n_of_m_with_groups_longer_than_a_small_integer():
    scores = torch.zeros(1, 33_000)
    assert keep_n_of_m({"a": scores}, 1, 33_000)["a"].nonzero().tolist() == [[0, 0]]


@pytest.mark.parametrize(("n", "m"), [(5, 4), (0, 4), (-1, 4), (1, 0)])
def test_n_of_m_out_of_range(n, m):
    with pytest.raises(ValueError, match=f"n:m is {n}:{m}"):
        keep_n_of_m({"a": torch.ones(4, 4)}, n, m)


@pytest.mark.parametrize(("n", "m", "message"), [(1.5, 4, "n is 1.5"), (2, 4.0, "m is 4.0")])
def test_n_and_m_are_whole_numbers(n, m, message):
    with pytest.raises(ValueError, match=f"^{message}, must be a whole number$"):
        keep_n_of_m({"a": torch.ones(4, 4)}, n, m)


def test_n_of_m_columns_not_divisible():
    with pytest.raises(ValueError, match=r"scores\['b'\] has 25 columns, must be a multiple of m = 4"):
        keep_n_of_m({"a": torch.ones(4, 4), "b": torch.ones(2, 1, 5, 5)}, 2, 4)
    with pytest.raises(ValueError, match=r"scores\['a'\] has shape \(4,\)"):
        keep_n_of_m({"a": torch.ones(4)}, 2, 4)


def test_stripes_go_whole_and_by_total_score():
    generator = torch.Generator().manual_seed(1)
    scores = {"conv": torch.rand(4, 5, 3, 3, generator=generator, dtype=torch.float64), "fc": torch.rand(2, 3)}
    masks = keep_stripes(scores, 0.75)
    stripe_kept = masks["conv"].sum(dim=1)  # (out, kh, kw): 0 or all 5 channels
    assert set(stripe_kept.unique().tolist()) == {0, 5}
    assert int((stripe_kept == 5).sum()) == 9  # of 36
    totals = scores["conv"].sum(dim=1)
    assert totals[stripe_kept == 5].min() > totals[stripe_kept == 0].max()
    assert masks["fc"].all()
    with pytest.raises(ValueError, match="no convolution"):
        keep_stripes({"fc": torch.rand(2, 3)}, 0.5)


def test_patterns_are_few_and_each_kernel_takes_its_best():
    scores = torch.rand(6, 7, 3, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    kept = keep_patterns({"a": scores}, entries=4, patterns=5)["a"].flatten(2).flatten(0, 1)  # (42, 9)
    assert (kept.sum(dim=1) == 4).all()
    library = kept.unique(dim=0)
    assert len(library) <= 5
    flat = scores.flatten(2).flatten(0, 1)
    retained = (flat * kept).sum(dim=1)
    best = (flat @ library.double().T).max(dim=1).values
    torch.testing.assert_close(retained, best)


def test_patterns_with_a_full_library_keep_the_largest_entries():
    scores = torch.rand(4, 4, 3, 3, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    everything = len(list(combinations(range(9), 4)))
    kept = keep_patterns({"a": scores}, entries=4, patterns=everything)["a"]
    largest = keep_n_of_m({"a": scores.view(16, 9)}, 4, 9)["a"].view(scores.shape)
    assert torch.equal(kept, largest)


def test_patterns_library_follows_the_votes():
    common = torch.tensor([1.0, 1, 0, 0, 0, 0, 0, 0, 0])
    rare = torch.tensor([0.0, 0, 0, 0, 0, 0, 0, 1, 1])
    kernels = torch.stack([common, common, rare]).view(3, 1, 3, 3)
    kept = keep_patterns({"a": kernels}, entries=2, patterns=1)["a"].view(3, 9)
    assert (kept == common.bool()).all()


def test_refined_patterns_keep_no_less_than_the_vote(monkeypatch):
    scores = torch.rand(10, 10, 5, 5, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    refined = (scores * keep_patterns({"a": scores}, entries=12)["a"]).sum()
    monkeypatch.setattr("pruning_lib.structure.semi_structured._ROUNDS", 0)
    voted = (scores * keep_patterns({"a": scores}, entries=12)["a"]).sum()
    assert refined > voted


def test_patterns_leave_small_kernels_whole():
    scores = {"a": torch.rand(2, 2, 3, 3), "b": torch.rand(2, 2, 1, 1), "fc": torch.rand(3, 4)}
    masks = keep_patterns(scores)
    assert masks["b"].all()
    assert masks["fc"].all()
    with pytest.raises(ValueError, match="entries is 9"):
        keep_patterns(scores, entries=9)
    with pytest.raises(ValueError, match="patterns is 0"):
        keep_patterns(scores, patterns=0)
    for wrong in ({"entries": 2.5}, {"patterns": 2.5}):
        with pytest.raises(ValueError, match=f"^{next(iter(wrong))} is 2.5, must be a whole number$"):
            keep_patterns(scores, **wrong)
