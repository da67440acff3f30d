"""The gold standard for small layers: exact OBS in every row, each with an inverse of its own (GPT-3).

Source: Frantar and Alistarh 2022, "Optimal Brain Compression".
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from pruning_lib.after_training.damping import check_damping, inverse
from pruning_lib.after_training.reconstruction import check_problem, refit
from pruning_lib.structure.selection import count_kept, first_to_go, largest

CHUNK = 2**28  # bytes of the inverses that are held at a time


def prune_weight(
    weight: Tensor,
    hessian: Tensor,
    sparsity: float | None = None,
    n_m: tuple[int, int] | None = None,
    damping: float = 0.01,
) -> tuple[Tensor, Tensor]:
    """Prune one weight at a time, always with the exact update of all others: the pruned weight and its mask.

    In each row the weight with the least w_q²/[H⁻¹]_qq goes (OBS-5), until none is left; of all rows' sequences those
    steps are taken that cost least, until round(rows · columns · (1 − sparsity)) weights are left. Then all that stay
    are exact (GPT-2). In float64, about rows · columns³ operations: for layers of a few hundred columns.

    Parameters and errors are those of `sparsegpt.prune_weight`.
    """
    check_problem(weight, hessian, sparsity, n_m), check_damping(damping)
    B, dead = inverse(hessian, damping)
    W = weight.detach().double().masked_fill(dead, 0)
    chunks = W.split(max(1, CHUNK // (8 * weight.shape[1] ** 2)))
    order, losses = (torch.cat(parts) for parts in zip(*(sequence(rows, B, n_m) for rows in chunks), strict=True))
    taken = torch.ones_like(losses, dtype=torch.bool)
    if n_m is None:
        # A step can be taken only after those before it in its row: it costs as much as the dearest of them.
        costs = losses.cummax(dim=1).values.flip(1)  # last step first: of steps that cost the same the last are spared
        spared = largest(costs.flatten(), count_kept(W.numel(), sparsity)).view(costs.shape)
        taken = ~spared.flip(1)
    keep = torch.ones_like(W, dtype=torch.bool).scatter_(1, order, ~taken)
    return refit(W, hessian, keep, damping, tolerance=0).to(weight.dtype), keep


def sequence(weight: Tensor, H_inv: Tensor, n_m: tuple[int, int] | None) -> tuple[Tensor, Tensor]:
    """In what order the weights of each row go, and what each step adds to ½ΔwᵀHΔw: both (rows, steps)."""
    rows, columns = weight.shape
    n, m = n_m or (0, columns)
    count = columns // m * (m - n)  # none if n = m
    order = torch.empty(rows, count, dtype=torch.long, device=weight.device)
    losses = torch.empty(rows, count, dtype=weight.dtype, device=weight.device)
    for step, deletion in enumerate(pruned_one_by_one(weight, H_inv, n_m, count)):
        order[:, step], losses[:, step] = deletion.column, deletion.loss
    return order, losses


class _Deletion(NamedTuple):
    """One weight less in every row."""

    column: Tensor  # (rows,), which
    loss: Tensor  # (rows,), what it adds to ½ΔwᵀHΔw
    weight: Tensor  # (rows, columns), afterwards
    inverse_row: Tensor  # (rows, columns), H⁻¹e_q of what was left before


def pruned_one_by_one(weight: Tensor, H_inv: Tensor, n_m: tuple[int, int] | None, count: int) -> Iterator[_Deletion]:
    """Delete `count` weights of every row by OBS-5, each row with its own H⁻¹; with n:m until n of every m are left."""
    W = weight.clone()
    rows, columns = W.shape
    n, m = n_m or (0, columns)
    B = H_inv.expand(rows, -1, -1).clone()  # (rows, columns, columns)
    row = torch.arange(rows, device=W.device)
    gone = torch.zeros_like(W, dtype=torch.bool)
    for _ in range(count):
        full = (gone.view(rows, -1, m).sum(-1) >= m - n).repeat_interleave(m, dim=1)
        # OBS-5: L_q = ½ w_q² / [H⁻¹]_qq
        saliency = (0.5 * W.square() / B.diagonal(dim1=1, dim2=2)).masked_fill_(gone | full, torch.inf)
        q = first_to_go(saliency)
        loss = saliency[row, q]
        h = B[row, q]  # H⁻¹e_q
        pivot = h[row, q][:, None]
        # OBS-5: δw = −w_q/[H⁻¹]_qq · H⁻¹e_q
        W = W - W[row, q][:, None] / pivot * h
        # GPT-7
        B.baddbmm_((h / pivot)[:, :, None], h[:, None, :], alpha=-1)
        gone[row, q] = True
        # Rounding leaves traces where there should be zeros.
        W[gone] = 0
        B[row, q] = 0
        B[row, :, q] = 0
        yield _Deletion(q, loss, W, h)
