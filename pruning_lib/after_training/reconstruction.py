"""The layer problem: ‖WX − ŴX‖² for a pruned Ŵ (GPT-1), and its exact answer on a given mask (GPT-2).

All of it needs X through the Hessian H = XXᵀ only (GPT-4, up to a factor), the same matrix for every row of W.
"""

from numbers import Real

import torch
from torch import Tensor

from pruning_lib.after_training.conjugate_gradients import descend, product
from pruning_lib.after_training.damping import check_damping, cholesky_
from pruning_lib.checks import check_at_least, check_sparsity
from pruning_lib.precision import without_autocast

_FEW = 128  # weights of a row, up to which its exact solution is quick
_ROWS = 128  # exact solutions whose right-hand sides are computed together


class Hessian:
    """H = mean of 2xxᵀ over all inputs x of a layer (GPT-4, up to a factor), gathered batch by batch.

    The sum is what is kept, so any split of the same inputs into batches gives the same matrix, up to rounding. The
    mean and the factor 2 are the reference's; neither changes a mask, nor what damping relative to the diagonal means.

    >>> hessian = Hessian(3).add(torch.randn(10, 3)).add(torch.randn(5, 3))
    >>> hessian.matrix.shape
    torch.Size([3, 3])

    Parameters
    ----------
    columns : inputs of the layer
    dtype : of the sum and the products. float32 errs by about 1e-6 of the diagonal, far below the damping of 0.01, at
        half the memory and time; float64 is for comparing methods exactly. Half precision would lose the small terms.
    device : where the inputs will be
    diagonal : gather the diagonal only, (columns,): means of 2x²
    """

    def __init__(
        self,
        columns: int,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
        diagonal: bool = False,
    ):
        check_at_least(1, columns=columns)
        if dtype not in (torch.float32, torch.float64):
            raise ValueError(f"dtype is {dtype}, must be torch.float32 or torch.float64")
        self.sum = torch.zeros((columns,) * (2 - diagonal), dtype=dtype, device=device)
        self.count = 0

    def add(self, inputs: Tensor) -> "Hessian":
        """Take in `inputs` (…, columns): all dimensions but the last are samples, tokens or places. Returns itself."""
        if inputs.ndim == 0 or inputs.shape[-1] != len(self.sum):
            raise ValueError(f"inputs has shape {tuple(inputs.shape)}, must be (…, {len(self.sum)})")
        X = inputs.detach().reshape(-1, len(self.sum)).to(self.sum)
        if self.sum.ndim == 1:
            self.sum += X.square().sum(0)
        else:
            self.sum.addmm_(X.T, X)
        self.count += len(X)
        return self

    @property
    def matrix(self) -> Tensor:
        """H (columns, columns), or its diagonal. ValueError if nothing was added, or something that is not finite."""
        if self.count == 0:
            raise ValueError("hessian has seen no inputs, must have at least one")
        return _check_hessian(self.sum * (2 / self.count), len(self.sum), or_diagonal=self.sum.ndim == 1)


def _check_hessian(hessian: Tensor, columns: int, or_diagonal: bool = False) -> Tensor:
    """Return `hessian` if it is finite, (columns, columns) or perhaps its diagonal alone, and that not negative."""
    shapes = [(columns, columns), (columns,)][: 1 + or_diagonal]
    if hessian.shape not in shapes:
        allowed = " or ".join(map(str, shapes))
        raise ValueError(f"hessian has shape {tuple(hessian.shape)}, must be {allowed} for these weights")
    if not hessian.is_floating_point() or not all(torch.isfinite(extreme) for extreme in hessian.aminmax()):
        raise ValueError(f"hessian ({hessian.dtype}) contains nan or inf, must be finite: were the inputs?")
    if (lowest := (hessian if hessian.ndim == 1 else hessian.diagonal()).min()) < 0:
        raise ValueError(f"hessian has {lowest.item():g} on its diagonal, must be a mean of 2xxᵀ")
    return hessian


def _check_weight(weight: Tensor) -> Tensor:
    """Return `weight` if it is a finite matrix (rows, columns), else raise ValueError."""
    if weight.ndim != 2 or not weight.numel():
        raise ValueError(f"weight has shape {tuple(weight.shape)}, must be (rows, columns), not empty")
    if not weight.is_floating_point() or not all(torch.isfinite(extreme) for extreme in weight.aminmax()):
        raise ValueError(f"weight ({weight.dtype}) contains nan or inf, must be finite")
    return weight


@without_autocast
def error(weight: Tensor, pruned: Tensor, hessian: Tensor) -> float:
    """‖WX − ŴX‖² / ‖WX‖² over the calibration inputs (GPT-1), from H alone: tr(D H Dᵀ) / tr(W H Wᵀ), D = W − Ŵ.

    0: the layer computes what it did. 1: as bad as a layer of zeros.

    Raises
    ------
    ValueError
        If shapes do not fit, something is not finite, or WX = 0.
    """
    _check_weight(weight), _check_weight(pruned), _check_hessian(hessian, weight.shape[1])
    if pruned.shape != weight.shape:
        raise ValueError(f"pruned has shape {tuple(pruned.shape)}, must be {tuple(weight.shape)} as weight")
    dtype = torch.promote_types(torch.promote_types(weight.dtype, hessian.dtype), torch.float32)
    W, D, H = weight.to(dtype), weight.to(dtype) - pruned.to(dtype), hessian.to(dtype)
    total = (W @ H).mul_(W).sum().item()
    if total <= 0:
        raise ValueError(f"‖WX‖² is {total:g}, must be positive: the dense layer puts out zeros")
    return (D @ H).mul_(D).sum().item() / total


