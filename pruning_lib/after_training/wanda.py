"""Wanda: a weight matters as much as its size times the size of its input. No update, no inverse.

Source: Sun, Liu, Bair and Kolter 2024, "A Simple and Effective Pruning Approach for Large Language Models".
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from pruning_lib.after_training.calibration import prune_in_order
from pruning_lib.after_training.reconstruction import check_hessian, check_target, check_weight
from pruning_lib.inputs import Inputs
from pruning_lib.structure import Masks
from pruning_lib.structure.selection import count_kept, largest


class Diagonal:
    """The diagonal of the Hessian, mean of 2x² for each column: all that Wanda needs of a layer's inputs."""

    def __init__(self, columns: int, dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu"):
        self.sum = torch.zeros(columns, dtype=dtype, device=device)
        self.count = 0

    def add(self, inputs: Tensor) -> "Diagonal":
        """Take in `inputs` (…, columns). Returns itself."""
        if inputs.ndim == 0 or inputs.shape[-1] != len(self.sum):
            raise ValueError(f"inputs has shape {tuple(inputs.shape)}, must be (…, {len(self.sum)})")
        X = inputs.detach().reshape(-1, len(self.sum)).to(self.sum)
        self.sum += X.square().sum(0)
        self.count += len(X)
        return self


def prune_weight(
    weight: Tensor, hessian: Tensor, sparsity: float | None = None, n_m: tuple[int, int] | None = None
) -> tuple[Tensor, Tensor]:
    """The pruned weight and the mask of what stays, chosen in each row by |W_ij|·√mean(x_j²); what stays is unchanged.

    Parameters
    ----------
    weight : (rows, columns)
    hessian : (columns, columns), mean of 2xxᵀ, or only its diagonal (columns,): √mean(x_j²) = √(H_jj / 2)
    sparsity : round(columns · (1 − sparsity)) weights of every row stay, of equal scores the first; this or `n_m`
    n_m : (n, m): n of every m consecutive weights of a row stay

    Raises
    ------
    ValueError
        If shapes do not fit, something is not finite, or not exactly one of `sparsity` and `n_m` is given and possible.
    """
    check_weight(weight)
    check_target(sparsity, n_m, columns := weight.shape[1])
    diagonal = check_diagonal(hessian, columns) if hessian.ndim == 1 else check_hessian(hessian, columns).diagonal()
    # |W_ij| · √mean(x_j²)
    scores = weight.detach().abs() * (diagonal / 2).sqrt()
    n, m = (count_kept(columns, sparsity), columns) if n_m is None else n_m
    keep = largest(scores.reshape(-1, m), n).view(scores.shape)
    return weight.detach().masked_fill(~keep, 0), keep


def check_diagonal(hessian: Tensor, columns: int) -> Tensor:
    """Return `hessian` if it is a finite (columns,) vector with nothing negative, else raise ValueError."""
    if len(hessian) != columns:
        raise ValueError(f"hessian has shape {tuple(hessian.shape)}, must be ({columns},) or ({columns}, {columns})")
    if not hessian.is_floating_point() or not all(torch.isfinite(extreme) for extreme in hessian.aminmax()):
        raise ValueError(f"hessian ({hessian.dtype}) contains nan or inf, must be finite: were the inputs?")
    if (lowest := hessian.min()) < 0:
        raise ValueError(f"hessian has {lowest.item():g} on its diagonal, must be a mean of 2x²")
    return hessian


def prune_model(
    model: nn.Module,
    batches: Iterable[Inputs],
    sparsity: float | None = None,
    n_m: tuple[int, int] | None = None,
    layers: Iterable[str] | None = None,
    progress: bool = True,
) -> Masks:
    """Wanda on the layers of `model`, in place; the walk, its arguments and its errors are those of SparseGPT's."""
    check_target(sparsity, n_m)

    def prune_layer(matrix: Tensor, gathered: Diagonal) -> tuple[Tensor, Tensor]:
        return prune_weight(matrix, gathered.sum * (2 / gathered.count), sparsity, n_m)

    return prune_in_order(
        model, batches, prune_layer, Diagonal, layers, multiple_of=n_m[1] if n_m else 1, progress=progress
    )
