"""Sparsity explorer: a slider, and at once which weights of a real net stay and what that does to each layer."""

from collections.abc import Mapping

import anywidget
import numpy as np
import torch
import traitlets
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from torch import Tensor

from pruning_lib.checks import check_choice, check_sparsity
from pruning_lib.structure import Masks
from pruning_lib.teaching import palette
from pruning_lib.teaching.widgets.javascript import bundle, styles
from pruning_lib.teaching.widgets.sparsity_choice import (
    STRUCTURES,
    check_structure,
    check_weights,
    choose_masks,
    obstacle,
)
from pruning_lib.teaching.widgets.still import still_figure

COLORS = {"kept": palette.KEPT, "negative": palette.ACCENT, "updated": palette.UPDATED, "muted": palette.MUTED}


class SparsityExplorer(anywidget.AnyWidget):
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

    _esm = bundle("sparsity_explorer.js")
    _css = styles("sparsity_explorer.css")

    sparsity = traitlets.Float().tag(sync=True)
    structure = traitlets.Unicode().tag(sync=True)
    scope = traitlets.Unicode().tag(sync=True)
    layer = traitlets.Unicode().tag(sync=True)
    quantity = traitlets.Unicode(read_only=True).tag(sync=True)
    layers = traitlets.List(read_only=True).tag(sync=True)  # name, shape, what is impossible and why
    values = traitlets.Bytes(read_only=True).tag(sync=True)  # all weights, little-endian float32
    structures = traitlets.Dict(STRUCTURES, read_only=True).tag(sync=True)
    palette = traitlets.Dict(COLORS, read_only=True).tag(sync=True)

    def __init__(
        self,
        weights: Mapping[str, Tensor],
        sparsity: float = 0.5,
        structure: str = "unstructured",
        scope: str = "global",
        layer: str | None = None,
        quantity: str = "weight",
    ):
        self._weights = check_weights(weights)
        layers = []
        for name, weight in self._weights.items():
            obstacles = {key: reason for key in STRUCTURES if (reason := obstacle(weight.shape, key))}
            layers.append({"name": name, "shape": list(weight.shape), "obstacles": obstacles})
        self.set_trait("layers", layers)
        self.set_trait("values", b"".join(w.numpy().astype("<f4").tobytes() for w in self._weights.values()))
        first = next(iter(self._weights))
        self.set_trait("quantity", quantity)
        super().__init__(sparsity=sparsity, structure=structure, scope=scope, layer=first if layer is None else layer)

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


def static_figure(
    weights: Mapping[str, Tensor],
    sparsity: float = 0.5,
    structure: str = "unstructured",
    scope: str = "global",
    layer: str | None = None,
    quantity: str = "weight",
) -> Figure:
    """The three panels of `SparsityExplorer` as a still figure; arguments and errors as there."""
    masks = choose_masks(weights, sparsity, structure, scope)
    weights = check_weights(weights)
    layer = check_choice("layer", next(iter(weights)) if layer is None else layer, weights)
    with still_figure(10, 5) as figure:
        axes = figure.subplot_mosaic("MH;MB", width_ratios=(1.2, 1))
        figure.suptitle(f"{structure}: {masks.kept:,} of {masks.total:,} kept, sparsity {masks.sparsity:.1%}")
        draw_matrix(axes["M"], layer, weights[layer], masks[layer])
        threshold = None
        if structure == "unstructured":
            threshold = smallest_kept(weights if scope == "global" else {layer: weights[layer]}, masks)
        draw_histogram(axes["H"], weights[layer], masks[layer], threshold, quantity)
        draw_bars(axes["B"], masks)
    return figure


def smallest_kept(weights: Mapping[str, Tensor], masks: Masks) -> float | None:
    """Smallest magnitude that stays, where some stay and some go."""
    kept = torch.cat([weight[masks[name]].abs() for name, weight in weights.items()])
    return kept.min().item() if 0 < len(kept) < sum(weight.numel() for weight in weights.values()) else None


