"""What layers do to units: convolutions and linear layers read and make them, norms follow, heads live in attention.

A rule gets the follower (see tracing), the function's name, the function and its arguments, and returns one `Trail` per
output, or None if it cannot tell; then the follower keeps the units that went in.
"""

from dataclasses import dataclass
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
    offset: str | None = None  # set where a zeroed unit is not zero here any more, to the function that did it
    source: tuple[str, ...] = ()  # tensors that, zeroed, make this one zero altogether


class AxisSize(int):
    """The size of an axis that units run along: a reshape to such a size still fits once units are gone."""

    ids: Tensor


def weighted(f, name, func, args, kwargs, outputs):
    """Convolution or linear layer: y_k = Σ_c W[k, c] x_c + b_k reads the units c and makes the units k."""
    module, layer = f.frames[-1].module, f.frames[-1].name
    if not isinstance(module, (*CONVOLUTIONS, nn.Linear)) or len(args) < 2:
        return None
    x, weight = args[0], module._parameters.get("weight")
    if args[1] is not weight or (args[2] if len(args) > 2 else kwargs.get("bias")) is not module._parameters.get(
        "bias"
    ):
        return None
    groups = getattr(module, "groups", 1)
    axis = x.ndim - 1 - (weight.ndim - 2)
    inputs = along(f, x, axis, name)
    if out_dim(module) and groups > 1:
        f.hold(f.trail(x), f"grouped transposed convolution {layer!r} cannot be made smaller")
        return None
    w = f.names[id(weight)]
    dim = out_dim(module)
    kind = "neuron" if isinstance(module, nn.Linear) else "filter"
    made = f.graph.layer(layer, Layer(kind, w, dim), outputs[0].shape[axis])
    f.graph.slot(w, dim, made, zeroed=True)
    source = (w,)
    if module.bias is not None:
        source += (f.names[id(module.bias)],)
        f.graph.slot(source[1], 0, made, zeroed=True)
    if groups == 1:
        read(f, x, f"{layer!r} would read it")
        f.graph.slot(w, 1 - dim, inputs, zeroed=False)
    else:  # only whole groups can go: their inputs and outputs are tied
        members = torch.cat([inputs.view(groups, -1), made.view(groups, -1)], 1)
        for column in members.T[:-1]:
            f.graph.tie(
                column, members[:, -1], f"it goes through the grouped convolution {layer!r} with one that stays"
            )
    for frame in f.frames:
        frame.weights.append(w)
    return [Trail(made, axis, source=source)]


def channel_norm(f, name, func, args, kwargs, outputs):
    """Batch, instance and group norm: one scale, shift, mean and variance per channel, zeroed with it."""
    x, module = args[0], f.frames[-1].module
    if not isinstance(module, CHANNEL_NORMS) or module._parameters.get("weight") is not args_weight(name, args, kwargs):
        return None
    affine = module.weight is not None
    axis = 1
    if isinstance(module, instancenorm._InstanceNorm) and x.ndim == module._get_no_batch_dim():
        return None
    ids = along(f, x, axis, name)
    source = ()
    for key, zeroed in [("weight", True), ("bias", True), ("running_mean", True), ("running_var", False)]:
        tensor = getattr(module, key, None)
        if tensor is not None:
            f.graph.slot(f.names[id(tensor)], 0, ids, zeroed)
            source += (f.names[id(tensor)],) * (key in ("weight", "bias"))
    if isinstance(module, nn.GroupNorm):
        if not affine:
            f.hold(f.trail(x), f"group norm {f.frames[-1].name!r} without scale cannot be made smaller")
        members = ids.view(module.num_groups, -1)
        for column in members.T[1:]:
            f.graph.tie(members[:, 0], column, f"group norm {f.frames[-1].name!r} averages it with one that stays")
        if module.num_groups == 1:
            f.graph.block(ids, f"group norm {f.frames[-1].name!r} averages over all channels")
    offset = None if affine else f.trail(x).offset
    return [Trail(ids if (ids != FIXED).any() else None, axis, offset, source)]


def args_weight(name: str, args: tuple, kwargs: dict) -> Any:
    """The scale a norm function was called with."""
    position = {"batch_norm": 3, "instance_norm": 3, "group_norm": 2}[name]
    return kwargs.get("weight", args[position] if len(args) > position else None)


def layer_norm(f, name, func, args, kwargs, outputs):
    """Layer norm averages over its channels, so none can go without changing the others."""
    for t in args[:1]:
        f.hold(f.trail(t), f"layer norm {f.frames[-1].name!r} averages over all channels")
    module = f.frames[-1].module
    source = tuple(f.names[id(t)] for t in getattr(module, "_parameters", {}).values() if id(t) in f.names)
    return [Trail(source=source if isinstance(module, nn.LayerNorm) else ())]


def attention(f, name, func, args, kwargs, outputs):
    """Multi-head attention: heads are units that live inside, between the in- and the out-projection."""
    module, layer = f.frames[-1].module, f.frames[-1].name
    if type(module) not in (nn.MultiheadAttention, FewerHeads):
        return None
    for t in args[:3]:
        f.hold(f.trail(t), f"attention {layer!r} has a fixed embedding")
    rows = {
        key: t
        for key, t in module._parameters.items()
        if key.startswith(("in_proj", "q_", "k_", "v_")) and t is not None
    }
    out = module.out_proj
    names = {key: f.names.get(id(t)) for key, t in {**rows, "out": out._parameters.get("weight")}.items()}
    if None in names.values():
        return None
    heads = f.graph.layer(layer, Layer("head", names["out"], 1), module.num_heads)
    of_feature = heads.repeat_interleave(module.head_dim)
    if module.bias_k is not None or module.add_zero_attn:
        f.graph.block(heads, "attention with bias_k or add_zero_attn cannot be made smaller")
    for key, t in rows.items():
        f.graph.slot(names[key], 0, of_feature.repeat(len(t) // len(of_feature)), zeroed=True)
    f.graph.slot(names["out"], 1, of_feature, zeroed=True)
    for frame in f.frames:
        frame.weights += [n for key, n in names.items() if key != "in_proj_bias"]
    source = tuple(f.names[id(t)] for t in (out.weight, out.bias) if t is not None)
    return [Trail(source=source)] + [Trail() for _ in outputs[1:]]


def along(f, x: Tensor, axis: int, name: str) -> Tensor:
    """The ids along one axis; units along another axis cannot be followed and stay."""
    trail = f.trail(x)
    if trail.ids is not None and trail.axis == axis:
        return trail.ids
    f.hold(trail, f"{f.where(name)} works along another axis")
    return torch.full((x.shape[axis],), FIXED)


def read(f, x: Tensor, who: str) -> None:
    """Only a unit that is zero when zeroed can be taken from a reader."""
    trail = f.trail(x)
    if trail.offset:
        f.hold(trail, f"{trail.offset} turns its zeros into something else, and {who}")


def out_dim(module: nn.Module) -> int:
    """The dimension of the weight that runs over a layer's outputs."""
    return 1 if getattr(module, "transposed", False) else 0
