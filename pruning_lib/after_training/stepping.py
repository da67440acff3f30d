"""SparseGPT in slow motion: what a picture of it needs after every step, in three forms of the same idea."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from pruning_lib.after_training.elimination import Choose
from pruning_lib.after_training.exact import pruned_one_by_one
from pruning_lib.after_training.reconstruction import error

FirstRows = Callable[[Tensor], Iterator[Tensor]]  # H⁻¹ -> the first row of (H_{U_j})⁻¹ for each j


@dataclass(frozen=True)
class Step:
    """The layer after one step, in float64."""

    columns: Tensor  # (rows,), the column q that each row handles: the same in all, but for the exact form
    weight: Tensor  # (rows, columns)
    keep: Tensor  # (rows, columns), False = gone, or chosen to go
    pivots: Tensor  # (rows,), [(H_U)⁻¹]_qq; in the Cholesky form U_jj²
    inverse_rows: Tensor  # (rows, columns), row q of (H_U)⁻¹, zero outside of U; in the Cholesky form U_jj · U_j
    compensated: Tensor  # (rows, columns), the weights that make up for the one that goes
    error: float  # ‖WX − ŴX‖² / ‖WX‖² so far


def shrinking(B: Tensor) -> Iterator[Tensor]:
    """First row of (H_{U_1})⁻¹, (H_{U_2})⁻¹, … from B = H⁻¹, by GPT-7 for each column."""
    while len(B):
        yield B[0]
        # GPT-7: (B − B_{:,1} B_{1,:} / B₁₁)_{2:,2:}
        B = (B - torch.outer(B[:, 0], B[0]) / B[0, 0])[1:, 1:]


def factored(B: Tensor) -> Iterator[Tensor]:
    """The same rows, read from U = Cholesky(H⁻¹)ᵀ: U_jj · U_j."""
    U = torch.linalg.cholesky(B, upper=True)
    for j in range(len(U)):
        yield U[j, j] * U[j, j:]


def column_steps(
    weight: Tensor, hessian: Tensor, B: Tensor, dead: Tensor, group: int, choose: Choose, first_rows: FirstRows
) -> Iterator[Step]:
    """Column by column with the first row of (H_{U_j})⁻¹, one for all rows of the weight (GPT-6).

    B, dead : of `damping.inverse`
    """
    W = weight.detach().double().masked_fill(dead, 0)
    rows, columns = W.shape
    keep = torch.ones_like(W, dtype=torch.bool)
    firsts = list(first_rows(B))
    for j, first in enumerate(firsts):
        if j % group == 0:
            here = slice(j, min(j + group, columns))
            pivots = torch.stack([row[0] for row in firsts[here]])
            keep[:, here] = choose((W[:, here].abs() / pivots.sqrt()).T).T
        gone = ~keep[:, j]
        # w_U ← w_U − w_j / [(H_{U_j})⁻¹]_11 · row 1 of (H_{U_j})⁻¹
        W[gone, j:] -= torch.outer(W[gone, j] / first[0], first)
        W[gone, j] = 0
        inverse_row = torch.nn.functional.pad(first, (j, 0)).expand(rows, -1)
        yield Step(
            torch.full((rows,), j, device=W.device),
            W.clone(),
            keep.clone(),
            first[0].expand(rows),
            inverse_row,
            gone[:, None] & (torch.arange(columns, device=W.device) > j),
            error(weight.double(), W, hessian),
        )


def exact_steps(
    weight: Tensor, hessian: Tensor, B: Tensor, dead: Tensor, count: int, n_m: tuple[int, int] | None
) -> Iterator[Step]:
    """One weight of every row at a time, `count` of each, every row with its own inverse (GPT-3)."""
    W = weight.detach().double().masked_fill(dead, 0)
    keep = torch.ones_like(W, dtype=torch.bool)
    for q, _, pruned, inverse_row in pruned_one_by_one(W, B, n_m, count):
        keep = keep.scatter(1, q[:, None], False)
        pivots = inverse_row.gather(1, q[:, None])[:, 0]
        yield Step(q, pruned, keep, pivots, inverse_row, keep, error(weight.double(), pruned, hessian))
