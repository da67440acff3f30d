"""The dependency graph: which slices of which tensors belong to one unit, and which units can go at all.

`tracing` fills it; what couples units, an addition for instance, stands in `coupling` and `layer_rules`.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from pruning_lib.inputs import described

FIXED = -1  # the id of a position that no unit stands behind: it always stays


@dataclass
class Slot:
    """One dimension of one named tensor, with the unit that each index along it belongs to."""

    tensor: str
    dim: int
    ids: Tensor
    zeroed: bool  # a removed unit writes here (its row, its shift), so zeroing has to reach it; else it only reads


@dataclass
class Layer:
    """A module that makes units: the filters of a convolution, neurons of a linear layer, heads of an attention."""

    kind: str  # filter, neuron or head; projection: goes with the heads that read it
    weight: str  # the tensor whose index along `dim` is the unit
    dim: int
    ids: Tensor


@dataclass
class Branch:
    """A residual block r + F(r): what is left of it without F, what F consists of, or why it cannot go."""

    steps: list[str] = field(default_factory=list)  # its children, or the function relu, in the shortcut and behind
    weights: list[str] = field(default_factory=list)
    last: list[str] = field(default_factory=list)  # tensors that, zeroed, make F(r) = 0
    refusal: str | None = None

    def then(self, step: str) -> "Branch":
        return replace(self, steps=[*self.steps, step])


class Graph:
    """Units as numbers, tied together where the model needs them to go together (union–find).

    After `close`, `roots` gives each position the number of its tied set; only whole sets can go.
    """

    def __init__(self):
        self.parent: list[int] = []
        self.reasons: dict[int, str] = {}
        self.slots: dict[tuple[str, int], Slot] = {}
        self.sizes: dict[tuple[str, str], Tensor] = {}  # integer attributes (module, name) that count these units
        self.layers: dict[str, Layer] = {}
        self.blocks: dict[str, Branch] = {}

    def fresh(self, count: int) -> Tensor:
        start = len(self.parent)
        self.parent.extend(range(start, start + count))
        return torch.arange(start, start + count)

    def find(self, unit: int) -> int:
        while self.parent[unit] != unit:
            self.parent[unit] = self.parent[self.parent[unit]]
            unit = self.parent[unit]
        return unit

    def tie(self, one: Tensor, other: Tensor, reason: str) -> None:
        """Let the units go only together, position by position; what is tied to something fixed stays, for `reason`."""
        for a, b in zip(one.tolist(), other.tolist(), strict=True):
            if FIXED in (a, b):
                self.block(torch.tensor([a, b]), reason)
                continue
            a, b = sorted((self.find(a), self.find(b)))
            if a != b:
                self.parent[b] = a
                if b in self.reasons:
                    self.reasons.setdefault(a, self.reasons.pop(b))

    def block(self, ids: Tensor, reason: str) -> None:
        """These units cannot go, for `reason`."""
        for unit in ids.tolist():
            if unit != FIXED:
                self.reasons.setdefault(self.find(unit), reason)

    def slot(self, tensor: str, dim: int, ids: Tensor, zeroed: bool) -> None:
        """Enter a slot; a tensor used twice (shared weights) ties the two uses."""
        seen = self.slots.setdefault((tensor, dim), Slot(tensor, dim, ids, zeroed))
        if seen.ids is not ids:
            self.tie(seen.ids, ids, f"{tensor!r} is shared with a place where the channel has to stay")
            seen.zeroed |= zeroed

    def size(self, module: str, **counts: Tensor) -> None:
        """These attributes of `module` are the number of units that are left of those given."""
        for name, ids in counts.items():
            self.tie(self.sizes.setdefault((module, name), ids), ids, f"{name} of {module!r} is the size of two axes")

    def members(self, ids: Tensor) -> Counter[int]:
        """How often each tied set occurs."""
        return Counter(unit if unit == FIXED else self.find(unit) for unit in ids.tolist())

    def made(self, ids: Tensor) -> list[str]:
        """The layers that make any of these units."""
        units = self.members(ids).keys()
        return [name for name, layer in self.layers.items() if not units.isdisjoint(self.members(layer.ids))]

    def layer(self, name: str, kind: str, weight: str, dim: int, count: int) -> Tensor:
        """Enter a layer and return its units' ids; the same ones when the layer runs again."""
        if name not in self.layers:
            self.layers[name] = Layer(kind, weight, dim, self.fresh(count))
            if count == 1:
                self.block(self.layers[name].ids, f"{name!r} has no other unit")
        return self.layers[name].ids

    def close(self) -> None:
        """Number the tied sets once all ties are known; a block that owns heads is named as a block."""
        for name in self.layers.keys() & self.blocks.keys():
            if self.blocks[name].refusal is None:
                del self.layers[name]
        self.table = torch.tensor([self.find(unit) for unit in range(len(self.parent))] + [FIXED])

    def roots(self, ids: Tensor) -> Tensor:
        return self.table[ids]  # FIXED = -1 reads the last entry, which is FIXED again

    def reason(self, ids: Tensor) -> str | None:
        """Why the first of these units that cannot go cannot; None if all can."""
        return next((self.reasons[root] for root in self.roots(ids).tolist() if root in self.reasons), None)

    def gone(self, slot: Slot, dropped: Tensor) -> Tensor:
        return dropped[self.roots(slot.ids)]

    def resolve(self, model: nn.Module, units: dict[str, Any]) -> tuple[Tensor, list[str]]:
        """Turn `units` into which tied sets go, (sets + 1,) bool, and which blocks; ValueError for what cannot go."""
        dropped = torch.zeros(len(self.table), dtype=torch.bool)
        blocks = []
        for name, wanted in check_names(model, units).items():
            if name in self.layers:
                ids = self.layers[name].ids
                index = check_index(name, wanted, len(ids))
                for unit in index.tolist():
                    reason = self.reason(ids[unit : unit + 1])
                    if reason is not None:
                        raise ValueError(f"unit {unit} of {name!r} cannot be removed: {reason}")
                dropped[self.roots(ids[index])] = True
            elif name in self.blocks:
                if len(check_index(name, wanted, 1, whole=True)):
                    if self.blocks[name].refusal:
                        raise ValueError(f"block {name!r} cannot be removed: {self.blocks[name].refusal}")
                    blocks.append(name)
            else:
                why = self.lost(f"{name}.")
                raise ValueError(
                    f"{name!r} has no units that can go: units are filters of a convolution, neurons of a linear "
                    f"layer, heads of an attention, or a residual block{'; ' if why else ''}{why}"
                )
        for name, layer in self.layers.items():
            if dropped[self.roots(layer.ids)].all():
                raise ValueError(f"units would take all {len(layer.ids)} units of {name!r}; at least one has to stay")
        return dropped, blocks

    def lost(self, within: str = "") -> str:
        """Why the computation could not be followed from the first such layer whose name begins so; "" if it could."""
        reasons = (self.reason(layer.ids) or "" for name, layer in self.layers.items() if name.startswith(within))
        return next((reason for reason in reasons if "followed" in reason), "")


