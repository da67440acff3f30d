"""Unstructured pruning: keep the largest scores, wherever they lie."""

import numpy as np
import torch
from torch import Tensor

from pruning_lib.checks import check_choice, check_scores, check_sparsity
from pruning_lib.structure.masks import Masks


def keep_largest(scores: dict[str, Tensor], sparsity: float, scope: str = "global") -> Masks:
    """Keep the k largest scores (TAX-1, SNIP-5), k = round(total · (1 − sparsity)) exactly, ties or not.

    Parameters
    ----------
    scores : one tensor of any shape per weight, larger = more important (pass w.abs() for magnitude)
    sparsity : share of weights removed, in [0, 1]
    scope : "global" ranks all weights together, "layer" gives every layer the same sparsity

    Notes
    -----
    Of equal scores the first stays: in the order of `scores`, then row by row. A threshold with ≥ would keep them all.

    Raises
    ------
    ValueError
        If `sparsity` is outside [0, 1] or nan, `scores` is empty or not finite, `scope` is unknown.
    """
    check_sparsity(sparsity)
    check_choice("scope", scope, ("global", "layer"))
    check_scores(scores)
    if scope == "layer":
        return Masks({name: keep_k(score.flatten(), sparsity).view(score.shape) for name, score in scores.items()})
    flat = torch.cat([score.flatten() for score in scores.values()])
    parts = keep_k(flat, sparsity).split([score.numel() for score in scores.values()])
    return Masks({name: part.view(score.shape) for part, (name, score) in zip(parts, scores.items(), strict=True)})


def keep_k(scores: Tensor, sparsity: float) -> Tensor:
    """Boolean mask of the round(n · (1 − sparsity)) largest of n scores, ties by index."""
    k = round(len(scores) * (1 - sparsity))
    if k == 0:
        return torch.zeros_like(scores, dtype=torch.bool)
    threshold = kth_largest(scores, k)
    keep = scores > threshold
    ties = (scores == threshold).nonzero().flatten()
    keep[ties[: k - int(keep.count_nonzero())]] = True
    return keep


def kth_largest(scores: Tensor, k: int) -> Tensor:
    """The k-th largest of `scores` (n,), 1 ≤ k ≤ n. On a CPU NumPy's selection is several times as fast as torch's."""
    place = len(scores) - k
    if scores.device.type != "cpu":
        return scores.kthvalue(place + 1).values
    # NumPy has no bfloat16; float32 holds both half types exactly.
    values = scores.float() if scores.dtype in (torch.float16, torch.bfloat16) else scores
    return torch.as_tensor(np.partition(values.detach().numpy(), place)[place], dtype=scores.dtype)
