"""What the SparseGPT stepper must show, by the library: every state of every form of pruning a small layer,
and inputs as equal as one likes."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from pruning_lib.after_training import sparsegpt
from pruning_lib.teaching.widgets.sparsegpt_forms import FORMS


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


def correlated(hessian: Tensor, rho: float) -> Tensor:
    """H of inputs that keep their strengths, the diagonal, and are all equally correlated: H_ij = ρ √(H_ii H_jj)."""
    strength = hessian.diagonal().sqrt()
    equal = rho * torch.outer(strength, strength)
    return equal.diagonal_scatter(hessian.diagonal())


def states(weight: Tensor, hessian: Tensor, sparsity: float = 0.5, mask_block: int = 4) -> dict[str, list[FormState]]:
    """The states of all three forms in float64, the first being the start; without damping."""
    return {form: list(_states_of(form, weight.double(), hessian.double(), sparsity, mask_block)) for form in FORMS}


def block_weights(weight: Tensor, hessian: Tensor, sparsity: float, mask_block: int) -> list[Tensor]:
    """W at the start and after each mask, column and lazy update of GPT-8, its masks being the library's."""
    columns = weight.shape[1]
    U = torch.linalg.cholesky(torch.linalg.inv(hessian), upper=True)
    _, keep = sparsegpt.prune_weight(weight, hessian, sparsity, block=mask_block, damping=0)
    W, seen = weight.clone(), [weight.clone()]
    for start in range(0, columns, mask_block):
        end = min(start + mask_block, columns)
        seen.append(W.clone())
        E = torch.zeros_like(W[:, start:end])
        for j in range(start, end):
            E[:, j - start] = torch.where(keep[:, j], 0, W[:, j]) / U[j, j]
            W[:, j:end] -= torch.outer(E[:, j - start], U[j, j:end])
            W[~keep[:, j], j] = 0
            seen.append(W.clone())
        W[:, end:] -= E @ U[start:end, end:]
        if end < columns:
            seen.append(W.clone())
    return seen


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
