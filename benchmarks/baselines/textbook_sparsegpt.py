"""SparseGPT as its paper writes it (Frantar and Alistarh 2023, Algorithm 1), line by line: the standard of truth.

Two choices the paper leaves open are made as in the library: a block loses exactly round(rows · block · sparsity)
weights (the paper's "lowest p %"), of equal scores the first column by column staying, and columns that calibration
never saw get H_jj = 1 and weights of zero.
"""

import torch
from torch import Tensor


def prune_weight(
    weight: Tensor,
    hessian: Tensor,
    sparsity: float | None = None,
    n_m: tuple[int, int] | None = None,
    block: int = 128,
    damping: float = 0.01,
) -> tuple[Tensor, Tensor]:
    """The pruned weight and its mask M (True = stays). Right-looking: every error is pushed to all columns after it."""
    W, H = weight.clone(), hessian.clone()
    columns = W.shape[1]
    dead = H.diagonal() == 0
    H[dead, dead] = 1
    W[:, dead] = 0
    H.diagonal().add_(damping * H.diagonal().mean())
    # H⁻¹ ← Cholesky(H⁻¹)ᵀ
    U = torch.linalg.cholesky(torch.cholesky_inverse(torch.linalg.cholesky(H)), upper=True)
    M = torch.ones_like(W, dtype=torch.bool)
    for i in range(0, columns, block):
        end = min(i + block, columns)
        W_block, U_block = W[:, i:end].clone(), U[i:end, i:end]
        M_block, E = M[:, i:end], torch.zeros_like(W_block)
        if n_m is None:
            gone = W_block.numel() - round(W_block.numel() * (1 - sparsity))
            M_block[:] = lowest_out(W_block**2 / U_block.diagonal() ** 2, gone)
        for j in range(end - i):
            if n_m is not None and j % n_m[1] == 0:
                n, m = n_m
                scores = W_block[:, j : j + m] ** 2 / U_block.diagonal()[j : j + m] ** 2
                lowest = torch.topk(scores, m - n, dim=1, largest=False).indices
                M_block[:, j : j + m].scatter_(1, lowest, False)
            # E_j = (W_j − M_j ⊙ W_j) / U_jj, then W_{j:} ← W_{j:} − E_j U_{j,j:}
            w = W_block[:, j].clone()
            q = torch.where(M_block[:, j], w, 0)
            E[:, j] = (w - q) / U_block[j, j]
            W_block[:, j:] -= torch.outer(E[:, j], U_block[j, j:])
            W_block[:, j] = q
        W[:, i:end] = W_block
        # lazy update of everything to the right of the block
        W[:, end:] -= E @ U[i:end, end:]
    return W, M


def lowest_out(scores: Tensor, count: int) -> Tensor:
    """False for the `count` lowest scores, by sorting; of equal ones the last in order of columns go first."""
    flat = scores.T.flatten()
    order = flat.flip(0).sort(stable=True).indices
    keep = torch.ones_like(flat, dtype=torch.bool)
    keep[len(flat) - 1 - order[:count]] = False
    return keep.view(scores.T.shape).T
