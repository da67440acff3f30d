"""Rounding weights to b bits, jointly with pruning: one evenly spaced grid per row, zero on it."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Grid:
    """2ᵇ values per row, evenly spaced from the smallest to the largest weight: scale · (k − zero), k = 0 … 2ᵇ − 1.

    The range always takes in zero, which is a value of the grid, so that pruned weights are on it.
    """

    scale: Tensor  # (rows,)
    zero: Tensor  # (rows,), whole numbers
    top: int  # 2ᵇ − 1

    @classmethod
    def of(cls, weight: Tensor, bits: int) -> "Grid":
        """The grid of `weight` (rows, columns)."""
        low, high = weight.amin(1).clamp(max=0), weight.amax(1).clamp(min=0)
        top = 2**bits - 1
        scale = (high - low) / top
        scale[scale == 0] = 1  # a row of zeros
        return cls(scale, torch.round(-low / scale), top)

    def nearest(self, weights: Tensor) -> Tensor:
        """Each of `weights` (…, rows), transposed as they are, on its row's grid."""
        return self.scale * (torch.round(weights / self.scale + self.zero).clamp_(0, self.top) - self.zero)
