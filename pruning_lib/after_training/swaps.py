"""Swaps: a mask improved row by row, exchanging a kept weight for a pruned one while the layer error falls.

The error meant is the one with refitted weights, so each exchange has its exact effect, and it is of H alone: nothing
of it needs the inputs. Per row H_MM of the kept columns M is factored once; then `tableau.swap_` goes through the
candidates, the few kept and pruned weights that are likely to move.

Source: the exchange of a kept and a pruned weight of a row is SparseSwaps' (2025, arXiv 2512.10922), which leaves the
weights as they are; here they are refitted.
"""

from collections.abc import Iterable
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn

from pruning_lib.after_training import sparsegpt
from pruning_lib.after_training.calibration import prune_in_order
from pruning_lib.after_training.damping import check_damping, cholesky_, revive_
from pruning_lib.after_training.reconstruction import Hessian, check_keep, check_problem, check_target
from pruning_lib.after_training.tableau import swap_
from pruning_lib.checks import check_at_least, check_whole
from pruning_lib.inputs import Inputs
from pruning_lib.precision import without_autocast
from pruning_lib.structure import Masks

__all__ = ["Found", "improve", "prune_model", "prune_weight", "search"]

_CHUNK = 2**26  # bytes of the rows' systems that are worked on together
_CANDIDATES = 96  # of each kind, kept and pruned, in a row's tableau
_PANEL = 64  # columns that LAPACK factors at a time
_LEAST = {torch.float32: 1e-5, torch.float64: 1e-10}  # gain of a swap worth making, as a share of the row's error
_CORRELATED = 1e5  # largest 1 / (share of a column's square that no others explain) that float32 is trusted with


class Found(NamedTuple):
    """What `search` ends with. Errors are per row, as shares of the layer's ‖WX‖²: their sum is the layer error."""

    weight: Tensor  # (rows, columns), least squares on `keep`
    keep: Tensor  # (rows, columns)
    swaps: Tensor  # (rows,): how many were made
    before: Tensor  # (rows,): error with weights refitted on the mask that was given
    after: Tensor  # (rows,)


