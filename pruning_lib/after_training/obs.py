"""Optimal Brain Surgeon: delete the weight that costs least when all others are readjusted at once.

Source: Hassibi and Stork 1993, "Second order derivatives for network pruning: Optimal Brain Surgeon". Magnitude and
Optimal Brain Damage (LeCun, Denker and Solla 1990) run through the same loop.
"""

import copy
import math
import warnings
from collections.abc import Iterable, Iterator
from numbers import Integral
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from pruning_lib.after_training.jacobian import (
    as_vector,
    check_eval,
    exact_hessian,
    gradient,
    jacobian_rows,
    split,
    squared_error,
    weights_of,
    write_,
)
from pruning_lib.after_training.recursion import check_alpha, hessian, inverse_hessian, row_blocks
from pruning_lib.after_training.surgery import saliency, surgery, surgery_
from pruning_lib.checks import check_choice, check_sparsity
from pruning_lib.inputs import Batch, samples, with_targets
from pruning_lib.precision import without_autocast
from pruning_lib.structure import Masks
from pruning_lib.structure.selection import count_kept, first_to_go

__all__ = [
    "METHODS",
    "Deletion",
    "exact_hessian",
    "gradient",
    "hessian",
    "inverse_hessian",
    "jacobian_rows",
    "prune",
    "saliency",
    "squared_error",
    "steps",
    "surgery",
]

METHODS = ("obs", "obd", "magnitude")


class Deletion(NamedTuple):
    """One weight deleted by `steps`."""

    name: str  # the parameter it was in
    index: tuple[int, ...]  # its place there
    saliency: float  # its score: L_q of OBS or OBD; abs(w_q) for magnitude, which predicts no error
    change: float  # what L_q predicts: the true change of E + α/2·‖w‖²
    error: float  # E (OBS-6) after the deletion
    left: int  # weights left


def prune(
    model: nn.Module,
    batches: Iterable[Batch],
    *,
    count: int | None = None,
    sparsity: float | None = None,
    tolerance: float | None = None,
    method: str = "obs",
    alpha: float = 1e-6,
    recompute: int | None = 1,
    names: Iterable[str] | None = None,
    masks: Masks | None = None,
    progress: bool = True,
) -> tuple[Masks, list[Deletion]]:
    """Delete weights of `model` one after the other, in place at the end; exactly one of three says how many.

    The error is E = 1/(2P) Σ_k (t − o)ᵀ(t − o) (OBS-6). Until all is done `model` is as it was, even after an error or
    an interrupt. What is deleted is zero, not held: `masks.hold(model)` keeps it so in later training.

    Parameters
    ----------
    model : trained to a minimum, or a warning tells the gradient's norm; in evaluation mode with batch norm or dropout
    batches : (inputs, targets) pairs or dicts with labels, targets shaped as the outputs (labels one-hot)
    count : how many weights to delete
    sparsity : share of weights gone in the end, in [0, 1]
    tolerance : delete while E stays at or below this
    method : "obs", "obd" (LeCun et al. 1990: L_q = ½ H_qq w_q², nothing readjusted) or "magnitude" (abs(w_q))
    alpha : α > 0 of H + αI; if the model was trained with weight decay, that decay (see `inverse_hessian`)
    recompute : H⁻¹ is computed anew from the network after so many deletions and downdated in between (OBS-12);
        1 is the paper's procedure and dear for large nets, None computes it once
    names : parameters to delete from, biases too if named; by default the weights of `prunable`
    masks : what is gone already, e.g. by an earlier `prune`: stays zero and counts in the sparsity. Names, too.
    progress : show a progress bar

    Returns
    -------
    Masks, list of Deletion : True = stays; what was deleted, in that order

    Raises
    ------
    ValueError
        If not exactly one of count, sparsity and tolerance is given, or more is to go than there is; for a bad option,
        shape or name; in training mode; if a weight, an error or a row of the Jacobian is not finite.

    Warns
    -----
    UserWarning
        If the model is not at a minimum as far as the first to go can tell (not for magnitude), or a layer goes whole.
    """
    batches = list(with_targets(batches))
    keep, deletions = _begin(model, batches, method, alpha, recompute, names, masks, stacklevel=5)
    limit = _how_many(count, sparsity, tolerance, Masks(keep))
    weights = weights_of(model, keep)
    w = as_vector(weights) * as_vector(keep)
    if tolerance is not None:
        error = squared_error(model, batches, split(w, weights)).item()
        if not error <= tolerance:
            raise ValueError(f"tolerance is {tolerance}, must be at least the error before pruning, {error:.6g}")
    history = []
    with tqdm(total=limit, disable=not progress, leave=False, desc=method, unit="weight") as bar:
        while len(history) < limit:
            deletion, pruned = next(deletions)
            if tolerance is not None and deletion.error > tolerance:
                break
            history.append(deletion)
            keep[deletion.name][deletion.index] = False
            w = as_vector(weights_of(pruned, weights))
            bar.update()
            bar.set_postfix(error=f"{deletion.error:.3g}")
    write_(weights, w)
    for name, mask in keep.items():
        if mask.ndim > 1 and not mask.any():
            warnings.warn(f"all weights of {name} are gone: nothing passes that layer but its bias", stacklevel=2)
    return Masks(keep), history


