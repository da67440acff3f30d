"""Sparsity explorer: a slider, and at once which weights of a real net stay and what that does to each layer."""

from collections.abc import Mapping

import traitlets
from torch import Tensor

from pruning_lib.checks import check_choice, check_sparsity
from pruning_lib.structure import Masks
from pruning_lib.teaching.widgets.javascript import Drawn
from pruning_lib.teaching.widgets.sparsity_choice import (
    STRUCTURES,
    check_structure,
    check_weights,
    choose_masks,
    obstacle,
)


class SparsityExplorer(Drawn):
    """Which weights stay at a sparsity and under a structure: matrix, histogram and sparsity of each layer.

    Parameters
    ----------
    weights : weights (or scores) of the layers by name, (out, in) or (out, in, kh, kw); taken as float32
    sparsity : share of zeros, in [0, 1]
    structure : one of `STRUCTURES`
    scope : "global" or "layer", for unstructured pruning
    layer : the layer shown first; left out, the first
    quantity : what the numbers are, for the axes

    The choice follows the slider in the browser and is the one of `choose_masks`; the traits `sparsity`, `structure`,
    `scope` and `layer` follow too, and may be set from Python. Bad values raise ValueError as in `choose_masks`.
    """

    sparsity = traitlets.Float(0.5).tag(sync=True)
    structure = traitlets.Unicode("unstructured").tag(sync=True)
    scope = traitlets.Unicode("global").tag(sync=True)
    layer = traitlets.Unicode().tag(sync=True)
    quantity = traitlets.Unicode(read_only=True).tag(sync=True)
    layers = traitlets.List(read_only=True).tag(sync=True)  # name, shape, what is impossible and why
    values = traitlets.Bytes(read_only=True).tag(sync=True)  # all weights, little-endian float32
    structures = traitlets.Dict(STRUCTURES, read_only=True).tag(sync=True)

    def __init__(self, weights: Mapping[str, Tensor], *, quantity: str = "weight", **shown: float | str):
        self._weights = check_weights(weights)
        layers = []
        for name, weight in self._weights.items():
            obstacles = {key: reason for key in STRUCTURES if (reason := obstacle(weight.shape, key))}
            layers.append({"name": name, "shape": list(weight.shape), "obstacles": obstacles})
        self.set_trait("layers", layers)
        self.set_trait("values", b"".join(w.numpy().astype("<f4").tobytes() for w in self._weights.values()))
        self.set_trait("quantity", quantity)
        super().__init__(**{"layer": next(iter(self._weights))} | shown)

    @traitlets.validate("sparsity", "structure", "scope", "layer")
    def _check(self, proposal: dict):
        name, value = proposal["trait"].name, proposal["value"]
        if name == "sparsity":
            return check_sparsity(value)
        if name == "structure":
            return check_structure(self._weights, value)
        return check_choice(name, value, ("global", "layer") if name == "scope" else self._weights)

    def masks(self) -> Masks:
        """The masks that the widget shows; True = stays."""
        return choose_masks(self._weights, self.sparsity, self.structure, self.scope)

    def counts(self) -> dict[str, tuple[int, int]]:
        """Number of weights kept and in all, by layer."""
        return {name: (int(mask.count_nonzero()), mask.numel()) for name, mask in self.masks().items()}