@without_autocast
def search(
    weight: Tensor,
    hessian: Tensor,
    keep: Tensor,
    n_m: tuple[int, int] | None = None,
    budget: int | None = None,
    damping: float = 0.0,
) -> Found:
    """Exchange kept and pruned weights of each row of `keep`, the best pair first, until none lowers the row's error.

    Every row keeps as many weights as before. Looked at are all pairs of a row's 96 kept weights that cost least and
    96 pruned ones that gain most, judged by v_q²/(H⁻¹)_qq and r_p²·(H⁻¹)_pp (with n:m those of the 96 groups with the
    best pair). Once none of these pairs pays the candidates are chosen anew, until none of them pays from the start: a
    local optimum, proven where all weights are candidates, as in rows of up to 96 kept and 96 pruned. A swap pays that
    lowers the row's error by more than 1e-5 of it in float32 and 1e-10 in float64; float64 is used if the weight or
    Hessian is, and where columns depend on each other so much that float32 would not do.

    Parameters
    ----------
    weight : dense (rows, columns)
    hessian : (columns, columns), as of `reconstruction.Hessian`
    keep : (rows, columns), True = stays
    n_m : (n, m): n of every m consecutive weights stay in `keep`, and only weights of the same m are exchanged
    budget : at most so many swaps per row; None: no limit
    damping : added to the diagonal, as a share of its mean; the error that falls is the one with this Hessian. Raised
        stepwise, with a warning, where H is singular. Weights of columns that calibration never saw become zero

    Raises
    ------
    ValueError
        If shapes do not fit, something is not finite, `keep` is not n:m, `budget` or `damping` is out of range.
    """
    check_problem(weight, hessian, *((0, None) if n_m is None else (None, n_m)))
    _check_keep(weight, keep, n_m), check_damping(damping), _check_budget(budget)
    H, scale, leverage, dead = _scaled(hessian, damping, torch.promote_types(weight.dtype, hessian.dtype))
    W = weight.detach().to(H.dtype).masked_fill(dead, 0) * scale
    keep = keep.clone()
    V, swaps = torch.zeros_like(W), torch.zeros(len(W), dtype=torch.long, device=W.device)
    before, after = (torch.zeros(len(W), dtype=H.dtype, device=W.device) for _ in range(2))
    counts = keep.sum(1)
    order, start = counts.argsort(descending=True), 0
    while start < len(order):
        most = int(counts[order[start]])
        width = most + 2 * _CANDIDATES
        rows = order[start : start + max(1, _CHUNK // (2 * H.element_size() * width**2))]
        start += len(rows)
        live, first = torch.arange(len(rows), device=W.device), True
        while len(live):
            here = rows[live]
            left = budget - swaps[here] if budget is not None else torch.full_like(here, W.shape[1] ** 2)
            V[here], after[here], made, changed = _round(H, W[here], keep[here], leverage, n_m, left)
            if first:
                before[rows], first = after[rows], False
            keep[here], swaps[here] = changed, swaps[here] + made
            live = live[made > 0]
    total = (W @ H).mul_(W).sum()
    total = torch.where(total > 0, total, 1)  # of a layer of zeros all errors are 0
    fitted = (V / scale).masked_fill_(~keep, 0)
    return Found(fitted.to(weight.dtype), keep, swaps, before / total, after / total)


def improve(
    weight: Tensor,
    hessian: Tensor,
    keep: Tensor,
    n_m: tuple[int, int] | None = None,
    budget: int | None = None,
    damping: float = 0.0,
) -> tuple[Tensor, Tensor]:
    """Weight and mask that `search` finds from `keep`; arguments and errors are its."""
    return search(weight, hessian, keep, n_m, budget, damping)[:2]


def prune_weight(
    weight: Tensor,
    hessian: Tensor,
    sparsity: float | None = None,
    n_m: tuple[int, int] | None = None,
    damping: float = 0.01,
    budget: int | None = None,
) -> tuple[Tensor, Tensor]:
    """SparseGPT's mask, improved by swaps, and the refitted weights: the pruned weight and the mask of what stays.

    The arguments are those of `sparsegpt.prune_weight`, `damping` among them, and the `budget` of `search`: at most so
    many swaps per row. The search is for the least error of the equally damped layer problem, as SparseGPT's refit.
    """
    _, keep = sparsegpt.prune_weight(weight, hessian, sparsity, n_m, damping=damping)
    return improve(weight, hessian, keep, n_m, budget, damping)


def prune_model(
    model: nn.Module,
    batches: Iterable[Inputs],
    sparsity: float | None = None,
    n_m: tuple[int, int] | None = None,
    layers: Iterable[str] | None = None,
    progress: bool = True,
    damping: float = 0.01,
    budget: int | None = None,
) -> Masks:
    """Swaps on the layers of `model`, in place; the walk, its arguments and its errors are those of SparseGPT's."""
    check_target(sparsity, n_m), check_damping(damping), _check_budget(budget)
    prune_layer = partial(prune_weight, sparsity=sparsity, n_m=n_m, damping=damping, budget=budget)
    return prune_in_order(model, batches, prune_layer, Hessian, layers, n_m[1] if n_m else 1, progress)


def _check_keep(weight: Tensor, keep: Tensor, n_m: tuple[int, int] | None) -> None:
    check_keep(weight, keep)
    if n_m is not None and not (keep.view(len(keep), -1, n_m[1]).sum(2) == n_m[0]).all():
        raise ValueError(f"keep does not have {n_m[0]} of every {n_m[1]} weights, must do so with n_m {n_m}")


def _check_budget(budget: int | None) -> None:
    if budget is not None:
        check_whole(budget=budget), check_at_least(0, budget=budget)


def _scaled(hessian: Tensor, damping: float, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The damped H with every column scaled to H_jj = 1, the scales, (H⁻¹)_jj, and which columns are dead."""
    H = hessian.to(torch.float64, copy=True)
    dead = revive_(H)
    L = cholesky_(H, damping, H.diagonal().mean())
    diagonal = H.diagonal().clone()
    del H
    scale = diagonal.sqrt()
    leverage = torch.cholesky_inverse(L).diagonal() * diagonal
    del L
    dtype = torch.promote_types(dtype, torch.float32)
    if leverage.max() > _CORRELATED:
        dtype = torch.float64
    scale = scale.to(dtype)
    H = hessian.to(dtype, copy=True).div_(scale).div_(scale[:, None])
    H.fill_diagonal_(1)
    return H, scale, leverage.to(dtype), dead


def _round(
    H: Tensor, W: Tensor, keep: Tensor, leverage: Tensor, n_m: tuple[int, int] | None, left: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Refit rows, and swap among the candidates this shows: weights and errors before, swaps made, masks after them."""
    counts = keep.sum(1)
    fewest, most = (int(count) for count in counts.aminmax())
    # H_MM of each row, padded to equal size by rows and columns of the identity
    M = keep.to(torch.uint8).sort(dim=1, descending=True, stable=True).indices[:, :most]
    pad = torch.arange(most, device=W.device) >= counts[:, None]
    L = _parts(H, M, M)
    L[:, fewest:].masked_fill_(pad[:, fewest:, None], 0)
    L[:, :, fewest:].masked_fill_(pad[:, None, fewest:], 0)
    L.diagonal(dim1=1, dim2=2)[pad] = 1
    _factor_(L)
    # v_M = w_M + (H_MM)⁻¹ H_MP w_P, and r = H(w − v)
    target = (W.masked_fill(keep, 0) @ H).gather(1, M).masked_fill_(pad, 0)
    change = torch.linalg.solve_triangular(L, target[:, :, None], upper=False)
    change = torch.linalg.solve_triangular(L.mT, change, upper=True)[:, :, 0]
    V = (W * keep).scatter_add_(1, M, change)
    r = (W - V) @ H
    error = (r * (W - V)).sum(1)
    # what adding a pruned weight gains and, below zero, what removing a kept one costs, with (H⁻¹)_jj for all rows
    scores = torch.where(keep, -V.square() / leverage, r.square() * leverage)
    R, A, group = _candidates(scores, keep, n_m)
    kept, both = R.shape[1], torch.cat((R, A), 1)
    made = torch.zeros_like(counts)
    if not (kept and A.shape[1] and (left > 0).any()):
        return V, error, made, keep
    # Y = L⁻¹ [−I_R, H_MA]: then −YᵀY = [−B, C; Cᵀ, −H_AM B H_MA]
    Y = torch.zeros(len(W), most, both.shape[1], dtype=W.dtype, device=W.device)
    Y[:, :, kept:] = _parts(H, M, A)
    Y[:, fewest:, kept:].masked_fill_(pad[:, fewest:, None], 0)
    Y[:, :, :kept].scatter_(1, (keep.cumsum(1).gather(1, R) - 1).clamp_(min=0)[:, None, :], -1)
    _solve_(L, Y)
    del L
    T = torch.empty(len(W), both.shape[1] + 1, both.shape[1] + 1, dtype=W.dtype, device=W.device)
    T[:, :-1, :-1] = Y.mT @ -Y
    T[:, kept:-1, kept:-1] += _parts(H, A, A)
    del Y
    T[:, -1, :-1] = T[:, :-1, -1] = torch.cat((V.gather(1, R), r.gather(1, A)), 1)
    T[:, -1, -1] = error
    swap_(T, both, kept, group, made, left, _LEAST[W.dtype] * error)
    stays = (torch.arange(both.shape[1], device=W.device) < kept).expand_as(both)
    moved = stays != keep.gather(1, both)
    if group is not None:
        moved &= group >= 0
    return V, error, made, keep ^ torch.zeros_like(keep, dtype=torch.uint8).scatter_add_(1, both, moved.byte()).bool()


def _parts(H: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """H[rows[i]][:, columns[i]] for every i; one selection with narrow indices takes a quarter of the time of H[…]."""
    kind = torch.int32 if H.numel() < 2**31 else torch.int64
    places = rows[:, :, None].to(kind) * len(H) + columns[:, None, :].to(kind)
    return H.view(-1).index_select(0, places.flatten()).view(places.shape)


def _factor_(A: Tensor) -> None:
    """Write the Cholesky factors over the lower triangles of many `A`, most of it as products, the fastest there is."""
    for j in range(0, A.shape[1], _PANEL):
        here, below = slice(j, j + _PANEL), slice(j + _PANEL, None)
        A[:, j:, here] -= A[:, j:, :j] @ A[:, here, :j].mT
        A[:, here, here] = L = torch.linalg.cholesky(A[:, here, here])
        A[:, below, here] = torch.linalg.solve_triangular(L.mT, A[:, below, here], upper=True, left=False)


def _solve_(L: Tensor, Y: Tensor) -> None:
    """Write L⁻¹Y over `Y`, with factors of `_factor_`."""
    for j in range(0, Y.shape[1], _PANEL):
        here = slice(j, j + _PANEL)
        Y[:, here] -= L[:, here, :j] @ Y[:, :j]
        Y[:, here] = torch.linalg.solve_triangular(L[:, here, here], Y[:, here], upper=False)


def _candidates(scores: Tensor, keep: Tensor, n_m: tuple[int, int] | None) -> tuple[Tensor, Tensor, Tensor | None]:
    """Columns of kept and of pruned weights of each row that are most likely to be exchanged; and their groups.

    Only columns of the same group may be exchanged; None: all may. Below zero are places that a row has no column for.
    """
    gains, costs = scores.masked_fill(keep, -torch.inf), scores.masked_fill(~keep, -torch.inf)
    if n_m is None:
        fewest, most = (int(count) for count in keep.sum(1).aminmax())
        R, A = costs.topk(min(_CANDIDATES, most), 1), gains.topk(min(_CANDIDATES, keep.shape[1] - fewest), 1)
        none = torch.cat((-1 * R.values.isinf(), -2 * A.values.isinf()), 1)
        return R.indices, A.indices, none if none.any() else None
    # of the groups with the best pair as many as fit, and of each as many weights as fit
    n, m = n_m
    gains, costs = gains.view(len(keep), -1, m), costs.view(len(keep), -1, m)
    count = min(_CANDIDATES, gains.shape[1])
    groups = (gains.amax(2) + costs.amax(2)).topk(count, 1).indices
    per_group = _CANDIDATES // count
    places = groups[:, :, None].expand(-1, -1, m)
    R = costs.gather(1, places).topk(min(n, per_group), 2).indices + groups[:, :, None] * m
    A = gains.gather(1, places).topk(min(m - n, per_group), 2).indices + groups[:, :, None] * m
    R, A = R.flatten(1), A.flatten(1)
    return R, A, torch.cat((R, A), 1) // m
