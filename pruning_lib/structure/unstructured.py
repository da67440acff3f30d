"""Unstructured pruning: keep the largest scores, wherever they lie."""

import torch
from torch import Tensor

from pruning_lib.checks import check_choice, check_scores, check_sparsity
from pruning_lib.structure.masks import Masks
from pruning_lib.structure.selection import count_kept, largest


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
    flat = [score.flatten() for score in scores.values()]
    if scope == "layer":
        parts = [largest(score, count_kept(len(score), sparsity)) for score in flat]
    else:
        together = torch.cat(flat)
        parts = largest(together, count_kept(len(together), sparsity)).split([len(score) for score in flat])
    return Masks({name: part.view(score.shape) for part, (name, score) in zip(parts, scores.items(), strict=True)})
