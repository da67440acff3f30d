"""What layers do to units: convolutions and linear layers read and make them, norms follow, heads live in attention.

A rule gets the follower (see tracing), the function's name, the function and its arguments, and returns one `Trail` per
output, or None if it cannot tell; then the follower keeps the units that went in.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules import batchnorm, instancenorm

from pruning_lib.structure.attention import FewerHeads
from pruning_lib.structure.graph import FIXED, Layer

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
CHANNEL_NORMS = (batchnorm._BatchNorm, instancenorm._InstanceNorm, nn.GroupNorm)


@dataclass
class Trail:
    """What is known of a tensor: the units along one of its axes, and what they read once they are zeroed."""

    ids: Tensor | None = None  # (size of the axis,), or None where no unit can be taken from this tensor
    axis: int = 0
    value: float = 0.0  # what a zeroed unit is here, nan where that is unknown or not the same everywhere
    offset: str | None = None  # the function that made it other than zero
    source: tuple[str, ...] = ()  # tensors that, zeroed, make this one zero altogether

    def after(self, value: float, where: str) -> "Trail":
        """What is left of the trail after a function that gives a zeroed unit this value."""
        if value == 0:
            return replace(self, value=0.0, offset=None)
        return replace(self, value=value, offset=self.offset or where, source=())

    def mixed(self) -> "Trail":
        """After a function of several of a unit's entries that gives zero for zeros."""
        return replace(self, value=math.nan if self.offset else 0.0)


class UnitSize(int):
    """A size that knows what it comes from, so that a reshape to it still fits once units are gone.

    `parts`: what it changes with, the units along an axis (their ids) or an integer attribute (module, name), and how
    many times as large it is. No parts: it depends on such a number in another way.
    """

    parts: tuple[tuple[Any, Fraction], ...]

    def __new__(cls, size: int, *parts: tuple[Any, Fraction]):
        self = super().__new__(cls, size)
        self.parts = parts
        return self

    def __mul__(self, other):
        if not isinstance(other, int):
            return int(self) * other
        parts = [(base, times * int(other)) for base, times in self.parts]
        if isinstance(other, UnitSize):
            parts += [(base, times * int(self)) for base, times in other.parts]
        return UnitSize(int(self) * int(other), *parts)

    __rmul__ = __mul__

    def __floordiv__(self, other):
        size = int(self) // other
        exact = type(other) is int and size * other == self
        parts = [(base, times / other) for base, times in self.parts] if exact else []
        return UnitSize(size, *parts) if type(size) is int else size

    def __rfloordiv__(self, other):
        size = other // int(self)
        return UnitSize(size) if type(size) is int else size


def tensors_in(value: Any) -> list[Tensor]:
    """All tensors in nested tuples, lists, dicts and data classes, in order."""
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, Mapping):
        value = list(value.values())
    elif hasattr(value, "__dataclass_fields__"):
        value = list(vars(value).values())
    return [t for item in value for t in tensors_in(item)] if isinstance(value, tuple | list) else []


def given(args: tuple, kwargs: dict, position: int, name: str, default: Any = None) -> Any:
    """An argument, wherever it was given."""
    return args[position] if len(args) > position else kwargs.get(name, default)


