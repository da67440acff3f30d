"""SparseGPT stepper: one small layer, pruned step by step, block by block, and changed by hand."""

import torch
import traitlets
from torch import Tensor

from pruning_lib.checks import check_choice, check_sparsity
from pruning_lib.teaching.widgets.javascript import Drawn, check_range
from pruning_lib.teaching.widgets.sparsegpt_forms import FORMS, VIEWS, check_layer


class SparseGPTStepper(Drawn):
    """Prune a small layer in three forms of one idea; the page computes in float64 what it draws, without damping.

    The view "steps" compares the forms. "exact" (GPT-3): in each step every row deletes the weight with the smallest
    w²/[H⁻¹]_qq that it has left, all others making up for it. "synchronized" (GPT-5 to GPT-7): step j handles column j
    in all rows with one (H_{S_j})⁻¹; of each block of columns the mask is chosen when it begins. "cholesky" (GPT-8):
    the same, read from one factor of H⁻¹. The view "blocks" shows GPT-8 as it runs: mask, updates inside the block, one
    lazy update of what is right of it. In the view "layer" weights and H are changed by hand, and all inputs made
    equally correlated.

    Parameters
    ----------
    weight, hessian : W (rows, columns), at most 8 × 10, and H = XXᵀ (columns, columns), positive definite
    sparsity : share of zeros; columns · sparsity and rows · mask_block · sparsity must be whole, for all forms to prune
        the same number of weights
    mask_block : columns whose mask is chosen at once
    shown : view, form and step at the start

    `view` (one of `VIEWS`), `form` (one of `FORMS`), `step`, `weight` and `hessian` (lists of rows) are traits that
    follow the page and may be set from Python; other values raise ValueError and change nothing. A form with fewer
    steps than `step` shows its last.
    """

    view = traitlets.Unicode("steps").tag(sync=True)
    form = traitlets.Unicode("exact").tag(sync=True)
    step = traitlets.Int().tag(sync=True)
    weight = traitlets.List(traitlets.List(traitlets.Float())).tag(sync=True)
    hessian = traitlets.List(traitlets.List(traitlets.Float())).tag(sync=True)
    given = traitlets.Dict(read_only=True).tag(sync=True)  # weight and hessian at the start
    sparsity = traitlets.Float(read_only=True).tag(sync=True)
    mask_block = traitlets.Int(read_only=True).tag(sync=True)

    def __init__(self, weight: Tensor, hessian: Tensor, sparsity: float = 0.5, mask_block: int = 4, **shown: str | int):
        check_layer(weight, hessian)
        rows, columns = weight.shape
        if not isinstance(mask_block, int) or not 1 <= mask_block <= columns:
            raise ValueError(f"mask_block is {mask_block!r}, must be a number of columns from 1 to {columns}")
        check_sparsity(sparsity)
        for name, count in (("columns", columns), ("rows · mask_block", rows * mask_block)):
            if abs(count * sparsity - round(count * sparsity)) > 1e-9:
                raise ValueError(f"sparsity is {sparsity}: {name} · sparsity is {count * sparsity:g}, must be whole")
        layer = {"weight": weight.double().tolist(), "hessian": hessian.double().tolist()}
        for name, value in (("given", layer), ("sparsity", float(sparsity)), ("mask_block", mask_block)):
            self.set_trait(name, value)
        super().__init__(**layer, **shown)

    @traitlets.validate("view", "form")
    def _check_name(self, proposal: dict):
        name = proposal["trait"].name
        return check_choice(name, proposal["value"], VIEWS if name == "view" else FORMS)

    @traitlets.validate("step")
    def _check_step(self, proposal: dict):
        columns = len(self.given["hessian"])
        blocks = -(-columns // self.mask_block)
        return check_range("step", proposal["value"], 0, columns + 2 * blocks - 1)  # of "blocks", which has most

    @traitlets.validate("weight", "hessian")
    def _check_layer(self, proposal: dict):
        name, value = proposal["trait"].name, proposal["value"]
        shape = [len(self.given[name]), len(self.given[name][0])]
        if len(value) != shape[0] or any(len(row) != shape[1] for row in value):
            raise ValueError(
                f"{name} has rows of {sorted({len(row) for row in value})} numbers, must be {tuple(shape)}"
            )
        layer = {"weight": self.weight, "hessian": self.hessian, name: value}
        layer = {key: torch.tensor(rows or self.given[key], dtype=torch.float64) for key, rows in layer.items()}
        check_layer(**layer)
        return value
