import pytest
import torch

from pruning_lib.acceleration import two_four

A100 = "A100 80GB SXM"


def test_it_is_the_formula():
    found = two_four.roofline(A100, 3072, 1024, 64, torch.float16, False)
    assert found.flop == 2 * 3072 * 1024 * 64
    assert found.bytes == 2 * (3072 * 1024 + (3072 + 1024) * 64)
    assert found.compute_seconds == pytest.approx(found.flop / 312e12)
    assert found.memory_seconds == pytest.approx(found.bytes / 2.039e12)
    assert found.seconds == max(found.compute_seconds, found.memory_seconds)
    sparse = two_four.roofline(A100, 3072, 1024, 64, torch.float16, True)
    assert sparse.bytes == found.bytes - 2 * 3072 * 1024 * (1 - 0.5625)
    assert sparse.compute_seconds == pytest.approx(found.compute_seconds / 2)


def test_the_two_limits_of_the_facts():
    def speed_up(tokens):
        dense, sparse = (two_four.roofline(A100, 12288, 12288, tokens, torch.float16, s) for s in (False, True))
        return dense.seconds / sparse.seconds, dense.bound, sparse.bound

    assert speed_up(1) == (pytest.approx(1 / 0.5625, rel=1e-3), "memory", "memory")
    assert speed_up(4096) == (pytest.approx(2), "compute", "compute")
    assert two_four.ridge(A100) == pytest.approx(153, abs=0.1)
    assert two_four.roofline(A100, 12288, 12288, 153, torch.float16, False).intensity == pytest.approx(153, rel=0.03)


@pytest.mark.parametrize("name", two_four.GPUS)
def test_the_table_is_complete_and_says_where_it_is_from(name):
    gpu = two_four.GPUS[name]
    float8 = {torch.float8_e4m3fn} if gpu.capability >= (8, 9) else set()
    assert set(gpu.dense) == {torch.float16, torch.bfloat16, torch.float32, torch.int8} | float8
    assert all(1.99 <= gpu.peak(dtype, False) / gpu.peak(torch.float16, False) <= 2.01 for dtype in float8)
    assert "NVIDIA" in gpu.source and gpu.capability >= (8, 0)
    assert gpu.peak(torch.int8, False) >= 2 * gpu.peak(torch.float16, False) * 0.99
    assert gpu.peak(torch.float16, True) == 2 * gpu.peak(torch.float16, False)


@pytest.mark.parametrize(
    ("bits", "dtype"), [(16, torch.float16), (16, torch.bfloat16), (8, torch.int8), (8, torch.float8_e4m3fn)]
)
def test_packed_share_is_half_plus_a_bit_over_the_width(bits, dtype):
    assert two_four.packed_share(dtype) == (bits / 2 + 1) / bits


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"gpu": "V100"}, "gpu is 'V100'"),
        ({"dtype": torch.float64}, "dtype is torch.float64"),
        ({"dtype": torch.float8_e4m3fn}, "dtype is torch.float8_e4m3fn"),
        ({"tokens": 0}, "tokens is 0"),
        ({"rows": -1}, "rows is -1"),
        ({"columns": float("nan")}, "columns is nan"),
    ],
)
def test_bad_arguments_are_errors(change, message):
    good = {"gpu": A100, "rows": 8, "columns": 8, "tokens": 1, "dtype": torch.float16, "sparse": True}
    with pytest.raises(ValueError, match=message):
        two_four.roofline(**{**good, **change})


def test_a_dtype_without_a_peak_has_no_ridge():
    with pytest.raises(ValueError, match="dtype is torch.float64"):
        two_four.ridge(A100, torch.float64)
