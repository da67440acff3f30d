"""Which weights stay at a sparsity and under a structure: what `sparsity_choice.js` repeats in the browser."""

from collections.abc import Mapping

import torch
from torch import Tensor

from pruning_lib.checks import check_choice, check_sparsity
from pruning_lib.structure import Masks, keep_largest, keep_n_of_m, keep_stripes

STRUCTURES = {
    "unstructured": "unstructured: single weights",
    "rows": "rows: neurons or filters",
    "columns": "columns: inputs",
    "2:4": "2:4: two of every four stay",
    "4:8": "4:8: four of every eight stay",
    "1:4": "1:4: one of every four stays",
    "stripes": "stripes: one kernel position of a filter",
}


def check_weights(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights as float32 on the CPU; ValueError if there is none, or one is not finite or neither 2-D nor 4-D."""
    if not weights:
        raise ValueError("weights is empty, must hold at least one layer")
    checked = {name: weight.detach().float().cpu().contiguous() for name, weight in weights.items()}
    for name, weight in checked.items():
        if weight.ndim not in (2, 4) or not weight.numel():
            allowed = "must be (out, in) or (out, in, kh, kw), not empty"
            raise ValueError(f"weights[{name!r}] has shape {tuple(weight.shape)}, {allowed}")
        if not weight.isfinite().all():
            raise ValueError(f"weights[{name!r}] contains {weight[~weight.isfinite()][0].item()}, must be finite")
    return checked


def obstacle(shape: torch.Size, structure: str) -> str:
    """Why a weight of this shape cannot be pruned by `structure`, or ''."""
    columns = shape[1:].numel()
    if ":" in structure and columns % (m := int(structure.split(":")[1])):
        return f"{structure} needs columns in groups of {m}, and there are {columns}"
    if structure == "stripes" and len(shape) != 4:
        return "stripes are parts of a convolution's filters, and this layer has none"
    return ""


def check_structure(weights: dict[str, Tensor], structure: str) -> str:
    """Return `structure` if it is known and some layer can be pruned so, else raise ValueError."""
    check_choice("structure", structure, STRUCTURES)
    reasons = [f"{name}: {obstacle(weight.shape, structure)}" for name, weight in weights.items()]
    if all(obstacle(weight.shape, structure) for weight in weights.values()):
        raise ValueError(f"structure is {structure!r}, must be possible for some layer ({'; '.join(reasons)})")
    return structure


def choose_masks(
    weights: Mapping[str, Tensor], sparsity: float = 0.5, structure: str = "unstructured", scope: str = "global"
) -> Masks:
    """Masks by magnitude under a structure; a layer that cannot have it (`obstacle`) stays whole.

    Single weights are chosen by their magnitude (TAX-1), rows, columns and stripes of the view (out, in·kh·kw) by
    their L1 norm, layer by layer. `scope` is for single weights only; N:M fixes the sparsity itself.

    Raises
    ------
    ValueError
        If `sparsity` is outside [0, 1], `structure` or `scope` is unknown, no layer can have the structure, or
        `weights` is empty, not finite or neither (out, in) nor (out, in, kh, kw).
    """
    weights = check_weights(weights)
    check_sparsity(sparsity)
    check_structure(weights, structure)
    check_choice("scope", scope, ("global", "layer"))
    able = {name: weight.abs() for name, weight in weights.items() if not obstacle(weight.shape, structure)}
    if structure == "unstructured":
        chosen = keep_largest(able, sparsity, scope)
    elif ":" in structure:
        chosen = keep_n_of_m(able, *map(int, structure.split(":")))
    else:
        sums = {"rows": l1_of_rows, "columns": l1_of_columns, "stripes": l1_of_stripes}[structure]
        keep = keep_stripes if structure == "stripes" else keep_largest
        chosen = keep({name: sums(weight) for name, weight in able.items()}, sparsity, "layer")
    whole = {name: torch.ones_like(weight, dtype=torch.bool) for name, weight in weights.items()}
    return Masks(whole | {name: mask.expand_as(weights[name]).clone() for name, mask in chosen.items()})


# Summed in double and rounded to float32, so that another order of summation (JavaScript's) gives the same scores.
def l1_of_rows(magnitude: Tensor) -> Tensor:
    return magnitude.sum(dim=tuple(range(1, magnitude.ndim)), keepdim=True, dtype=torch.float64).float()


def l1_of_columns(magnitude: Tensor) -> Tensor:
    return magnitude.sum(dim=0, keepdim=True, dtype=torch.float64).float()


def l1_of_stripes(magnitude: Tensor) -> Tensor:
    return magnitude.sum(dim=1, keepdim=True, dtype=torch.float64).float()
