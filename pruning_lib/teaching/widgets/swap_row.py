"""Swap row: a small row of weights, half of them pruned; what each exchange is worth, and the best of all masks."""

from collections.abc import Mapping
from typing import Any

import torch
import traitlets
from torch import Tensor

from pruning_lib.checks import check_choice
from pruning_lib.teaching.widgets.javascript import Drawn, check_range

MOST = 12  # weights: of half of them there are 924 masks, which the page tries


class SwapRow(Drawn):
    """Exchange a kept weight of a row for a pruned one: the exact change of the refitted error (SW-3) is seen before.

    The error is the least with weights refitted on the mask (SW-1). All is computed on the page, the best of all masks
    too.

    Parameters
    ----------
    weight : a dense row, 4 to 12 weights
    hessian : its H, symmetric and positive definite
    starts : masks (True = stays) by name, all with the same number of kept weights
    start : the mask to begin with, by name; left out, the first
    swaps : exchanges made since, each [kept, pruned] at its time
    out, back : the kept weight that would go, and the pruned one that would come back; where the mask has changed
        since, the first that can

    The last four are traits that follow the page and may be set from Python. Another start has no swaps yet.

    Raises
    ------
    ValueError
        For a row or a Hessian of another shape, or not finite, or that has no inverse; for masks that don't fit, a
        start that is not there, a swap that was not possible and a weight that is not there.
    """

    start = traitlets.Unicode().tag(sync=True)
    swaps = traitlets.List(traitlets.List(traitlets.Int())).tag(sync=True)
    out = traitlets.Int(0).tag(sync=True)
    back = traitlets.Int(0).tag(sync=True)
    row = traitlets.Dict(read_only=True).tag(sync=True)

    def __init__(self, weight: Tensor, hessian: Tensor, starts: Mapping[str, Tensor], **shown: Any):
        _check_row(weight, hessian, starts)
        masks = {name: keep.tolist() for name, keep in starts.items()}
        self.set_trait("row", {"weight": weight.tolist(), "hessian": hessian.tolist(), "starts": masks})
        super().__init__(**{"start": next(iter(masks))} | shown)

    @traitlets.validate("start")
    def _check_start(self, proposal: dict):
        return check_choice("start", proposal["value"], self.row["starts"])

    @traitlets.validate("swaps")
    def _check_swaps(self, proposal: dict):
        keep = list(self.row["starts"][self.start])
        for pair in proposal["value"]:
            q, p = pair if len(pair) == 2 and all(0 <= place < len(keep) for place in pair) else (0, 0)
            if not keep[q] or keep[p]:
                raise ValueError(f"swaps has {pair}, must be the places of a weight kept then and of one pruned then")
            keep[q], keep[p] = False, True
        return proposal["value"]

    @traitlets.validate("out", "back")
    def _check_place(self, proposal: dict):
        return check_range(proposal["trait"].name, proposal["value"], 0, len(self.row["weight"]) - 1)

    @traitlets.observe("start")
    def _start_over(self, change: dict):
        if change["old"]:  # else it is the beginning, and swaps may be given
            self.swaps = []


def _check_row(weight: Tensor, hessian: Tensor, starts: Mapping[str, Tensor]) -> None:
    if weight.ndim != 1 or not 4 <= len(weight) <= MOST or not torch.isfinite(weight).all():
        raise ValueError(f"weight has shape {tuple(weight.shape)}, must be a finite row of 4 to {MOST}: all is drawn")
    size = len(weight)
    if hessian.shape != (size, size) or not torch.isfinite(hessian).all():
        raise ValueError(f"hessian has shape {tuple(hessian.shape)}, must be {(size, size)} and finite")
    if not torch.allclose(hessian, hessian.T) or torch.linalg.cholesky_ex(hessian.double()).info:
        raise ValueError("hessian is not symmetric and positive definite, must be: add damping to its diagonal before")
    counts = {_count(name, keep, size) for name, keep in starts.items()}
    if len(counts) != 1 or not 0 < min(counts) < size:
        raise ValueError(f"starts keep {sorted(counts)} weights, must be masks that keep the same number, not all")


def _count(name: str, keep: Tensor, size: int) -> int:
    if keep.dtype != torch.bool or keep.shape != (size,):
        raise ValueError(f"start {name!r} is {keep.dtype} {tuple(keep.shape)}, must be torch.bool {(size,)}")
    return int(keep.sum())


def example() -> tuple[Tensor, Tensor]:
    """A row of 12 weights and H of inputs that share causes: of notebook 05c's small rows one where swaps stop short.

    From the largest weights three swaps end a third above the best mask; from SparseGPT's mask two swaps find it.
    """
    generator = torch.Generator().manual_seed(23)
    mixing = torch.eye(MOST, dtype=torch.float64)
    mixing += 0.4 * torch.randn(MOST, MOST, dtype=torch.float64, generator=generator)
    X = mixing @ torch.randn(MOST, 60, dtype=torch.float64, generator=generator)
    return torch.randn(10, MOST, dtype=torch.float64, generator=generator)[9], 2 * X @ X.T / 60
