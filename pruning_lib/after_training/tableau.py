"""The tableau of a row of the layer problem: what any exchange of a kept and a pruned weight does to its error.

It is H with the border Hw and the corner wHw, swept on the kept columns M (Gauss-Jordan pivots, symmetric):

    T = [ −B    C    v_M ]      B = (H_MM)⁻¹, C = B H_MP, v_M = the refitted weights (GPT-2)
        [ Cᵀ    S    r_P ]      S = H_PP − H_PM B H_MP, r = H(w − v): what they leave over
        [ v_M   r_P  e   ]      e = (w − v)H(w − v)ᵀ, the error of the row

Adding p lowers e by r_p²/S_pp, removing q raises it by v_q²/B_qq, and both together lower it by

    gain(q, p) = (B_qq r_p² + 2 C_qp v_q r_p − S_pp v_q²) / (B_qq S_pp + C_qp²)

after which two sweeps, on p and on q, bring T up to date. Sweeping commutes with leaving out rows and columns, so all
this holds for some of the columns too.

Sources: Beaton 1964 (sweeping), Miller 1984 (exchanges in the choice of regression variables).
"""

import torch
from torch import Tensor


def swap_(
    T: Tensor, columns: Tensor, kept: int, group: Tensor | None, made: Tensor, left: Tensor, least: Tensor
) -> None:
    """Exchange a kept and a pruned place of each tableau, the best pair first, until none pays.

    Parameters
    ----------
    T : (rows, places + 1, places + 1), symmetric, of each row's own places; changed
    columns : (rows, places), the columns that stand in the places; changed, so that those of the first `kept` stay
    kept : so many places are kept
    group : (rows, places); only places of the same group are exchanged. None: all may be
    made : (rows,), how many exchanges were made; changed
    left : (rows,), how many may be
    least : (rows,), what an exchange must lower the error by
    """
    rows = torch.arange(len(T), device=T.device)  # of `columns`, that T still has
    pruned = T.shape[1] - 1 - kept
    while len(rows):
        gains = _gains(T, kept)
        if group is not None:
            gains.masked_fill_(group[rows, :kept, None] != group[rows, None, kept:], -torch.inf)
        best, place = gains.flatten(1).max(1)
        on = (best > least[rows]) & (made[rows] < left[rows])
        if 2 * int(on.sum()) <= len(rows):
            rows, T, place, on = rows[on], T[on], place[on], on[on]
        q, p = place // pruned, kept + place % pruned
        _sweep_(T, p, on), _sweep_(T, q, on)
        p = torch.where(on, p, q)
        _exchange_(T, q, p)
        here = columns[rows]
        _exchange_(here, q, p)
        columns[rows] = here
        made[rows] += on


def _gains(T: Tensor, kept: int) -> Tensor:
    """What exchanging kept q for pruned p lowers the error by, for all pairs (rows, q, p)."""
    C, diagonal = T[:, :kept, kept:-1], T.diagonal(dim1=1, dim2=2)
    B, S = -diagonal[:, :kept], diagonal[:, kept:-1]
    v, r = T[:, -1, :kept], T[:, -1, kept:-1]
    # (B_qq r_p² + 2 C_qp v_q r_p − S_pp v_q²) / (B_qq S_pp + C_qp²)
    gains = torch.stack((B, -v.square()), 2) @ torch.stack((r.square(), S), 1)
    gains.addcmul_(C * (2 * v)[:, :, None], r[:, None, :])
    return gains.div_(torch.addcmul(C.square(), B[:, :, None], S[:, None, :]))


def _sweep_(T: Tensor, k: Tensor, on: Tensor) -> None:
    """Sweep tableau i on its k_i-th row and column, where `on`: kept becomes pruned, and pruned kept."""
    rows = torch.arange(len(T), device=T.device)
    column = T[rows, k]
    pivot = column[rows, k, None]
    T.baddbmm_((column * on[:, None])[:, :, None], (column / -pivot)[:, None, :])
    swept = column / pivot.abs()
    swept[rows, k] = -1 / pivot[:, 0]
    T[rows, k] = T[rows, :, k] = torch.where(on[:, None], swept, column)


def _exchange_(T: Tensor, i: Tensor, j: Tensor) -> None:
    """Exchange places i and j of every dimension but the first; both differ from row to row."""
    rows = torch.arange(len(T), device=T.device)
    T[rows, i], T[rows, j] = T[rows, j], T[rows, i]
    if T.ndim == 3:
        T[rows, :, i], T[rows, :, j] = T[rows, :, j], T[rows, :, i]