def weighted(f, name, func, args, kwargs, outputs):
    """Convolution or linear layer: y_k = Σ_c W[k, c] x_c + b_k reads the units c and makes the units k."""
    module, layer = f.frames[-1].module, f.frames[-1].name
    if not isinstance(module, (*CONVOLUTIONS, nn.Linear)):
        return None
    x, weight, bias = args[0], module._parameters.get("weight"), module._parameters.get("bias")
    if given(args, kwargs, 1, "weight") is not weight or given(args, kwargs, 2, "bias") is not bias:
        return None
    groups = getattr(module, "groups", 1)
    axis = x.ndim - 1 - (weight.ndim - 2)
    inputs = _along(f, x, axis, name)
    if _out_dim(module) and groups > 1:
        f.hold(f.trail(x), f"grouped transposed convolution {layer!r} cannot be made smaller")
        return None
    w, dim = f.names[id(weight)], _out_dim(module)
    made = f.graph.layer(layer, kind_of(module), w, dim, outputs[0].shape[axis])
    source = ()
    for tensor, along_units, _ in parts_of(module):
        source += (f.names[id(tensor)],)
        f.graph.slot(source[-1], along_units, made, zeroed=True)
    if groups == 1:
        if offset := f.trail(x).offset:  # only a unit that is zero when zeroed can be taken from a reader
            f.hold(f.trail(x), f"{offset} turns its zeros into something else, and {layer!r} would read it")
        f.graph.slot(w, 1 - dim, inputs, zeroed=False)
        counted = {}
    else:  # only whole groups can go: their inputs and outputs are tied
        members = torch.cat([inputs.view(groups, -1), made.view(groups, -1)], 1)
        for column in members.T[:-1]:
            reason = f"it goes through the grouped convolution {layer!r} with one that stays"
            f.graph.tie(column, members[:, -1], reason)
        counted = {"groups": members[:, -1]}
    sizes = ("in_features", "out_features") if isinstance(module, nn.Linear) else ("in_channels", "out_channels")
    f.graph.size(layer, **dict(zip(sizes, (inputs, made), strict=True)), **counted)
    for frame in f.frames:
        frame.weights.append(w)
    return [Trail(made, axis, source=source)]


def channel_norm(f, name, func, args, kwargs, outputs):
    """Batch, instance and group norm: one scale, shift, mean and variance per channel, zeroed with it."""
    x, module, layer = args[0], f.frames[-1].module, f.frames[-1].name
    weight = given(args, kwargs, 2 if name == "group_norm" else 3, "weight")
    if not isinstance(module, CHANNEL_NORMS) or module._parameters.get("weight") is not weight:
        return None
    if isinstance(module, instancenorm._InstanceNorm) and x.ndim == module._get_no_batch_dim():
        return None
    ids = _along(f, x, 1, name)
    source = ()
    for key, zeroed in [("weight", True), ("bias", True), ("running_mean", True), ("running_var", False)]:
        tensor = getattr(module, key, None)
        if tensor is not None:
            f.graph.slot(f.names[id(tensor)], 0, ids, zeroed)
            source += (f.names[id(tensor)],) * (key in ("weight", "bias"))
    if isinstance(module, nn.GroupNorm):
        members = ids.view(module.num_groups, -1)
        for column in members.T[1:]:
            f.graph.tie(members[:, 0], column, f"group norm {layer!r} averages it with one that stays")
        if module.num_groups == 1:
            f.graph.block(ids, f"group norm {layer!r} averages over all channels")
        f.graph.size(layer, num_channels=ids, num_groups=members[:, 0])
    else:
        f.graph.size(layer, num_features=ids)
    before = Trail() if weight is not None else f.trail(x).mixed()
    return [replace(before, ids=ids if (ids != FIXED).any() else None, axis=1, source=source)]


def layer_norm(f, name, func, args, kwargs, outputs):
    """Layer norm and RMS norm average over the last axes, so there no unit can go without changing the others."""
    x, module = args[0], f.frames[-1].module
    trail = f.trail(x)
    if trail.ids is not None and trail.axis < x.ndim - len(given(args, kwargs, 1, "normalized_shape")):
        return [trail.after(math.nan, f.where(name))]  # the shift is not zero
    f.hold(trail, f"{name.replace('_', ' ')} {f.frames[-1].name!r} averages over all channels")
    source = tuple(f.names[id(t)] for t in module._parameters.values() if id(t) in f.names)
    return [Trail(source=source if isinstance(module, nn.LayerNorm | nn.RMSNorm) else ())]


def attention(f, name, func, args, kwargs, outputs):
    """Multi-head attention: heads are units that live inside, between the in- and the out-projection."""
    module, layer = f.frames[-1].module, f.frames[-1].name
    if type(module) not in (nn.MultiheadAttention, FewerHeads):
        return None
    for t in args[:3]:
        f.hold(f.trail(t), f"attention {layer!r} has a fixed embedding")
    parts = parts_of(module)
    names = [f.names.get(id(t)) for t, *_ in parts]
    if None in names:
        return None
    heads = f.graph.layer(layer, "head", names[-1], 1, module.num_heads)
    f.graph.size(layer, num_heads=heads)
    f.graph.size(f"{layer}.out_proj" if layer else "out_proj", in_features=heads[parts[-1][2]])
    if module.bias_k is not None or module.add_zero_attn:
        f.graph.block(heads, "attention with bias_k or add_zero_attn cannot be made smaller")
    for name, (_, dim, units) in zip(names, parts, strict=True):
        f.graph.slot(name, dim, heads[units], zeroed=True)
    for frame in f.frames:
        frame.weights += [name for name, (t, *_) in zip(names, parts, strict=True) if t.ndim > 1]
    out = module.out_proj
    source = tuple(f.names[id(t)] for t in (out.weight, out.bias) if t is not None)
    return [Trail(source=source)] + [Trail() for _ in outputs[1:]]


