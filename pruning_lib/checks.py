"""Checks of input shared by all methods: each names the value and what is allowed."""

from collections.abc import Iterable
from numbers import Real
from typing import Any

import torch
from torch import Tensor

from pruning_lib.inputs import described


def check_sparsity(sparsity: float) -> float:
    """Return `sparsity` if it is a number in [0, 1], else raise ValueError."""
    if not isinstance(sparsity, Real) or not 0.0 <= sparsity <= 1.0:  # False for nan too
        raise ValueError(f"sparsity is {sparsity!r}, must be a number in [0, 1]: the share of zeros")
    return sparsity


def check_choice(name: str, value: str, allowed: Iterable[str]) -> str:
    """Return `value` if it is one of `allowed`, else raise ValueError with the list."""
    allowed = list(allowed)
    if value not in allowed:
        raise ValueError(f"{name} is {value!r}, must be one of {', '.join(map(repr, allowed))}")
    return value


def check_scores(scores: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return `scores` if there are any and all are finite, else raise ValueError naming the first bad entry."""
    if not scores:
        raise ValueError("scores is empty: there is no prunable weight to choose from")
    for name, score in scores.items():
        # The extremes tell for all, nan included, in one pass without a temporary.
        if score.numel() and not all(torch.isfinite(extreme) for extreme in score.aminmax()):
            bad = score[~torch.isfinite(score)][0].item()
            raise ValueError(f"scores[{name!r}] contains {bad}, must be finite")
        if not score.numel():
            raise ValueError(f"scores[{name!r}] has shape {tuple(score.shape)}, must not be empty")
    return scores


def check_loss(loss: Any) -> Tensor:
    """Return `loss` as a scalar if it is a tensor of one number, else raise ValueError."""
    if not isinstance(loss, Tensor) or loss.numel() != 1:
        raise ValueError(f"loss is {described(loss)}, must be a scalar tensor: the mean over the batch")
    return loss.squeeze()
