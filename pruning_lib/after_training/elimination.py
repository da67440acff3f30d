"""The heart of SparseGPT: one triangular factor of the damped Hessian, and one pass over the columns with it.

With T unit upper triangular, H = T·diag(p²)·Tᵀ splits the layer error of D = W − Q, what pruning takes away:

    tr(D H Dᵀ) = Σ_j p_j² ‖(D T)_j‖²,   (D T)_j = d_j + Σ_{i<j} d_i T_ij

Column j may choose d_j only, knowing those before it: a weight that stays takes d_j = −Σ_{i<j} d_i T_ij and adds no
error, one that goes has d_j = w_j. Updating all columns to the right by the rows of U = Cholesky(H⁻¹)ᵀ comes to the
same (GPT-8), since U_jj² = [(H_{U_j})⁻¹]_11 = 1/p_j² and U_j/U_jj is row j of T⁻¹. But here no inverse of H is needed,
and each weight is written once. They are kept transposed, (columns, rows), so that a column lies together in memory.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from pruning_lib.after_training.damping import cholesky_, revive_

_LAZY = 128  # columns whose compensation is one matrix product
_PANEL = 32  # columns whose compensation is a matrix-vector product each

Choose = Callable[[Tensor], Tensor]  # scores (columns, rows) of a group -> what stays
Round = Callable[[Tensor], Tensor]  # weights (…, rows) -> the nearest values allowed


def factor(hessian: Tensor, damping: float, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    """T (unit upper triangular) and p > 0 with T·diag(p²)·Tᵀ = H + damping · mean(diag H) · I; and the dead columns.

    With P the reversal of the order, PHP = LLᵀ gives H = (PLP)(PLP)ᵀ, and PLP is upper triangular.
    """
    H = hessian.to(dtype).flip((0, 1))
    dead = revive_(H).flip(0)
    L = cholesky_(H, damping, H.diagonal().mean())
    del H  # three matrices of this size at a time are enough
    T = L.flip((0, 1))
    pivots = T.diagonal().clone()
    return T.div_(pivots), pivots, dead


def eliminate_(
    W: Tensor, T: Tensor, pivots: Tensor, group: int, choose: Choose, rounded: Round | None = None
) -> tuple[Tensor, Tensor]:
    """Prune `W` (columns, rows) from the first column to the last. W becomes D = W − Q; returns D and the mask.

    Parameters
    ----------
    W : weights, transposed
    T, pivots : of `factor`
    group : at every `group`-th column the mask of the next `group` columns is chosen, from the weights as they are then
    choose : gets the scores |w_j|·p_j = |w_j|/√[(H_{U_j})⁻¹]_11 (columns of the group, rows)
    rounded : to what values weights that stay are rounded; the columns to the right make up for that too
    """
    columns, _ = W.shape
    D = W  # a column's weights are not needed once its d is known
    keep = torch.empty(W.shape, dtype=torch.bool, device=W.device)
    lazy = max(1, _LAZY // group) * group
    for b in range(0, columns, lazy):
        ahead = slice(b, min(b + lazy, columns))
        # −Σ_{i<b} d_i T_ij: what d_j is if w_j stays, up to the columns of the batch that come before it
        answers = torch.mm(T[:b, ahead].T, D[:b]).neg_()  # (batch, rows)
        for g in range(b, ahead.stop, group):
            here = slice(g, min(g + group, ahead.stop))
            answer = answers[g - b : here.stop - b]
            if g > b:
                answer.addmm_(T[b:g, here].T, D[b:g], alpha=-1)
            # If all of the group stayed, d T_gg = answer: then W − d is what the reference has at this point.
            d = torch.linalg.solve_triangular(T[here, here], answer.T, upper=True, left=False, unitriangular=True).T
            keep[here] = choose(torch.sub(W[here], d, out=d).abs_().mul_(pivots[here, None]))
            del d
            stays = keep[here].to(W.dtype)
            original = W[here].clone() if rounded is not None else None
            D[here] *= 1 - stays  # d = w of those that go
            for p in range(g, here.stop, _PANEL):
                panel = slice(p, min(p + _PANEL, here.stop))
                late = answer[p - g : panel.stop - g]
                if p > g:
                    late.addmm_(T[g:p, panel].T, D[g:p], alpha=-1)
                for j in range(p, panel.stop):
                    d_j = late[j - p]
                    if j > p:
                        d_j.addmv_(D[p:j].T, T[p:j, j], alpha=-1)
                    if original is not None:
                        torch.sub(original[j - g], rounded(original[j - g] - d_j), out=d_j)
                    D[j].addcmul_(stays[j - g], d_j)  # a third of the time of torch.where
    return D, keep
