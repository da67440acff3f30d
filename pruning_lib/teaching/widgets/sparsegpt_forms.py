"""Three forms of pruning a layer, step by step: exact OBS per row, synchronized, with one Cholesky factor."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from pruning_lib.after_training.surgery import saliency, surgery
from pruning_lib.checks import check_sparsity

FORMS = ("exact", "synchronized", "cholesky")
MOST_ROWS, MOST_COLUMNS = 8, 10  # more numbers than that nobody reads


class State(NamedTuple):
    """The layer after one step of one form.

    A mark is "kept", "moved" (makes up for what goes in this step), "now" (pruned in this step), "pruned" or "frozen"
    (stays, and changes no more). `inverses` is what the step used, with zeros for what is gone: the inverse of each row
    (exact), (H_{U_j})⁻¹ (synchronized), the upper Cholesky factor of H⁻¹ (cholesky).
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


def states(weight: Tensor, hessian: Tensor, sparsity: float = 0.5, mask_block: int = 4) -> dict[str, list[State]]:
    """The states of all three forms in float64, the first being the start; without damping.

    "exact" (GPT-3): in each step every row deletes the weight with the smallest w²/[H⁻¹]_qq among those that it has
    left, all others making up for it, and downdates its own H⁻¹. "synchronized" (GPT-5 to GPT-7): step j handles column
    j in all rows with one (H_{U_j})⁻¹; of each block of columns the mask is chosen when it begins, by
    w_j²/[(H_{U_j})⁻¹]_11. "cholesky" (GPT-8): the same with row j of the upper Cholesky factor of H⁻¹ instead.

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
    check_layer(weight, hessian)
    rows, columns = weight.shape
    if not isinstance(mask_block, int) or not 1 <= mask_block <= columns:
        raise ValueError(f"mask_block is {mask_block!r}, must be a number of columns from 1 to {columns}")
    check_sparsity(sparsity)
    for name, count in (("columns", columns), ("rows · mask_block", rows * mask_block)):
        if abs(count * sparsity - round(count * sparsity)) > 1e-9:
            raise ValueError(f"sparsity is {sparsity}: {name} · sparsity is {count * sparsity:g}, must be whole")
    W, H = weight.double(), hessian.double()
    inverses = list(shrinking_inverses(H))
    used = torch.stack([pad(B, columns) for B in inverses])[:, None]
    # GPT-7 in use: step j needs the first row of B = (H_{U_j})⁻¹ and its first entry
    shared = in_order(W, H, sparsity, mask_block, [B[0] / B[0, 0] for B in inverses], [B[0, 0] for B in inverses], used)
    U = torch.linalg.cholesky(torch.linalg.inv(H), upper=True)
    # GPT-8: both are in row j of U, H⁻¹ = UᵀU, from the beginning
    factor_rows, pivots = [U[j, j:] / U[j, j] for j in range(columns)], list(U.diagonal().square())
    factored = in_order(W, H, sparsity, mask_block, factor_rows, pivots, U.expand(columns, 1, -1, -1))
    return {
        "exact": list(per_row(W, H, round(columns * sparsity))),
        "synchronized": list(shared),
        "cholesky": [state._replace(updates=0, entries=0) for state in factored],  # nothing changes in U
    }


def check_layer(weight: Tensor, hessian: Tensor) -> None:
    if weight.ndim != 2 or not (1 <= weight.shape[0] <= MOST_ROWS and 2 <= weight.shape[1] <= MOST_COLUMNS):
        shape = tuple(weight.shape)
        raise ValueError(f"weight has shape {shape}, must be (1 to {MOST_ROWS}, 2 to {MOST_COLUMNS}): all is drawn")
    columns = weight.shape[1]
    if hessian.shape != (columns, columns):
        raise ValueError(f"hessian has shape {tuple(hessian.shape)}, must be {(columns, columns)}")
    for name, tensor in (("weight", weight), ("hessian", hessian)):
        if not torch.isfinite(tensor).all():
            raise ValueError(f"{name} contains values that are not finite, must be finite")
    if not torch.allclose(hessian, hessian.T) or torch.linalg.cholesky_ex(hessian.double()).info:
        raise ValueError("hessian is not symmetric and positive definite, must be: add damping to its diagonal before")


def shrinking_inverses(hessian: Tensor) -> Iterator[Tensor]:
    """(H_{U_1})⁻¹, (H_{U_2})⁻¹, …: the first is the only one that is inverted."""
    B = torch.linalg.inv(hessian)
    while len(B):
        yield B
        # GPT-7: (B − 1/B₁₁ · B_{:,1}B_{1,:})_{2:,2:}
        B = (B - torch.outer(B[:, 0], B[0]) / B[0, 0])[1:, 1:]


def pad(B: Tensor, columns: int) -> Tensor:
    return torch.nn.functional.pad(B, (columns - len(B), 0, columns - len(B), 0))


def layer_error(weight: Tensor, pruned: Tensor, hessian: Tensor) -> float:
    change = weight - pruned
    return float((change @ hessian * change).sum())


def pruned(state: State) -> int:
    """How many weights are gone."""
    return int(np.isin(state.marks, ("now", "pruned")).sum())


def per_row(weight: Tensor, hessian: Tensor, count: int) -> Iterator[State]:
    """`count` weights of each row, each by a surgery of its own (OBS-5, OBS-12)."""
    rows, columns = weight.shape
    w, inverses = weight.clone(), torch.linalg.inv(hessian).repeat(rows, 1, 1)
    marks, none = np.full(weight.shape, "kept", dtype=object), torch.zeros_like(weight, dtype=torch.bool)
    yield State(w.clone(), marks.copy(), none, 0.0, inverses.clone(), [], 0, 0)
    updates = entries = 0
    for step in range(count):
        used, chosen = inverses.clone(), []
        for i in range(rows):
            q = int(saliency(w[i], inverses[i]).argmin())
            w[i], inverses[i] = surgery(w[i], inverses[i], q)
            gone = np.isin(marks[i], ("now", "pruned"))
            marks[i] = np.where(gone, "pruned", "moved")
            marks[i, q] = "now"
            chosen.append(q)
        yield State(w.clone(), marks.copy(), none, layer_error(weight, w, hessian), used, chosen, updates, entries)
        updates, entries = updates + rows, entries + rows * (columns - step - 1) ** 2


def in_order(
    weight: Tensor,
    hessian: Tensor,
    sparsity: float,
    mask_block: int,
    directions: list[Tensor],
    pivots: list[Tensor],
    used: Tensor,
) -> Iterator[State]:
    """Column by column (GPT-6); `directions[j]`: row 1 of (H_{U_j})⁻¹ over its first entry, `pivots[j]`."""
    rows, columns = weight.shape
    w, chosen = weight.clone(), torch.zeros_like(weight, dtype=torch.bool)  # True = pruned, now or later
    yield State(w.clone(), np.full(weight.shape, "kept", dtype=object), chosen.clone(), 0.0, used[0], [], 0, 0)
    updates = entries = 0
    for j in range(columns):
        if j % mask_block == 0:
            block = slice(j, j + mask_block)
            scores = w[:, block].square() / torch.stack(pivots[block])
            chosen[:, block] = ~largest(scores, scores.numel() - round(scores.numel() * sparsity))
        gone = chosen[:, j]
        error = torch.where(gone, w[:, j], 0)
        # GPT-5: only the weights to the right, U_j, are updated
        w[:, j:] -= torch.outer(error, directions[j])
        w[gone, j] = 0
        marks = np.where(chosen.numpy(), "pruned", "frozen").astype(object)
        marks[gone.numpy(), j] = "now"
        marks[:, j + 1 :] = np.where(gone.numpy()[:, None], "moved", "kept")
        planned = chosen.clone()
        planned[:, : j + 1] = False
        yield State(w.clone(), marks, planned, layer_error(weight, w, hessian), used[j], [j] * rows, updates, entries)
        updates, entries = updates + 1, entries + (columns - j - 1) ** 2


def largest(scores: Tensor, count: int) -> Tensor:
    """True for the `count` largest scores, the first of equal ones, column by column."""
    order = scores.T.flatten().argsort(descending=True, stable=True)
    keep = torch.zeros(scores.numel(), dtype=torch.bool)
    keep[order[:count]] = True
    return keep.view(scores.T.shape).T