@without_autocast
def refit(
    weight: Tensor,
    hessian: Tensor,
    keep: Tensor,
    damping: float = 0.0,
    start: Tensor | None = None,
    tolerance: float = 0.001,
) -> Tensor:
    """The weights on a given mask that come closest to the dense layer's outputs, row by row (GPT-2).

    w_M = (X_M X_Mᵀ)⁻¹ X_M (wX)ᵀ. All rows go there together by conjugate gradients, a product with H and one with its
    preconditioner per step, until each row's error is within `tolerance` of the least: `conjugate_gradients.descend`,
    which also tells what is left. Rows that do not get there soon, or that keep so few weights that it takes no longer
    (up to 128, or kept³ ≤ 16 · columns²), are solved exactly: by a Cholesky factor of their own in float64.

    Parameters
    ----------
    weight : dense (rows, columns)
    hessian : (columns, columns), as of `Hessian`
    keep : (rows, columns), True = stays
    damping : added to the diagonal, as a share of its mean. With fewer inputs than weights kept in a row H_MM has no
        inverse: then, for a row solved by Cholesky, damping is raised stepwise until it has one, with a warning. A
        column that calibration never saw keeps its weights.
    start : (rows, columns), weights to begin from, read where `keep` is True; left out, the dense ones
    tolerance : how much more than the least a row's error may be, as a share of it; below the rounding of `weight` and
        `hessian`'s common dtype nothing counts. 0: the exact solution

    Raises
    ------
    ValueError
        If shapes do not fit, something is not finite, damping or tolerance is not in [0, 1], or a row's H_MM has no
        Cholesky factor even with damping raised.
    """
    _check_weight(weight), _check_hessian(hessian, weight.shape[1]), check_damping(damping), check_keep(weight, keep)
    if not isinstance(tolerance, Real) or not 0 <= tolerance <= 1:  # False for nan too
        raise ValueError(f"tolerance is {tolerance!r}, must be a number in [0, 1]: a share of the least error")
    if start is not None and (start.shape != weight.shape or not torch.isfinite(start).all()):
        raise ValueError(f"start has shape {tuple(start.shape)}, must be {tuple(weight.shape)} as weight, and finite")
    dtype = torch.promote_types(torch.promote_types(weight.dtype, hessian.dtype), torch.float32)
    W, H = weight.detach().to(dtype), hessian.to(dtype)
    dead = H.diagonal() == 0
    scale = torch.where(dead, 1, H.diagonal()).double().mean()
    kept = keep.sum(dim=1)
    # Cholesky in float64 takes kept³/3 operations, the usual ten steps and their preparation about 50 · columns².
    many = (kept > _FEW) & (kept**3 > 16 * len(H) ** 2) & (tolerance > 0)
    start = W if start is None else start.detach().to(dtype)
    fitted, excess, _ = descend(W, H, keep, start, tolerance, damping * scale.item(), many.nonzero()[:, 0])
    fitted[:, dead] = W[:, dead].masked_fill(~keep[:, dead], 0)
    left = (~(excess <= tolerance)).nonzero()[:, 0]
    for rows in left.split(_ROWS):
        # For the change of what stays: H_MM (ŵ_M − w_M) = H_MP w_P, P what goes.
        targets = product(W[rows].double().masked_fill(keep[rows], 0), H)
        for row, target in zip(rows.tolist(), targets, strict=True):
            M = keep[row].nonzero()[:, 0]
            H_MM = H[M][:, M].double()
            H_MM.diagonal()[dead[M]] = 1
            change = torch.cholesky_solve(target[M, None], cholesky_(H_MM, damping, scale))[:, 0]
            fitted[row, M] = (W[row, M] + change).to(dtype)
    return fitted.to(weight.dtype)


def check_keep(weight: Tensor, keep: Tensor) -> None:
    """Raise ValueError unless `keep` is a mask for `weight`."""
    if keep.dtype != torch.bool or keep.shape != weight.shape:
        kind = f"{keep.dtype} {tuple(keep.shape)}"
        raise ValueError(f"keep is {kind}, must be torch.bool {tuple(weight.shape)}: True = stays")


def check_problem(
    weight: Tensor, hessian: Tensor, sparsity: float | None, n_m: tuple[int, int] | None, or_diagonal: bool = False
) -> None:
    """Raise ValueError unless `weight` and `hessian` are those of one layer, and the target is one for it."""
    _check_weight(weight)
    _check_hessian(hessian, weight.shape[1], or_diagonal)
    check_target(sparsity, n_m, weight.shape[1])


def check_target(sparsity: float | None, n_m: tuple[int, int] | None, columns: int | None = None) -> None:
    """Raise ValueError unless exactly one of `sparsity` and `n_m` is given, is possible, and fits `columns`."""
    if (sparsity is None) == (n_m is None):
        raise ValueError(f"sparsity is {sparsity!r} and n_m is {n_m!r}, must be exactly one of them")
    if n_m is None:
        check_sparsity(sparsity)
        return
    pair = isinstance(n_m, tuple | list) and len(n_m) == 2 and all(isinstance(part, int) for part in n_m)
    if not pair or not 1 <= n_m[0] <= n_m[1]:
        raise ValueError(f"n_m is {n_m!r}, must be whole numbers (n, m), 1 <= n <= m: n of every m stay")
    if columns is not None and columns % n_m[1]:
        raise ValueError(f"weight has {columns} columns, must be a multiple of m = {n_m[1]}")
