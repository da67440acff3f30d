"""Three forms of pruning a layer, step by step: exact OBS per row, synchronized, with one Cholesky factor."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from pruning_lib.after_training import sparsegpt
from pruning_lib.checks import check_sparsity

FORMS = ("exact", "synchronized", "cholesky")
_MOST_ROWS, _MOST_COLUMNS = 8, 10  # more numbers than that nobody reads


class FormState(NamedTuple):
    """The layer after one step of one form.

    A mark is "kept", "moved" (makes up for what goes in this step), "now" (pruned in this step), "pruned" or "frozen"
    (stays, and changes no more). `inverses` is what the step used, with zeros for what is gone: the inverse of each row
    (exact), (H_{S_j})⁻¹ (synchronized), the upper Cholesky factor of H⁻¹ (cholesky).
    """

    weight: Tensor  # (rows, columns)
    marks: np.ndarray  # (rows, columns)
    planned: Tensor  # (rows, columns), True = still there, but the mask chosen so far will take it
    error: float  # tr(ΔHΔᵀ) = ‖WX − ŴX‖², Δ = W − Ŵ
    inverses: Tensor  # (rows or 1, columns, columns)
    columns: list[int]  # column that the step handles in each row; empty at the start
    updates: int  # inverses that had to be updated until now
    entries: int  # numbers in them


def example(seed: int = 7) -> tuple[Tensor, Tensor]:
    """A layer W (6, 8) and H = XXᵀ (8, 8) of inputs with variance 1 that share three causes, rounded for reading.

    Seed 7 is an ordinary case: near the median errors of seeds 0 to 59; in 50 of those the exact form has the smaller.
    """
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(6, 8, generator=generator, dtype=torch.float64).round(decimals=1)
    weight[weight == 0] = 0.1
    causes = torch.randn(8, 3, generator=generator, dtype=torch.float64)
    covariance = causes @ causes.T + 0.6 * torch.eye(8, dtype=torch.float64)
    scale = covariance.diagonal().sqrt()
    return weight, (covariance / torch.outer(scale, scale)).round(decimals=2)


def states(weight: Tensor, hessian: Tensor, sparsity: float = 0.5, mask_block: int = 4) -> dict[str, list[FormState]]:
    """The states of all three forms in float64, the first being the start; without damping.

    "exact" (GPT-3): in each step every row deletes the weight with the smallest w²/[H⁻¹]_qq among those that it has
    left, all others making up for it, and downdates its own H⁻¹. "synchronized" (GPT-5 to GPT-7): step j handles column
    j in all rows with one (H_{S_j})⁻¹; of each block of columns the mask is chosen when it begins, by
    w_j²/[(H_{S_j})⁻¹]_11. "cholesky" (GPT-8): the same with row j of the upper Cholesky factor of H⁻¹ instead.

    Parameters
    ----------
    weight, hessian : W (rows, columns), at most 8 × 10, and H = XXᵀ (columns, columns), positive definite
    sparsity : share of zeros; columns · sparsity and rows · mask_block · sparsity must be whole, for all forms to prune
        the same number of weights
    mask_block : columns whose mask is chosen at once

    Raises
    ------
    ValueError : for anything else.
    """
    _check_layer(weight, hessian)
    rows, columns = weight.shape
    if not isinstance(mask_block, int) or not 1 <= mask_block <= columns:
        raise ValueError(f"mask_block is {mask_block!r}, must be a number of columns from 1 to {columns}")
    check_sparsity(sparsity)
    for name, count in (("columns", columns), ("rows · mask_block", rows * mask_block)):
        if abs(count * sparsity - round(count * sparsity)) > 1e-9:
            raise ValueError(f"sparsity is {sparsity}: {name} · sparsity is {count * sparsity:g}, must be whole")
    return {form: list(_states_of(form, weight.double(), hessian.double(), sparsity, mask_block)) for form in FORMS}


def _states_of(form: str, weight: Tensor, hessian: Tensor, sparsity: float, mask_block: int) -> Iterator[FormState]:
    rows, columns = weight.shape
    U = torch.linalg.cholesky(torch.linalg.inv(hessian), upper=True)

    def used(left: Tensor) -> Tensor:
        """What a step works with; `left` (rows, columns): what is there before it."""
        if form == "cholesky":
            return U[None]
        return torch.stack([_inverse(hessian, of_row) for of_row in (left if form == "exact" else left[:1])])

    everything = torch.ones_like(weight, dtype=torch.bool)
    none, start = ~everything, np.full(weight.shape, "kept", dtype=object)
    yield FormState(weight.clone(), start, none, 0.0, used(everything), [], 0, 0)
    place, total = torch.arange(columns), (weight @ hessian * weight).sum().item()
    updated = {"exact": rows, "synchronized": 1, "cholesky": 0}[form]  # inverses that a step leaves behind
    updates = entries = 0
    for step in sparsegpt.steps(weight, hessian, sparsity, block=mask_block, damping=0, form=form):
        q = step.columns[:, None]
        done = ~step.keep if form == "exact" else place <= q
        marks = np.full(weight.shape, "kept", dtype=object)
        gone = ~step.keep
        marks[step.compensated] = "moved"
        marks[done & step.keep] = "frozen"
        marks[done & gone] = "pruned"
        marks[(place == q) & gone] = "now"
        left = ~done | (place == q)  # before this step
        yield FormState(
            step.weight, marks, gone & ~done, step.error * total, used(left), step.columns.tolist(), updates, entries
        )
        updates, entries = updates + updated, entries + updated * (int(left[0].sum()) - 1) ** 2


def _inverse(hessian: Tensor, left: Tensor) -> Tensor:
    """(H_S)⁻¹ of the weights `left` (columns,), with zeros for what is gone."""
    both = torch.outer(left, left)
    return torch.zeros_like(hessian).masked_scatter_(both, torch.linalg.inv(hessian[left][:, left]))


def _check_layer(weight: Tensor, hessian: Tensor) -> None:
    if weight.ndim != 2 or not (1 <= weight.shape[0] <= _MOST_ROWS and 2 <= weight.shape[1] <= _MOST_COLUMNS):
        shape = tuple(weight.shape)
        raise ValueError(f"weight has shape {shape}, must be (1 to {_MOST_ROWS}, 2 to {_MOST_COLUMNS}): all is drawn")
    columns = weight.shape[1]
    if hessian.shape != (columns, columns):
        raise ValueError(f"hessian has shape {tuple(hessian.shape)}, must be {(columns, columns)}")
    for name, tensor in (("weight", weight), ("hessian", hessian)):
        if not torch.isfinite(tensor).all():
            raise ValueError(f"{name} contains values that are not finite, must be finite")
    if not torch.allclose(hessian, hessian.T) or torch.linalg.cholesky_ex(hessian.double()).info:
        raise ValueError("hessian is not symmetric and positive definite, must be: add damping to its diagonal before")