def _how_many(count: int | None, sparsity: float | None, tolerance: float | None, masks: Masks) -> int:
    """The number of weights to delete from those left in `masks`, at most."""
    given = {"count": count, "sparsity": sparsity, "tolerance": tolerance}
    if sum(value is not None for value in given.values()) != 1:
        raise ValueError(f"{', '.join(f'{k} = {v}' for k, v in given.items())}: exactly one must be given")
    if sparsity is not None:
        limit = masks.kept - count_kept(masks.total, check_sparsity(sparsity))
        if limit < 0:
            raise ValueError(f"sparsity is {sparsity}, must be at least {masks.sparsity:.4f}, that of masks")
        return limit
    if count is not None and not (isinstance(count, Integral) and 0 <= count <= masks.kept):
        raise ValueError(f"count is {count}, must be an integer from 0 to {masks.kept}, the number of weights")
    if tolerance is not None and not tolerance >= 0:
        raise ValueError(f"tolerance is {tolerance}, must be an error: a number of at least 0")
    return masks.kept if count is None else count


def steps(
    model: nn.Module,
    batches: Iterable[Batch],
    *,
    method: str = "obs",
    alpha: float = 1e-6,
    recompute: int | None = 1,
    names: Iterable[str] | None = None,
    masks: Masks | None = None,
) -> Iterator[tuple[Deletion, nn.Module]]:
    """Delete one weight after the other from a copy of `model`, until none is left. Arguments and errors as in `prune`.

    Yields
    ------
    Deletion, nn.Module : what was deleted, and the copy without it: the same object each time, to look at
    """
    return _begin(model, list(with_targets(batches)), method, alpha, recompute, names, masks, stacklevel=4)[1]


def _begin(model, batches, method, alpha, recompute, names, masks, stacklevel: int) -> tuple[dict, Iterator]:
    """The mask to begin with, and `steps`; warnings point `stacklevel` frames up, from inside the generator."""
    check_choice("method", method, METHODS)
    check_alpha(alpha)
    check_eval(model)
    if recompute is not None and not (isinstance(recompute, Integral) and recompute >= 1):
        raise ValueError(f"recompute is {recompute}, must be an integer of at least 1, or None to compute H⁻¹ once")
    if not sum(samples(targets) for _, targets in batches):
        raise ValueError("batches is empty, must hold at least one sample")
    if masks is not None:
        if names is not None:
            raise ValueError("names and masks are both given, must be one of them: masks name parameters too")
        masks.weights_of(model)
    keep = {
        name: torch.ones_like(w, dtype=torch.bool) if masks is None else masks[name].to(w.device, copy=True)
        for name, w in weights_of(model, names if masks is None else masks).items()
    }
    flat = as_vector(keep).bool()
    return keep, _delete(copy.deepcopy(model), batches, list(keep), flat, method, alpha, recompute, stacklevel)