def dot_product_attention(f, name, func, args, kwargs, outputs):
    """softmax(QKᵀ/√d + mask) V of heads that a module has split off itself; several of Q may share one of K and V."""
    tensors = [given(args, kwargs, i, key) for i, key in enumerate(("query", "key", "value"))]
    trails = [f.trail(t) for t in tensors]
    mask = given(args, kwargs, 3, "attn_mask")
    if all(t.ids is None for t in trails):
        return [Trail()]
    if any(t.ids is None or t.axis != x.ndim - 3 for t, x in zip(trails, tensors, strict=True)):
        return None
    if mask is not None and (f.trail(mask).ids is not None or (mask.ndim > 2 and mask.shape[-3] > 1)):
        return None
    query, value = trails[0], trails[2]
    for t in trails[1:]:
        shared = t.ids.repeat_interleave(len(query.ids) // len(t.ids))
        f.graph.tie(query.ids, shared, f"{f.where(name)} joins it with a head that stays")
    name_heads(f, query.ids)
    return [replace(value.mixed(), ids=query.ids, axis=query.axis, source=())]


def name_heads(f, ids: Tensor) -> None:
    """The module that runs attends with these units: what makes them are its projections, and they are its heads."""
    units, name = f.graph.members(ids).keys(), f.frames[-1].name
    layers = f.graph.layers
    made = [key for key, m in layers.items() if m.kind != "head" and f.graph.members(m.ids).keys() <= units]
    if not made or any(len(layers[key].ids) == len(f.graph.members(layers[key].ids)) for key in made):
        return
    for key in made:
        layers[key].kind = "projection"
    if name not in layers:  # before its projections, so that they are scored under its name
        items, first = list(layers.items()), layers[made[0]]
        items.insert(list(layers).index(made[0]), (name, Layer("head", first.weight, first.dim, ids)))
        f.graph.layers = dict(items)


def _along(f, x: Tensor, axis: int, name: str) -> Tensor:
    """The ids along one axis; units along another axis cannot be followed and stay."""
    trail = f.trail(x)
    if trail.ids is not None and trail.axis == axis:
        return trail.ids
    f.hold(trail, f"{f.where(name)} works along another axis")
    return torch.full((x.shape[axis],), FIXED)


def _out_dim(module: nn.Module) -> int:
    """The dimension of the weight that runs over a layer's outputs."""
    return 1 if getattr(module, "transposed", False) else 0


def kind_of(module: nn.Module) -> str | None:
    """What the units of a layer are, None for a module that has none of its own."""
    kinds = {nn.MultiheadAttention: "head", nn.Linear: "neuron"} | dict.fromkeys(CONVOLUTIONS, "filter")
    return next((kind for base, kind in kinds.items() if isinstance(module, base)), None)


def parts_of(module: nn.Module) -> list[tuple[Tensor, int, Tensor]]:
    """(tensor, dim, number of the unit of each index along it) for all that belongs to the units of a layer."""
    if isinstance(module, nn.MultiheadAttention):
        units = torch.arange(module.num_heads).repeat_interleave(module.head_dim)
        split = (module.q_proj_weight, module.k_proj_weight, module.v_proj_weight)
        parts = [(t, 0, units) for t in split]
        parts += [(t, 0, units.repeat(3)) for t in (module.in_proj_weight, module.in_proj_bias)]
        parts += [(module.out_proj.weight, 1, units)]
    else:
        dim = _out_dim(module)
        units = torch.arange(module.weight.shape[dim])
        parts = [(module.weight, dim, units), (module.bias, 0, units)]
    return [part for part in parts if part[0] is not None]