def check_names(model: nn.Module, units: dict[str, Any]) -> dict[str, Any]:
    """Return `units` if its keys are modules of `model`, else raise ValueError."""
    if not isinstance(units, Mapping):
        raise ValueError(f"units is {described(units)}, must be a dict: name of the module → indices")
    known = {name for name, _ in model.named_modules(remove_duplicate=False)}
    for name in units:
        if name not in known:
            raise ValueError(f"units names {name!r}, which is no module of the model")
    return units


def check_index(name: str, index: Tensor | Iterable[int], count: int, whole: bool = False) -> Tensor:
    """Return `index` as a long tensor if it holds distinct integers in [0, count), and not all unless `whole`."""
    try:
        index = torch.as_tensor(index).detach().cpu()
    except (TypeError, ValueError, RuntimeError):
        raise ValueError(f"units[{name!r}] is {described(index)}, must be a list of indices") from None
    if index.numel() == 0:
        return index.new_zeros(0, dtype=torch.long)
    if index.ndim != 1 or index.dtype.is_floating_point or index.dtype in (torch.bool, torch.complex64):
        raise ValueError(
            f"units[{name!r}] has shape {tuple(index.shape)} and type {index.dtype}, must be a list of indices"
        )
    if index.min() < 0 or index.max() >= count:
        bad = index[(index < 0) | (index >= count)][0].item()
        raise ValueError(f"units[{name!r}] holds {bad}, must be in [0, {count})")
    if len(index.unique()) < len(index):
        raise ValueError(f"units[{name!r}] holds an index twice")
    if len(index) == count and not whole:
        raise ValueError(f"units[{name!r}] holds all {count} units; at least one has to stay")
    return index.long()
