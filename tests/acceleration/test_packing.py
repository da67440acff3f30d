import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pruning_lib.acceleration import two_four
from pruning_lib.acceleration.packing import DTYPES


def two_four_matrix(rows, columns, dtype, seed=0, most=2):
    """Random, with 0 to `most` non-zeros in each group, negative ones too."""
    generator = torch.Generator().manual_seed(seed)
    places = torch.rand(rows * columns // 4, 4, generator=generator).argsort(1)
    counts = torch.randint(0, most + 1, (len(places), 1), generator=generator)
    values = torch.randint(-100, 100, (len(places), 4), generator=generator) / 8
    values = values.round() if dtype == torch.int8 else values
    return (values * (places < counts)).to(dtype).view(rows, columns)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 9), st.integers(1, 9), st.sampled_from(DTYPES), st.integers(0, 1000))
def test_unpack_gives_back_what_was_packed(rows, groups, dtype, seed):
    dense = two_four_matrix(rows, 4 * groups, dtype, seed)
    before = dense.clone()
    values, indices = two_four.pack(dense)
    assert values.dtype == dtype and indices.dtype == torch.uint8
    assert values.shape == indices.shape == (rows, 2 * groups)
    assert torch.equal(two_four.unpack(values, indices, 4 * groups), dense)
    assert torch.equal(dense, before)


def test_a_view_is_packed_as_its_values():
    dense = two_four_matrix(8, 12, torch.float32).repeat(1, 2)
    values, indices = two_four.pack(dense[::2, 4:16])
    assert torch.equal(two_four.unpack(values, indices, 12), dense[::2, 4:16])


@pytest.mark.parametrize("pattern", [p for p in itertools.product((0, 1), repeat=4) if sum(p) <= 2])
def test_every_pattern_stores_its_non_zeros_in_order(pattern):
    group = torch.tensor([pattern], dtype=torch.float64) * torch.tensor([2.0, -3.0, 5.0, -7.0])
    values, indices = two_four.pack(group)
    (low, high) = indices[0].tolist()
    assert low < high
    assert {place for place in range(4) if pattern[place]} <= {low, high}
    assert values[0].tolist() == [group[0, low], group[0, high]]


def test_pairs_that_the_facts_name():
    # 1100→0100, 1010→1000, 0110→1001, 1001→1100, 0101→1101, 0011→1110: nibble = idx0 | idx1 << 2
    names = {"1100": 0b0100, "1010": 0b1000, "0110": 0b1001, "1001": 0b1100, "0101": 0b1101, "0011": 0b1110}
    for bits, nibble in names.items():
        low, high = two_four.pair(sum(1 << place for place in range(4) if bits[place] == "1"))
        assert low | high << 2 == nibble


@pytest.mark.parametrize("place", [(0, 0), (2, 8), (4, 12)])
def test_what_is_not_two_four_is_refused_with_its_place(place):
    dense = two_four_matrix(5, 16, torch.float32)
    row, start = place
    dense[row, start : start + 4] = torch.tensor([1.0, 0.0, -2.0, 3.0])
    dense[row:, start + 4 :] = 1.0  # offends later on
    with pytest.raises(ValueError, match=rf"row {row}, columns {start} to {start + 3} hold \[1.0, 0.0, -2.0, 3.0\]"):
        two_four.pack(dense)
    assert not two_four.is_two_four(dense)
    assert two_four.is_two_four(two_four_matrix(5, 16, torch.float32))


@pytest.mark.parametrize(
    ("dense", "message"),
    [
        (torch.zeros(4, 6), "6 columns, must be a multiple of 4"),
        (torch.zeros(8), "shape \\(8,\\)"),
        (torch.zeros(2, 4, 1, 1), "flatten\\(1\\)"),
        (torch.zeros(0, 4), "shape \\(0, 4\\)"),
        (torch.zeros(2, 4, dtype=torch.int64), "int64"),
        (torch.zeros(2, 4, dtype=torch.bool), "torch.bool"),
        ([[0.0] * 4], "list"),
    ],
)
def test_bad_matrices_are_errors(dense, message):
    with pytest.raises(ValueError, match=message):
        two_four.pack(dense)


