"""2:4 masks by magnitude: the two largest of every four stay."""

import torch
from torch import Tensor, nn

from pruning_lib.structure import Masks, keep_n_of_m, prunable


def best_mask(weight: Tensor) -> Tensor:
    """True at the two largest abs(w) of every four along the input dimension; ties by index, errors as `keep_n_of_m`.

    By size: −9 stays before 1. (A tile routine of torch, `_sparse_semi_structured_tile`, sorts signed values.)
    """
    return keep_n_of_m({"weight": magnitude(weight)}, 2, 4)["weight"]


def best_masks(model: nn.Module, layers: list[str] | None = None) -> Masks:
    """2:4 masks by magnitude for the weights of `layers` (module names), or for all prunable ones that it fits.

    Without `layers`, weights whose columns (in·kh·kw) are no multiple of 4 get no mask and stay dense.

    Raises
    ------
    ValueError
        If a layer is unknown or not prunable, its columns are no multiple of 4, or no weight is left.
    """
    weights = prunable(model)
    if layers is None:
        chosen = {name: w for name, w in weights.items() if w[0].numel() % 4 == 0}
        if not chosen:
            raise ValueError("model has no prunable weight with columns a multiple of 4, as 2:4 needs")
    else:
        names = [f"{layer}.weight" if layer else "weight" for layer in layers]
        unknown = [name for name in names if name not in weights]
        if unknown:
            raise ValueError(f"layers name {unknown[0]!r}, which is not prunable; the model has {', '.join(weights)}")
        chosen = {name: weights[name] for name in names}
    return keep_n_of_m({name: magnitude(w.detach()) for name, w in chosen.items()}, 2, 4)


def magnitude(weight: Tensor) -> Tensor:
    """abs(w); of integers in int64, where 128 and 2³¹ exist; ValueError unless a tensor of real numbers."""
    if not isinstance(weight, Tensor) or weight.dtype == torch.bool or weight.is_complex():
        kind = weight.dtype if isinstance(weight, Tensor) else type(weight).__name__
        raise ValueError(f"weight is {kind}, must be a tensor of real numbers")
    if weight.is_floating_point():
        return weight.abs()
    size = weight.to(torch.int64).abs()
    if size.numel() and size.min() < 0:
        raise ValueError(f"weight holds {size.min()}, whose size does not fit into int64")
    return size


def kept_magnitude(weight: Tensor) -> float:
    """Σ abs(w) over what `best_mask` keeps, in float64."""
    return float(magnitude(weight).detach()[best_mask(weight)].sum(dtype=torch.float64))
