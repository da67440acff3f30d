"""One surgery of Optimal Brain Surgeon: what it would cost, and how it is done (Hassibi and Stork 1993)."""

import math

import torch
from torch import Tensor


def saliency(w: Tensor, H_inv: Tensor) -> Tensor:
    """L_q = ½ w_q²/[H⁻¹]_qq (OBS-5) of every weight, (n,): by how much E rises when q goes and all others follow.

    ∞ for a weight that is gone already: its row of H⁻¹ is zero (see `surgery`). Raises ValueError if shapes do not
    fit, or w or a diagonal entry is not finite or negative: then H⁻¹ is not the inverse of a positive definite matrix.
    """
    diagonal = _check_pair(w, H_inv).diagonal()
    if not (torch.isfinite(w).all() and torch.isfinite(diagonal).all() and (diagonal >= 0).all()):
        raise ValueError(f"w or the diagonal of H_inv (smallest: {diagonal.min().item()}) is not finite or negative")
    # OBS-5: L_q = ½ w_q² / [H⁻¹]_qq
    return torch.where(diagonal > 0, w.square() / (2 * diagonal), math.inf)


def surgery(w: Tensor, H_inv: Tensor, q: int) -> tuple[Tensor, Tensor]:
    """Delete weight q and readjust all others (OBS-5); return the new w (n,) and the H⁻¹ (n, n) of those left.

    w_q is exactly 0 afterwards (OBS-2). H⁻¹ is downdated: without row and column q it is the inverse of H without
    them. They stay in place as zeros, so that indices keep their meaning and a weight once gone never moves again.

    Raises ValueError if q is not an index of w, or is gone already. The arguments are unchanged.
    """
    _check_pair(w, H_inv)
    if not 0 <= q < len(w):
        raise ValueError(f"q is {q}, must be an index of w: 0 to {len(w) - 1}")
    if not H_inv[q, q] > 0:
        raise ValueError(
            f"q is {q}, where H_inv has {H_inv[q, q].item()}, must be positive: is that weight gone already?"
        )
    w, H_inv = w.clone(), H_inv.clone()
    surgery_(w, H_inv, q)
    return w, H_inv


def surgery_(w: Tensor, H_inv: Tensor, q: int) -> None:
    """`surgery` in place."""
    column = H_inv[:, q].clone()
    # OBS-5: δw = −w_q/[H⁻¹]_qq · H⁻¹e_q
    w.sub_(column * (w[q] / column[q]))
    w[q] = 0  # not only up to rounding
    # OBS-12, the downdate: H⁻¹ − H⁻¹e_q e_qᵀH⁻¹/[H⁻¹]_qq
    H_inv.addr_(column, column / column[q], alpha=-1)
    H_inv[q, :] = 0
    H_inv[:, q] = 0


def _check_pair(w: Tensor, H_inv: Tensor) -> Tensor:
    if w.ndim != 1 or H_inv.shape != (len(w), len(w)):
        raise ValueError(f"w and H_inv have shapes {tuple(w.shape)} and {tuple(H_inv.shape)}, must be (n,) and (n, n)")
    return H_inv