def test_bad_packed_tensors_are_errors():
    values, indices = two_four.pack(two_four_matrix(4, 8, torch.float32))
    for columns in (4, 16, 6):
        with pytest.raises(ValueError, match="must be \\(rows, columns/2\\)"):
            two_four.unpack(values, indices, columns)
    with pytest.raises(ValueError, match="must be \\(rows, columns/2\\)"):
        two_four.unpack(values, indices[:2], 8)
    with pytest.raises(ValueError, match="must be \\(rows, columns/2\\)"):
        two_four.unpack(values[:, :0], indices[:, :0], 0)
    with pytest.raises(ValueError, match="indices is list"):
        two_four.unpack(values, indices.tolist(), 8)
    with pytest.raises(ValueError, match="x has 9 rows, must have 8"):
        two_four.select(indices, torch.zeros(9, 2))
    for wrong in (indices + 4, indices.flip(1), indices.int(), torch.zeros_like(indices)):
        with pytest.raises(ValueError, match="uint8, 0 to 3, and rise"):
            two_four.unpack(values, wrong, 8)


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_multiplexer_product_is_the_dense_one(dtype):
    dense, x = two_four_matrix(24, 64, dtype), two_four_matrix(64, 12, dtype, seed=1, most=4)
    product = two_four.matmul(*two_four.pack(dense), x)
    exact = dense.double() @ x.double()
    if dtype == torch.int8:
        assert product.dtype == torch.int32
        assert torch.equal(product.double(), exact)
    else:
        assert product.dtype == dtype
        torch.testing.assert_close(product.double(), exact, rtol=4 * torch.finfo(dtype).eps, atol=1e-3)


def test_half_precision_is_summed_in_single():
    weight = torch.tensor([[1.0, 1.0, 0.0, 0.0] * 512]).half()
    x = torch.full((2048, 1), 4.0).half()
    x[0] = 2048.0  # in half precision 2048 + 1 is 2048 and adding 4 often rounds; single gives 2048 + 4·1023 exactly
    assert two_four.matmul(*two_four.pack(weight), x).item() == torch.tensor(2048.0 + 4 * 1023).half().item()


def test_select_shows_which_operands_the_indices_pick():
    weight = torch.tensor([[0.0, 5.0, 0.0, 7.0, 2.0, 0.0, 0.0, 3.0]])
    _, indices = two_four.pack(weight)
    assert indices.tolist() == [[1, 3, 0, 3]]
    assert two_four.kept_columns(indices).tolist() == [[1, 3, 4, 7]]
    assert two_four.select(indices, torch.arange(8.0)[:, None]).flatten().tolist() == [1, 3, 4, 7]


def test_many_operands_are_taken_in_parts(monkeypatch):
    dense, x = two_four_matrix(7, 16, torch.float64), torch.randn(16, 3, dtype=torch.float64)
    monkeypatch.setattr("pruning_lib.acceleration.packing.OPERANDS", 50)  # two rows at a time, the last alone
    torch.testing.assert_close(two_four.matmul(*two_four.pack(dense), x), dense @ x, rtol=0, atol=1e-12)


def test_operands_that_do_not_fit_are_errors():
    values, indices = two_four.pack(two_four_matrix(4, 8, torch.float32))
    for x in (torch.zeros(8), torch.zeros(8, 2).double(), [1.0]):
        with pytest.raises(ValueError, match="x is .* must be a torch.float32 matrix"):
            two_four.matmul(values, indices, x)
    with pytest.raises(ValueError, match="columns = 12"):
        two_four.matmul(values, indices, torch.zeros(12, 2))