@without_autocast
def _delete(model, batches, names: list[str], keep: Tensor, method: str, alpha: float, recompute, stacklevel: int):
    weights = weights_of(model, names)
    places = [(name, place) for name, weight in weights.items() for place in np.ndindex(*weight.shape)]
    w = as_vector(weights) * keep
    write_(weights, w)
    error = _error_of(model, batches, method, alpha)
    for deleted in range(int(keep.count_nonzero())):
        if deleted % (recompute or len(keep)) == 0:
            alive = keep.nonzero().flatten()
            curvature = _measure(model, batches, names, alive, method, alpha)
            if deleted == 0:
                slope = gradient(model, batches, names)[alive] + alpha * w[alive]
                _warn_unless_minimum(slope, w[alive], curvature, method, stacklevel)
        before = error + alpha / 2 * w.square().sum().item()
        local = w[alive]
        scores = torch.where(keep[alive], _score(local, curvature, method), math.inf)
        q = int(first_to_go(scores))
        if method == "obs":
            surgery_(local, curvature, q)
        else:
            local[q] = 0
        w[alive] = local
        keep[alive[q]] = False
        write_(weights, w)
        error = _error_of(model, batches, method, alpha)
        change = error + alpha / 2 * w.square().sum().item() - before
        yield Deletion(*places[alive[q]], scores[q].item(), change, error, int(keep.count_nonzero())), model


@torch.no_grad()
def _measure(model, batches, names: list[str], alive: Tensor, method: str, alpha: float) -> Tensor | None:
    """What `_score` needs of the weights `alive`: (H + αI)⁻¹ for OBS, the diagonal of H + αI for OBD."""
    if method == "magnitude":
        return None
    count = sum(samples(targets) for _, targets in batches)
    rows = (X[:, alive] for inputs, _ in batches for X in jacobian_rows(model, inputs, names))
    if method == "obs":
        return inverse_hessian(rows, alpha, count)
    return sum(X.square().sum(0) for X in row_blocks(rows, 256)) / count + alpha


def _score(w: Tensor, curvature: Tensor | None, method: str) -> Tensor:
    """abs(w_q), or the predicted error: OBS's L_q, or OBD's ½ (H + αI)_qq w_q², which takes H for diagonal."""
    if method == "magnitude":
        return w.abs()
    return saliency(w, curvature) if method == "obs" else curvature * w.square() / 2


def _warn_unless_minimum(slope: Tensor, w: Tensor, curvature: Tensor | None, method: str, stacklevel: int) -> None:
    """Warn if the first term of OBS-1, which OBS and OBD drop, is over a tenth of the second where weights go next.

    These are the tenth of the weights with the smallest scores, at least one. One that is zero already has no terms.
    """
    if method == "magnitude":
        return
    # |gᵀδw| of each deletion: δw = −w_q/[H⁻¹]_qq · H⁻¹e_q (OBS-5), or −w_q e_q
    first = w / curvature.diagonal() * (curvature @ slope) if method == "obs" else w * slope
    second = _score(w, curvature, method)
    order = second.argsort()
    order = order[second[order] > 0][: max(1, len(w) // 10)]
    ratio = (first[order].abs().sum() / second[order].sum()).item()
    if ratio > 0.1:
        warnings.warn(
            f"the model is not at a minimum of E + α/2·‖w‖²: the gradient's norm is {slope.norm().item():.3g}, and for "
            f"the weights to go first, the first-order terms that {method.upper()} drops are {ratio:.2g} of the "
            "second-order ones (at most 0.1). Train it on; after training with weight decay, alpha must be that decay",
            stacklevel=stacklevel,
        )


@torch.no_grad()
def _error_of(model, batches, method: str, alpha: float) -> float:
    """E, checked to be finite."""
    error = squared_error(model, batches).item()
    if not math.isfinite(error):
        hint = "" if method == "magnitude" else f" Is alpha {alpha:g} too small?"
        raise ValueError(f"error is {error}, must be finite: are weights, inputs and targets?{hint}")
    return error
