"""Least squares on a mask for all rows at once: conjugate gradients, which need H in products only.

For a row w with kept columns M, the layer error of weights v is J(v) = (w − v)H(w − v)ᵀ; it is least where
H_MM v_M = (Hw)_M (GPT-2). H is the same for all rows, so one step of all of them is one product of matrices, while a
Cholesky factor of each row's own H_MM takes kept³/3 operations. The preconditioner is shared as well:
z = ((H + λ diag H)⁻¹r)_M. With λ = 0 it would never be below (H_MM)⁻¹r, so that r·z bounds what J is above its
minimum, but far above where columns nearly depend on each other; λ > 0 ends that, and r·z stays a good estimate.
It can be too low where means of columns are far above their deviations (measured: 0.8 % in a row for 0.1 %).

Source: Hestenes and Stiefel 1952, "Methods of Conjugate Gradients for Solving Linear Systems"; for pruning Meng et al.
2024, "ALPS: Improved Optimization for Highly Sparse One-Shot Pruning for Large Language Models".
"""

from typing import NamedTuple

import torch
from torch import Tensor

from pruning_lib.after_training.damping import revive_

_RIDGE = 0.05  # λ
_ROWS = 64  # rows that go down together, or a sixteenth of the columns: enough for fast products
_PANEL = 64  # columns of H that are in float64 at a time
_COLUMNS_PER_STEP = 16  # after columns / 16 steps Cholesky would have been as fast


class Descent(NamedTuple):
    """Where the rows have come to."""

    weight: Tensor  # (rows, columns), zero where nothing stays
    excess: Tensor  # (rows,), estimate of what J is above its minimum, as a share of J; inf where it is not known
    steps: Tensor  # (rows,)


def descend(
    weight: Tensor,
    hessian: Tensor,
    keep: Tensor,
    start: Tensor,
    tolerance: float,
    shift: float = 0.0,
    rows: Tensor | None = None,
) -> Descent:
    """Go down from `start` until the J of each row is above its minimum by at most the share `tolerance`.

    Whether it is, is decided by the residual of the weights themselves, in float64. The steps are in the precision of
    the arguments, and begin anew from that residual where rounding has led them astray. A row ends above the tolerance
    after columns / 16 steps, or if it stops going down: then its own Cholesky factor is as fast, or says what is wrong.

    Parameters
    ----------
    weight : dense (rows, columns)
    hessian : (columns, columns), of the same dtype
    keep : (rows, columns), True = stays
    start : (rows, columns) of the same dtype, read where `keep` is True
    tolerance : share of J, more than 0; a J below the rounding of Σ w_j² H_jj counts as that
    shift : added to the diagonal of H_MM
    rows : which are to go down; left out, all
    """
    rows = torch.arange(len(weight), device=weight.device) if rows is None else rows
    B = _preconditioner(hessian, shift) if len(rows) else None  # first, while there is room
    fitted = start.masked_fill(~keep, 0)
    excess = torch.full((len(weight),), torch.inf, dtype=torch.float64, device=weight.device)
    steps = torch.zeros(len(weight), dtype=torch.long, device=weight.device)
    if B is not None:
        for chunk in rows.split(max(_ROWS, len(hessian) // 16)):
            part = Descent(fitted[chunk], excess[chunk], steps[chunk])
            _descend_(part, weight[chunk], hessian, B, keep[chunk], tolerance, shift)
            fitted[chunk], excess[chunk], steps[chunk] = part
    return Descent(fitted, excess, steps)


def product(D: Tensor, hessian: Tensor) -> Tensor:
    """DH in float64, of D in float64, without a copy of H in it."""
    out = torch.empty(D.shape, dtype=torch.float64, device=D.device)
    for part, panel in zip(out.split(_PANEL, dim=1), hessian.split(_PANEL, dim=1), strict=True):
        part.copy_(D @ panel.double())
    return out


def _preconditioner(hessian: Tensor, shift: float) -> Tensor | None:
    """(H + shift · I + λ diag H)⁻¹, or None if there is no Cholesky factor."""
    H = hessian.clone()
    revive_(H)
    H.diagonal().mul_(1 + _RIDGE).add_(shift)
    L, failed = torch.linalg.cholesky_ex(H)
    del H
    return None if failed else torch.cholesky_inverse(L)


def _descend_(found: Descent, W: Tensor, H: Tensor, B: Tensor, keep: Tensor, tolerance: float, shift: float) -> None:
    """`descend` for some rows, in place."""
    fitted, excess, steps = found
    most = max(1, len(H) // _COLUMNS_PER_STEP)
    rounding = torch.finfo(W.dtype).eps * (W.square() @ H.diagonal())
    longest = torch.ones_like(rounding)  # of the steps: where one is above 1, r·z is below the excess
    left = torch.arange(len(W), device=W.device)
    verify = False  # the first residual in the precision of the arguments, which is good enough to begin
    while len(left):
        D, m = W[left].double().sub_(fitted[left]), keep[left].to(W.dtype)
        r = product(D, H) if verify else (D.to(W.dtype) @ H).double()
        if shift:
            r += (shift * D).mul_(m)
        J = D.mul_(r).sum(1).to(W.dtype)
        del D
        r = r.to(W.dtype).mul_(m)
        z = (r @ B).mul_(m)
        rz = torch.linalg.vecdot(r, z)
        if verify:
            excess[left] = (rz * longest[left] / J.maximum(rounding[left])).double()
            going = (excess[left] > tolerance) & (steps[left] < most)
            left, m, r, z, rz, J = (each[going] for each in (left, m, r, z, rz, J))
        rows, v, p = left, fitted[left], z
        while True:
            goal = 0.9 * tolerance * J.maximum(rounding[rows])
            going = (rz * longest[rows] > goal) & (steps[rows] < most)
            if 4 * going.sum() <= 3 * len(rows):  # those that are done go along until it pays to part
                fitted[rows] = v
                rows, v, m, r, p, rz, J, going = (each[going] for each in (rows, v, m, r, p, rz, J, going))
            if not len(rows):
                break
            # The textbook's step, with a row of its own α and β for each row.
            q = (p @ H).add_(p, alpha=shift).mul_(m)
            curvature = torch.linalg.vecdot(p, q)
            alpha = torch.where(curvature > 0, rz / curvature, 0)
            v.addcmul_(alpha[:, None], p)
            r.addcmul_(alpha[:, None], q, value=-1)
            J -= alpha * rz
            z = torch.mm(r, B, out=q).mul_(m)
            before, rz = rz, torch.linalg.vecdot(r, z)
            p = p.mul_(torch.where(before > 0, rz / before, 0)[:, None]).add_(z)
            longest[rows] = longest[rows].maximum(alpha)
            steps[rows] += going
        verify = True
