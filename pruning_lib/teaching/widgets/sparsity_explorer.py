"""Sparsity explorer: a slider, and at once which weights of a real net stay and what that does to each layer."""

from collections.abc import Mapping

import torch
import traitlets
from torch import Tensor

from pruning_lib.checks import check_choice, check_sparsity
from pruning_lib.structure import Masks, keep_largest, keep_n_of_m, keep_stripes
from pruning_lib.teaching.widgets.javascript import Drawn

STRUCTURES = {
    "unstructured": "unstructured: single weights",
    "rows": "rows: neurons or filters",
    "columns": "columns: inputs",
    "2:4": "2:4: two of every four stay",
    "4:8": "4:8: four of every eight stay",
    "1:4": "1:4: one of every four stays",
    "stripes": "stripes: kernel places",
}


def _check_weights(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
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
        return "only the filters of a convolution have stripes"
    return ""


def _check_structure(weights: dict[str, Tensor], structure: str) -> str:
    """Return `structure` if it is known and some layer can be pruned so, else raise ValueError."""
    check_choice("structure", structure, STRUCTURES)
    obstacles = {name: obstacle(weight.shape, structure) for name, weight in weights.items()}
    if all(obstacles.values()):
        reasons = "; ".join(f"{name}: {reason}" for name, reason in obstacles.items())
        raise ValueError(f"structure is {structure!r}, must be possible for some layer ({reasons})")
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
    weights = _check_weights(weights)
    check_sparsity(sparsity)
    _check_structure(weights, structure)
    check_choice("scope", scope, ("global", "layer"))
    able = {name: weight.abs() for name, weight in weights.items() if not obstacle(weight.shape, structure)}
    if structure == "unstructured":
        chosen = keep_largest(able, sparsity, scope)
    elif ":" in structure:
        chosen = keep_n_of_m(able, *map(int, structure.split(":")))
    else:
        keep = keep_stripes if structure == "stripes" else keep_largest
        chosen = keep({name: _l1_norms(weight, structure) for name, weight in able.items()}, sparsity, "layer")
    whole = {name: torch.ones_like(weight, dtype=torch.bool) for name, weight in weights.items()}
    return Masks(whole | {name: mask.expand_as(weights[name]).clone() for name, mask in chosen.items()})


def _l1_norms(magnitude: Tensor, structure: str) -> Tensor:
    """Summed in double and rounded, so that another order of summation (JavaScript's) gives the same float32."""
    along = {"rows": tuple(range(1, magnitude.ndim)), "columns": 0, "stripes": 1}[structure]
    return magnitude.sum(dim=along, keepdim=True, dtype=torch.float64).float()


class SparsityExplorer(Drawn):
    """Which weights stay at a sparsity and under a structure: matrix, histogram and sparsity of each layer.

    Parameters
    ----------
    weights : weights of the layers by name, (out, in) or (out, in, kh, kw); taken as float32
    sparsity : share of zeros, in [0, 1]
    structure : one of `STRUCTURES`
    scope : "global" or "layer", for unstructured pruning
    layer : the layer shown first; left out, the first

    The choice follows the slider in the browser and is the one of `choose_masks`; the traits `sparsity`, `structure`,
    `scope` and `layer` follow too, and may be set from Python. Bad values raise ValueError as in `choose_masks`.
    """

    sparsity = traitlets.Float(0.5).tag(sync=True)
    structure = traitlets.Unicode("unstructured").tag(sync=True)
    scope = traitlets.Unicode("global").tag(sync=True)
    layer = traitlets.Unicode().tag(sync=True)
    layers = traitlets.List(read_only=True).tag(sync=True)  # name, shape, what is impossible and why
    values = traitlets.Bytes(read_only=True).tag(sync=True)  # all weights, little-endian float32
    structures = traitlets.List([*map(list, STRUCTURES.items())], read_only=True).tag(
        sync=True
    )  # saved dicts get sorted

    def __init__(self, weights: Mapping[str, Tensor], **shown: float | str):
        self._weights = _check_weights(weights)
        layers = []
        for name, weight in self._weights.items():
            obstacles = {key: reason for key in STRUCTURES if (reason := obstacle(weight.shape, key))}
            layers.append({"name": name, "shape": list(weight.shape), "obstacles": obstacles})
        self.set_trait("layers", layers)
        self.set_trait("values", b"".join(w.numpy().astype("<f4").tobytes() for w in self._weights.values()))
        super().__init__(**{"layer": next(iter(self._weights))} | shown)

    @traitlets.validate("sparsity", "structure", "scope", "layer")
    def _check(self, proposal: dict):
        name, value = proposal["trait"].name, proposal["value"]
        if name == "sparsity":
            return check_sparsity(value)
        if name == "structure":
            return _check_structure(self._weights, value)
        return check_choice(name, value, ("global", "layer") if name == "scope" else self._weights)

    def masks(self) -> Masks:
        """The masks that the widget shows; True = stays."""
        return choose_masks(self._weights, self.sparsity, self.structure, self.scope)
