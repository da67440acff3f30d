"""Live network: a small trained network runs in the page while it is pruned, and its mistakes are seen at once."""

import copy
from collections.abc import Sequence

import torch
import traitlets
from torch import Tensor, nn

from pruning_lib.checks import check_choice, check_sparsity
from pruning_lib.structure import Masks, choose_units, prunable, score_units, zero_units
from pruning_lib.teaching.recorded_lenet import to_vector
from pruning_lib.teaching.widgets.javascript import Drawn
from pruning_lib.teaching.widgets.shown_images import ShownImages, halves, rounded
from pruning_lib.teaching.widgets.sparsity_explorer import choose_masks, obstacle

STRUCTURES = {
    "unstructured": "single weights",
    "2:4": "2 of every 4 (2:4)",
    "1:4": "1 of every 4 (1:4)",
    "columns": "inputs (columns)",
    "neurons": "neurons (rows)",
}


class LiveNetwork(Drawn, ShownImages):
    """A trained network, pruned by magnitude and run in the page: its accuracy, and every image that it misreads.

    Parameters
    ----------
    network : nn.Sequential of Linear layers with ReLU between them, after an nn.Flatten or not; its parameters are
        rounded to float16
    test : a few hundred images (n, 1, height, width) of at most 256 different values, and their classes
    sparsity : share of the weights (of the neurons, of the inputs) that go, in [0, 1]
    structure : one of `STRUCTURES`; neurons by the L1 norm of their rows
    scope : "global" or "layer", for single weights and neurons
    image : the image whose logits are shown; they are sorted by class
    seen : sparsities that are on the curve at once; the others come as the slider moves

    The traits `sparsity`, `structure`, `scope` and `image` follow the page and may be set from Python; `masks()` and
    `pruned()` give in PyTorch what it shows. ValueError for a network or images that the page could not run, and for
    values out of range.
    """

    sparsity = traitlets.Float(0.5).tag(sync=True)
    structure = traitlets.Unicode("unstructured").tag(sync=True)
    scope = traitlets.Unicode("global").tag(sync=True)
    seen = traitlets.List(read_only=True).tag(sync=True)
    layers = traitlets.List(read_only=True).tag(sync=True)  # name, shape, what is impossible and why
    vector = traitlets.Bytes(read_only=True).tag(sync=True)  # all weights, then all biases, little-endian float16
    structures = traitlets.List(read_only=True).tag(sync=True)  # of `STRUCTURES` the items that some layer can have

    def __init__(
        self,
        network: nn.Sequential,
        test: tuple[Tensor, Tensor],
        *,
        seen: Sequence[float] = (0.0, 0.2, 0.4, 0.6, 0.8),
        **shown: float | str,
    ):
        self._network = rounded(network)
        self.hold_images(self._network, test)
        layers = []
        for name, weight in prunable(self._network).items():
            obstacles = {key: reason for key in STRUCTURES if (reason := obstacle(weight.shape, key))}
            layers.append({"name": name.removesuffix(".weight"), "shape": list(weight.shape), "obstacles": obstacles})
        impossible = {"neurons"} if len(layers) == 1 else set()
        impossible |= set.intersection(*(set(layer["obstacles"]) for layer in layers))
        self.set_trait("structures", [list(item) for item in STRUCTURES.items() if item[0] not in impossible])
        self.set_trait("layers", layers)
        self.set_trait("vector", halves(to_vector(self._network)))
        self.set_trait("seen", [check_sparsity(sparsity) for sparsity in seen])
        super().__init__(**shown)

    @traitlets.validate("sparsity", "structure", "scope")
    def _check(self, proposal: dict):
        name, value = proposal["trait"].name, proposal["value"]
        if name == "sparsity":
            return check_sparsity(value)
        return check_choice(name, value, dict(self.structures) if name == "structure" else ("global", "layer"))

    def masks(self) -> Masks:
        """What the page keeps; True = stays."""
        return prune(self._network, self.sparsity, self.structure, self.scope)[1]

    def pruned(self) -> nn.Sequential:
        """The network that the page runs: in float16 (kept as float32), and pruned."""
        return prune(self._network, self.sparsity, self.structure, self.scope)[0]


def prune(network: nn.Sequential, sparsity: float, structure: str, scope: str) -> tuple[nn.Sequential, Masks]:
    """A pruned copy of linear layers, and its masks. With a neuron go its bias and the column that reads it.

    ValueError for a sparsity outside [0, 1], an unknown scope, and a structure that no layer can have.
    """
    weights = prunable(network := copy.deepcopy(network))
    if structure != "neurons":
        masks = choose_masks(weights, sparsity, structure, scope)
        masks.zero_(network)
        return network, masks
    pixels = torch.zeros(1, next(iter(weights.values())).shape[1], dtype=torch.float64)
    scores = score_units(copy.deepcopy(network).double(), "neuron", example_inputs=pixels)  # sums exact in any order
    units = choose_units(scores, sparsity, scope)
    keep = {name: torch.ones_like(weight, dtype=torch.bool) for name, weight in weights.items()}
    for (name, own), reads in zip(keep.items(), list(keep.values())[1:], strict=False):
        gone = units.get(name.removesuffix(".weight"), [])
        own[gone], reads[:, gone] = False, False
    masks = Masks(keep)
    masks.zero_(network)
    zero_units(network, units)
    return network, masks
