"""SparseGPT: prune a trained layer in one pass over its columns, each making up for what went before it.

Source: Frantar and Alistarh 2023, "SparseGPT: Massive Language Models Can Be Accurately Pruned in One-Shot".
"""

from collections.abc import Iterable, Iterator
from functools import partial

import torch
from torch import Tensor, nn

from pruning_lib.after_training.calibration import prune_in_order
from pruning_lib.after_training.damping import check_damping, inverse
from pruning_lib.after_training.elimination import Choose, eliminate_, factor
from pruning_lib.after_training.quantization import Grid
from pruning_lib.after_training.reconstruction import Hessian, check_problem, check_target, error
from pruning_lib.after_training.reconstruction import refit as refit_on
from pruning_lib.after_training.stepping import Step, column_steps, exact_steps, factored, shrinking
from pruning_lib.checks import check_choice
from pruning_lib.inputs import Inputs
from pruning_lib.precision import without_autocast
from pruning_lib.structure import Masks
from pruning_lib.structure.selection import count_kept, largest

__all__ = ["prune_model", "prune_weight", "steps"]


@without_autocast
def prune_weight(
    weight: Tensor,
    hessian: Tensor,
    sparsity: float | None = None,
    n_m: tuple[int, int] | None = None,
    block: int = 128,
    damping: float = 0.01,
    refit: bool = False,
    bits: int | None = None,
) -> tuple[Tensor, Tensor]:
    """SparseGPT on one layer (GPT-8): the pruned weight and the mask of what stays. The arguments are unchanged.

    Column by column, score w²/[(H_{U_j})⁻¹]_11 (GPT-6), chosen per block, what stays compensating for what goes.
    Exactly round(rows · block · (1 − sparsity)) weights of every block stay, of a narrower last block likewise; of
    equal scores the first stay, column by column. Of columns that calibration never saw (H_jj = 0) the weights become
    zero and go first.

    Parameters
    ----------
    weight : (rows, columns) = (out, in); half types are computed in float32
    hessian : (columns, columns), as of `reconstruction.Hessian`
    sparsity : share of the weights that go, in [0, 1]; this or `n_m`
    n_m : (n, m): n of every m consecutive weights of a row stay
    block : columns whose mask is chosen together. It has no influence on n:m, which chooses per m columns
    damping : added to the diagonal of the Hessian, as a share of its mean
    refit : afterwards, least squares on the mask (GPT-2), equally damped, from there. See `reconstruction.refit`
    bits : round what stays to a grid of 2^bits values per row, jointly: later columns make up for the rounding too

    Raises
    ------
    ValueError
        If shapes do not fit, something is not finite, an option is out of range, or the Hessian has no Cholesky factor
        even with damping raised (which it is stepwise, with a warning that names the value used).
    """
    check_problem(weight, hessian, sparsity, n_m)
    _check_options(block, damping, refit, bits)
    dtype = torch.promote_types(weight.dtype, torch.float32)
    T, pivots, dead = factor(hessian, damping, dtype)
    W = weight.detach().T.to(dtype, copy=True, memory_format=torch.contiguous_format)  # (columns, rows)
    W[dead] = 0
    rounded = Grid.of(W.T, bits).nearest if bits is not None else None
    D, keep = eliminate_(W, T, pivots, *_groups(sparsity, n_m, block), rounded)
    del T
    pruned = weight.detach().to(dtype) - D.T  # exactly zero where d = w
    del W, D
    keep = keep.T.contiguous()
    pruned[:, dead] = 0
    if rounded is not None:
        pruned = rounded(pruned.T).T.contiguous()  # w − (w − q) is q only nearly
    if refit:
        pruned = refit_on(weight.detach().to(dtype), hessian, keep, damping, start=pruned)
        pruned[:, dead] = 0
    return pruned.to(weight.dtype), keep


