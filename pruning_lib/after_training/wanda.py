"""Wanda: a weight matters as much as its size times the size of its input. No update, no inverse.

Source: Sun, Liu, Bair and Kolter 2024, "A Simple and Effective Pruning Approach for Large Language Models".
"""

from collections.abc import Iterable
from functools import partial

from torch import Tensor, nn

from pruning_lib.after_training.calibration import prune_in_order
from pruning_lib.after_training.reconstruction import Hessian, check_problem, check_target
from pruning_lib.inputs import Inputs
from pruning_lib.structure import Masks
from pruning_lib.structure.selection import count_kept, largest


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
    check_problem(weight, hessian, sparsity, n_m, or_diagonal=True)
    diagonal = hessian if hessian.ndim == 1 else hessian.diagonal()
    # |W_ij| · √mean(x_j²)
    scores = weight.detach().abs() * (diagonal / 2).sqrt()
    columns = weight.shape[1]
    n, m = (count_kept(columns, sparsity), columns) if n_m is None else n_m
    keep = largest(scores.reshape(-1, m), n).view(scores.shape)
    return weight.detach().masked_fill(~keep, 0), keep


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
    prune_layer, diagonal = partial(prune_weight, sparsity=sparsity, n_m=n_m), partial(Hessian, diagonal=True)
    return prune_in_order(model, batches, prune_layer, diagonal, layers, n_m[1] if n_m else 1, progress)
