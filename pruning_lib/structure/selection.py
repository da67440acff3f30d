"""The one rule by which every method chooses: how many stay at a sparsity, and which of equal scores (ties)."""

import numpy as np
import torch
from torch import Tensor

_SMALL = 16  # up to so many scores in a row all pairs are compared, several times faster than a selection


def count_kept(total: int, sparsity: float) -> int:
    """How many of `total` stay: round(total · (1 − sparsity)), a half going to the even number as Python rounds.

    It is the product of doubles that is rounded, as anyone can compute it, in JavaScript too: 10 · (1 − 0.95) is
    0.5000000000000004 and so one stays.
    """
    return round(total * (1 - float(sparsity)))  # of numpy.float32 the product would be too coarse


def largest(scores: Tensor, k: int) -> Tensor:
    """Mask of the `k` largest along the last dimension of `scores` (…, n), 0 ≤ k ≤ n. Of equal ones the first stay."""
    n = scores.shape[-1]
    if k == 0 or k == n:
        return torch.full_like(scores, k == n, dtype=torch.bool)
    if n <= _SMALL:
        # A score stays if fewer than k beat it: those larger, and the equal ones before it.
        beaten_by = torch.zeros_like(scores, dtype=torch.int8)
        for j in range(n):
            beaten_by[..., :j] += scores[..., j : j + 1] > scores[..., :j]
            beaten_by[..., j + 1 :] += scores[..., j : j + 1] >= scores[..., j + 1 :]
        return beaten_by < k
    threshold = _kth_largest(scores, k)
    keep = scores >= threshold
    if int(keep.count_nonzero()) != k * (scores.numel() // n):  # of some row more equal the threshold than may stay
        above = scores > threshold
        equal = keep ^ above
        missing = k - above.sum(-1, keepdim=True)
        keep = above | equal & (equal.cumsum(-1, dtype=torch.int32) <= missing)
    return keep


def first_to_go(scores: Tensor) -> Tensor:
    """Place of the smallest along the last dimension of `scores`: of equal ones the last, since the first stay."""
    return scores.shape[-1] - 1 - scores.flip(-1).argmin(-1)


def _kth_largest(scores: Tensor, k: int) -> Tensor:
    """The k-th largest (…, 1). On a CPU NumPy's selection is several times as fast as torch's."""
    place = scores.shape[-1] - k
    if scores.device.type != "cpu":
        return scores.kthvalue(place + 1, dim=-1, keepdim=True).values
    # NumPy has no bfloat16; float32 holds both half types exactly.
    values = scores.float() if scores.dtype in (torch.float16, torch.bfloat16) else scores
    selected = np.partition(values.detach().numpy(), place)[..., place : place + 1]
    return torch.as_tensor(selected, dtype=scores.dtype)
