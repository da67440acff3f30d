"""When 2:4 can pay: the time a linear layer needs at least, from a GPU's published peaks (Williams et al. 2009)."""

import math
from numbers import Real
from typing import NamedTuple

import torch

from pruning_lib.checks import check_choice


class _GPU(NamedTuple):
    """Published peaks. Sparse ones count the skipped zeros too: twice the dense rate on a 2:4 matrix."""

    bandwidth: float  # TB/s
    dense: dict[torch.dtype, float]  # tensor cores, TFLOP/s or TOP/s, by dtype
    capability: tuple[int, int]
    source: str

    def peak(self, dtype: torch.dtype, sparse: bool) -> float:
        """TFLOP/s; 2:4 doubles it on every GPU in the table, in float32 (TF32) through 1:2."""
        return self.dense[dtype] * (2 if sparse else 1)


def _rates(half: float, tf32: float, int8: float, fp8: float | None = None) -> dict[torch.dtype, float]:
    rates = {torch.float16: half, torch.bfloat16: half, torch.float32: tf32, torch.int8: int8}
    return rates if fp8 is None else rates | {torch.float8_e4m3fn: fp8}


# Dense peaks; float16 and float8 with float32 accumulation, as torch multiplies by default (half the rate with float16
# accumulation on GeForce cards); float32 is TF32. Float8 came with compute capability 8.9.
GPUS = {
    "A100 40GB SXM": _GPU(1.555, _rates(312, 156, 624), (8, 0), "NVIDIA A100 Tensor Core GPU datasheet (2020)"),
    "A100 80GB SXM": _GPU(2.039, _rates(312, 156, 624), (8, 0), "NVIDIA A100 80GB Tensor Core GPU datasheet (2021)"),
    "H100 SXM": _GPU(
        3.35, _rates(989.4, 494.7, 1978.9, 1978.9), (9, 0), "NVIDIA H100 Tensor Core GPU datasheet and whitepaper"
    ),
    "H200 SXM": _GPU(4.8, _rates(989.4, 494.7, 1978.9, 1978.9), (9, 0), "NVIDIA H200 Tensor Core GPU datasheet"),
    "B200 SXM": _GPU(7.7, _rates(2250, 1100, 4500, 4500), (10, 0), "NVIDIA HGX B200 (Blackwell), datasheet"),
    "RTX 3090": _GPU(
        0.936, _rates(71, 35.6, 284), (8, 6), "NVIDIA Ampere GA102 GPU Architecture whitepaper, appendix A"
    ),
    "RTX 4090": _GPU(
        1.008, _rates(165.2, 82.6, 660.6, 330.3), (8, 9), "NVIDIA Ada GPU Architecture whitepaper, appendix A"
    ),
}


class Roofline(NamedTuple):
    """What `roofline` computes for one product."""

    flop: float  # 2·rows·columns·tokens, zeros counted
    bytes: float  # weights, inputs and outputs, each moved once
    compute_seconds: float
    memory_seconds: float

    @property
    def seconds(self) -> float:
        """The lower bound: the slower of the two."""
        return max(self.compute_seconds, self.memory_seconds)

    @property
    def bound(self) -> str:
        """What limits: "compute" or "memory"."""
        return "compute" if self.compute_seconds >= self.memory_seconds else "memory"

    @property
    def intensity(self) -> float:
        """FLOP per byte; above the ridge (peak over bandwidth) computing is the limit."""
        return self.flop / self.bytes


def roofline(gpu: str, rows: int, columns: int, tokens: int, dtype: torch.dtype, sparse: bool) -> Roofline:
    """Least time of Y = W X, W (rows, columns) dense or 2:4, X (columns, tokens), on a GPU of the table `GPUS`.

    max(2·rows·columns·tokens / peak, (weights + inputs + outputs) / bandwidth)

    All of X, Y and W have `dtype`; packed weights take (b/2 + 1)/b of the dense bytes at b bits each, for float32 (1:2,
    one nibble for two values) 0.5625 too. A bound, not a forecast: kernels, launches and caches are not in it.

    Raises
    ------
    ValueError
        A GPU or dtype that is not in the table, or sizes that are not finite numbers of at least 1.
    """
    card = _card_of(gpu, dtype)
    for name, value in (("rows", rows), ("columns", columns), ("tokens", tokens)):
        if not isinstance(value, Real) or not 1 <= value < math.inf:  # False for nan too
            raise ValueError(f"{name} is {value}, must be at least 1")
    flop = 2.0 * rows * columns * tokens
    weights = rows * columns * dtype.itemsize * (packed_share(dtype) if sparse else 1)
    moved = weights + (rows + columns) * tokens * dtype.itemsize
    return Roofline(flop, moved, flop / (card.peak(dtype, sparse) * 1e12), moved / (card.bandwidth * 1e12))


def packed_share(dtype: torch.dtype) -> float:
    """Bytes of packed over dense weights: 1/2 for the values, and a nibble for every 4 (float32: 2) of them."""
    group = 2 if dtype == torch.float32 else 4
    return 0.5 + 4 / (group * 8 * dtype.itemsize)


def ridge(gpu: str, dtype: torch.dtype = torch.float16, sparse: bool = False) -> float:
    """FLOP per byte at which a GPU is as long computing as moving: 312/2.039 = 153 for A100 80GB, dense float16."""
    card = _card_of(gpu, dtype)
    return card.peak(dtype, sparse) / card.bandwidth


def _card_of(gpu: str, dtype: torch.dtype) -> _GPU:
    """The table's entry; ValueError if it has no such GPU, or no rate in `dtype`."""
    card = GPUS[check_choice("gpu", gpu, GPUS)]
    check_choice("dtype", dtype, card.dense)
    return card