def prune_model(
    model: nn.Module,
    batches: Iterable[Inputs],
    sparsity: float | None = None,
    n_m: tuple[int, int] | None = None,
    layers: Iterable[str] | None = None,
    refit: bool = False,
    progress: bool = True,
    block: int = 128,
    damping: float = 0.01,
    bits: int | None = None,
) -> Masks:
    """SparseGPT on the layers of `model`, in place: each calibrated on what the layers pruned before it put out.

    How the model is walked, what a batch and `layers` are, and what holds after an error: see
    `calibration.prune_in_order`. Positions that an `attention_mask` (or torch's `src_key_padding_mask`) leaves out do
    not count. Convolutions are unfolded into matrices, (out, in·kh·kw), one per group. The paper
    leaves embeddings and the output head of a language model alone; embeddings are never pruned here, and a head only
    if it does not share its weight with them: name `layers` without it.

    Returns
    -------
    Masks
        What stays, by parameter name. The zeros are written; `masks.hold(model)` keeps them in later training.

    Raises
    ------
    ValueError
        As `prune_weight` and `calibration.prune_in_order`.
    """
    check_target(sparsity, n_m)
    _check_options(block, damping, refit, bits)
    options = {"sparsity": sparsity, "n_m": n_m, "block": block, "damping": damping, "refit": refit, "bits": bits}
    prune_layer = partial(prune_weight, **options)
    return prune_in_order(model, batches, prune_layer, Hessian, layers, n_m[1] if n_m else 1, progress)


def steps(
    weight: Tensor,
    hessian: Tensor,
    sparsity: float | None = None,
    n_m: tuple[int, int] | None = None,
    block: int = 128,
    damping: float = 0.01,
    form: str = "cholesky",
) -> Iterator[Step]:
    """The states of a small layer as it is pruned, computed in float64.

    Parameters
    ----------
    weight, hessian, sparsity, n_m, block, damping : as for `prune_weight`
    form : "cholesky" (GPT-8) and "synchronized" (GPT-6, with the shrinking inverses of GPT-7) handle column after
        column and end where `prune_weight` does; "exact" (GPT-3) deletes one weight of every row at a time, whichever
        costs least, until round(columns · (1 − sparsity)) are left, with an inverse for every row

    Raises
    ------
    ValueError
        As `prune_weight`, and if WX = 0, so that there is no relative error: at the call, not at the first step.
    """
    check_problem(weight, hessian, sparsity, n_m)
    _check_options(block, damping)
    check_choice("form", form, ("cholesky", "synchronized", "exact"))
    error(weight, weight, hessian)  # raises if WX = 0
    B, dead = inverse(hessian, damping)
    if form == "exact":
        columns = weight.shape[1]
        kept = count_kept(columns, sparsity) if n_m is None else columns // n_m[1] * n_m[0]
        return exact_steps(weight, hessian, B, dead, columns - kept, n_m)
    first_rows = factored if form == "cholesky" else shrinking
    return column_steps(weight, hessian, B, dead, *_groups(sparsity, n_m, block), first_rows)


def _groups(sparsity: float | None, n_m: tuple[int, int] | None, block: int) -> tuple[int, Choose]:
    """How many columns are chosen together, and how: from their scores (columns, rows) a mask of what stays."""
    if n_m is not None:
        n, m = n_m
        return m, lambda scores: largest(scores.T, n).T
    return block, lambda scores: largest(scores.flatten(), count_kept(scores.numel(), sparsity)).view(scores.shape)


def _check_options(block: int, damping: float, refit: bool = False, bits: int | None = None) -> None:
    if not isinstance(block, int) or block < 1:
        raise ValueError(f"block is {block!r}, must be a whole number of columns, at least 1")
    check_damping(damping)
    if bits is not None and (not isinstance(bits, int) or not 1 <= bits <= 16):
        raise ValueError(f"bits is {bits!r}, must be a whole number from 1 to 16")
    if refit and bits is not None:
        raise ValueError(f"refit is True and bits is {bits!r}, must be one of them: refitted weights leave the grid")