def draw_matrix(panel: Axes, layer: str, weight: Tensor, mask: Tensor) -> None:
    """The view (out, in·kh·kw): one cell per weight, or per block of weights where the panel has too few pixels."""
    values, keep = weight.flatten(1).numpy(), mask.flatten(1).numpy()
    block = [-(-size // 160) for size in keep.shape]
    if block == [1, 1]:
        depth = np.abs(values) / (np.abs(values).max() or 1)
        title = f"{layer}: blue positive, orange negative, the stronger the larger; pruned: empty"
    else:
        depth = share_of_blocks(keep, block)
        values, keep = np.ones_like(depth), depth > 0
        title = f"{layer}: a cell is {block[0]} × {block[1]} weights, the stronger the more are kept"
    image = np.zeros((*keep.shape, 4))
    image[..., :3] = np.where(values[..., None] < 0, to_rgb(palette.ACCENT), to_rgb(palette.KEPT))
    image[..., 3] = np.where(keep, 0.3 + 0.7 * depth, 0)
    lines = {"edgecolors": palette.MUTED, "linewidth": 0.4} if max(keep.shape) <= 48 else {}
    panel.pcolormesh(
        *(np.arange(n + 1) * b - 0.5 for n, b in zip(keep.shape[::-1], block[::-1], strict=True)), image, **lines
    )
    panel.invert_yaxis()
    panel.set_title(title, fontsize="small", wrap=True)
    conv = weight.ndim == 4
    panel.set_xlabel("column: input channel × kernel position" if conv else "input index")
    panel.set_ylabel("filter index" if conv else "output index")


def share_of_blocks(keep: np.ndarray, block: list[int]) -> np.ndarray:
    """Share of True in each block; blocks at the far edges may be smaller."""
    starts = [np.arange(0, size, step) for size, step in zip(keep.shape, block, strict=True)]
    summed = np.add.reduceat(np.add.reduceat(keep.astype(float), starts[0], axis=0), starts[1], axis=1)
    heights, widths = (np.diff(s, append=size) for s, size in zip(starts, keep.shape, strict=True))
    return summed / np.outer(heights, widths)


def draw_histogram(panel: Axes, weight: Tensor, mask: Tensor, threshold: float | None, quantity: str) -> None:
    """Values of kept (filled) and pruned (empty) weights, stacked; dashed lines at the threshold where there is one."""
    high = weight.abs().max().item() or 1.0
    low = -high if (weight < 0).any() else 0.0
    edges = np.linspace(low, high, 41)
    kept, all_ = (np.histogram(values.numpy(), edges)[0] for values in (weight[mask], weight.flatten()))
    panel.stairs(kept, edges, fill=True, color=palette.KEPT, label="kept")
    panel.stairs(all_, edges, color=palette.MUTED, label="pruned (on top)")
    if threshold is not None:
        for sign in (-1, 1) if low else (1,):
            label = f"threshold: |{quantity}| = {threshold:.3g}" if sign > 0 else None
            panel.axvline(sign * threshold, color=palette.ACCENT, linestyle="--", label=label)
    panel.set_xlabel(quantity)
    panel.set_ylabel("number of weights")
    panel.legend(fontsize="x-small", frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1), ncols=3)


def draw_bars(panel: Axes, masks: Masks) -> None:
    """Kept (filled) and pruned (empty) share of each layer, with its sparsity."""
    sparsity = masks.per_layer()
    names, shares = list(sparsity), np.array(list(sparsity.values()))
    panel.barh(names, 100 * shares, facecolor="none", edgecolor=palette.MUTED)
    panel.barh(names, 100 * (1 - shares), left=100 * shares, color=palette.KEPT)
    for place, share in enumerate(shares):
        panel.text(102, place, f"{share:.1%}", va="center", fontsize="small")
    panel.set_xlim(0, 118)
    panel.set_xticks([0, 50, 100])
    panel.invert_yaxis()
    panel.set_xlabel("sparsity in %: empty is pruned, filled is kept")
