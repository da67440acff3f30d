"""The Hessian of the squared error and its inverse, from the rows of the Jacobian (Hassibi and Stork 1993)."""

import math
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

Rows = Tensor | Iterable[Tensor]


def hessian(rows: Rows, samples: int | None = None) -> Tensor:
    """H = 1/P Σ_k Σ_l X_l^[k] X_l^[k]ᵀ (OBS-9), (n, n) in float64; arguments and errors as in `inverse_hessian`."""
    samples = _check_samples(rows, samples)
    H = None
    for X in row_blocks(rows, 256):
        H = X.new_zeros(X.shape[1], X.shape[1]) if H is None else H
        # OBS-10: H_{m+1} = H_m + 1/P X^[m+1] X^[m+1]ᵀ
        H.addmm_(X.T, X, alpha=1 / samples)
    return H


def inverse_hessian(rows: Rows, alpha: float, samples: int | None = None, block: int = 256) -> Tensor:
    """(H + αI)⁻¹ (n, n) by the recursion OBS-12, in float64: no matrix of the network's size is ever inverted.

    Many rows go in at a time by the matrix inversion lemma (OBS-11 with A = H_m + αI, B = Xᵀ, C = I/P, D = X), which
    multiplies matrices where the printed recursion updates by one row: the same up to rounding. About 4·rows·n²
    operations, and the memory of one n×n matrix and a few blocks of rows.

    What is subtracted from α⁻¹I leaves a rounding error of about 1e-16/α to 2e-15/α in an entry, one row at a time or
    many, most where H is singular: up to 2e-7 at α = 1e-8. An entry of that size, as where H_qq is
    1e15·α or more, is nothing but rounding.

    Parameters
    ----------
    rows : a tensor (rows, n) or an iterable of such blocks, as from `jacobian_rows`; one row per sample and output
    alpha : α > 0, 1e-8 to 1e-4 in the paper. H + αI is the Hessian of E + α/2·‖w‖²: with α the weight decay of the
        training, it is the Hessian of what was minimized
    samples : P, by which the sum is divided; 1 gives the Hessian of the summed error. Left out, the number of rows
        (one output per sample); an iterable does not tell it, so there it must be given
    block : rows that go in at a time; 1 is OBS-12 as printed

    Raises
    ------
    ValueError
        If `alpha` is not positive, `samples` or `block` is below 1 or missing, there is no row, or one is not finite.
    """
    check_alpha(alpha)
    samples = _check_samples(rows, samples)
    if block < 1:
        raise ValueError(f"block is {block}, must be at least 1")
    H_inv = None
    for X in row_blocks(rows, block):
        identity = torch.eye(len(X), dtype=X.dtype, device=X.device)
        if H_inv is None:
            # OBS-12: H⁻¹_0 = α⁻¹ I
            H_inv = torch.eye(X.shape[1], dtype=X.dtype, device=X.device).div_(alpha)
        # OBS-12: H⁻¹_{m+1} = H⁻¹_m − H⁻¹_m Xᵀ (P·I + X H⁻¹_m Xᵀ)⁻¹ X H⁻¹_m; for one row the inverse is a division
        XH = X @ H_inv
        lower, failed = torch.linalg.cholesky_ex(torch.addmm(identity, XH, X.T, beta=samples))
        if failed:
            raise ValueError(
                f"alpha is {alpha:g}, too small for rows as large as {X.abs().max().item():.3g} in float64"
            )
        # With LLᵀ the matrix in the middle, the update is VᵀV, V = L⁻¹XH⁻¹_m.
        V = torch.linalg.solve_triangular(lower, XH, upper=False)
        H_inv.addmm_(V.T, V, alpha=-1)
    return H_inv


def row_blocks(rows: Rows, size: int) -> Iterator[Tensor]:
    """The same rows in float64 and in blocks of `size` (the last may be smaller), however they come; checked."""
    waiting, columns, number = [], None, 0
    for part in [rows] if isinstance(rows, Tensor) else rows:
        columns = part.shape[-1] if columns is None else columns
        if part.ndim != 2 or part.shape[1] != columns:
            raise ValueError(f"rows have shape {tuple(part.shape)}, must be (rows, {columns}): one column per weight")
        for piece in part.detach().split(size):
            if not torch.isfinite(piece).all():
                bad = number + int((~torch.isfinite(piece)).any(1).nonzero()[0])
                raise ValueError(f"row {bad} of the Jacobian is not finite: are the weights and the inputs?")
            number += len(piece)
            waiting.append(piece.double())
            if sum(map(len, waiting)) >= size:
                whole = torch.cat(waiting)
                yield whole[:size]
                waiting = [whole[size:]] if len(whole) > size else []
    if waiting:
        yield torch.cat(waiting)
    if not number or not columns:
        raise ValueError("rows is empty, must hold at least one row with at least one column")


def _check_samples(rows: Rows, samples: int | None) -> int:
    if samples is None and isinstance(rows, Tensor):
        return max(len(rows), 1)
    if samples is None or samples < 1:
        raise ValueError(f"samples is {samples}, must be the number of samples (1 for the Hessian of the summed error)")
    return samples


def check_alpha(alpha: float) -> float:
    if not (alpha > 0 and math.isfinite(alpha)):
        raise ValueError(f"alpha is {alpha}, must be a finite number > 0: without it the first inverse does not exist")
    return alpha
