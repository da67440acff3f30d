"""Damping of the layer problem's Hessian: a share of its mean diagonal is added, and more where that is not enough.

OBS damps in its own way: α starts the recursion of H⁻¹ (OBS-12, `recursion.inverse_hessian`).
"""

import warnings
from numbers import Real

import torch
from torch import Tensor

_SMALLEST = 1e-6  # first try where none was asked for
_LARGEST = 1.0  # the mean of the diagonal itself


def check_damping(damping: float) -> float:
    """Return `damping` if it is a number in [0, 1], else raise ValueError."""
    if not isinstance(damping, Real) or not 0 <= damping <= 1:  # False for nan too
        raise ValueError(f"damping is {damping!r}, must be a number in [0, 1]: a share of the mean of the diagonal")
    return damping


def revive_(hessian: Tensor) -> Tensor:
    """Put 1 on the diagonal of columns that calibration never saw; which these are (columns,)."""
    dead = hessian.diagonal() == 0
    hessian.diagonal()[dead] = 1
    return dead


def cholesky_(hessian: Tensor, damping: float, scale: Tensor) -> Tensor:
    """Lower L with LLᵀ = H + damping · scale · I; where that is not positive definite, with more damping.

    Each further try has ten times the damping, `_LARGEST` at last, and is warned of. `hessian` is (…, n, n),
    and has the damping on its diagonal afterwards; of several, only those that need it get more.

    Raises
    ------
    ValueError
        If no damping helps.
    """
    diagonal = hessian.diagonal(dim1=-2, dim2=-1)
    diagonal.add_(scale * damping)
    used = damping
    while True:
        L, failed = torch.linalg.cholesky_ex(hessian)
        if not failed.any():
            break
        if used >= _LARGEST:
            raise ValueError(
                f"hessian has no Cholesky factor at damping {damping:g}, nor with any up to {_LARGEST:g}: "
                "is it positive semi-definite, as a mean of 2xxᵀ is?"
            )
        used, added = min(max(10 * used, _SMALLEST), _LARGEST), used
        diagonal.add_(torch.where(failed[..., None] > 0, scale * (used - added), 0))
    if used != damping:
        message = f"hessian has no Cholesky factor at damping {damping:g}: it was raised to {used:g}"
        warnings.warn(message, stacklevel=2)
    return L


def inverse(hessian: Tensor, damping: float) -> tuple[Tensor, Tensor]:
    """(H + damping · mean(diag H) · I)⁻¹ in float64, and which columns calibration never saw."""
    H = hessian.to(torch.float64, copy=True)
    dead = revive_(H)
    return torch.cholesky_inverse(cholesky_(H, damping, H.diagonal().mean())), dead
