"""What torch's functions do to the units of the tensors they take: carry them along, tie them, move them.

`RULES` has one for each function through which units can be followed; what a rule is, layer_rules says.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from pruning_lib.structure.graph import FIXED
from pruning_lib.structure.layer_rules import AxisSize, Trail, attention, channel_norm, layer_norm, weighted


def elementwise(f, name, func, args, kwargs, outputs):
    """f(x), element by element: a zeroed unit reads f(0), which is tried out."""
    x = args[0] if args and isinstance(args[0], Tensor) else None
    if x is None or flat([args[1:], kwargs]) or outputs[0].shape != x.shape:
        return binary(f, name, func, args, kwargs, outputs) if name in BINARY else None
    trail = f.trail(x)
    probe = func(torch.zeros((1,) * x.ndim, dtype=x.dtype, device=x.device), *args[1:], **kwargs)
    if bool((probe == 0).all()):
        return [trail]
    return [replace(trail, offset=trail.offset or f.where(name), source=())]


def binary(f, name, func, args, kwargs, outputs):
    """Addition ties the channels that meet. So does a product, which is zero where one factor is."""
    tensors = flat([args, kwargs])
    if len(tensors) != 2:
        return elementwise(f, name, func, args, kwargs, outputs)
    product = name in ("mul", "div", "prelu")
    trails = [f.trail(t) for t in tensors]
    dims = outputs[0].ndim
    axes = [t.axis + dims - x.ndim for t, x in zip(trails, tensors, strict=True)]
    if name == "prelu" and trails[1].ids is not None:
        axes[1] = 1  # one slope per channel
    offsets = [t.offset for t in trails]
    live = [i for i in (0, 1) if trails[i].ids is not None]
    if not live:
        offset, ids, axis = None, None, 0
    elif len(live) == 2:
        if axes[0] != axes[1] or len(trails[0].ids) != len(trails[1].ids):
            return None
        ids, axis = trails[0].ids, axes[0]
        f.graph.tie(ids, trails[1].ids, f"{f.where(name)} joins it with a channel that stays")
        offset = (offsets[0] and offsets[1]) if product else (offsets[0] or offsets[1])
        if name == "div":
            offset = f.where(name)  # 0 / 0
    else:
        (i,) = live
        ids, axis = trails[i].ids, axes[i]
        other = tensors[1 - i]
        size = other.shape[axis - dims] if dims - axis <= other.ndim else 1
        offset = offsets[i]
        if not product or size > 1:
            f.graph.block(ids, f"{f.where(name)} joins it with something that stays")
        if name == "div" and i == 1:
            offset = f.where(name)
    if product:
        source = trails[0].source or (trails[1].source if name == "mul" else ())
    else:
        source = trails[0].source + trails[1].source if trails[0].source and trails[1].source else ()
    return [Trail(ids, axis, offset, source)]


def pooling(f, name, func, args, kwargs, outputs):
    """Pooling, interpolation and padding over the last axes leave the channels alone."""
    x = args[0] if args else kwargs["input"]
    trail = f.trail(x)
    spatial = int(name[-2]) if name[-2].isdigit() else x.ndim - 2
    if name == "pad":
        pads = list(args[1] if len(args) > 1 else kwargs["pad"])
        spatial = len(pads) // 2
        value = kwargs.get("value", args[3] if len(args) > 3 else None)
        trail = replace(trail, source=()) if not value else replace(trail, offset=f.where(name), source=())
    if trail.ids is not None and trail.axis >= x.ndim - spatial:
        return None
    return [trail] + [replace(trail, source=()) for _ in outputs[1:]]


def reduction(f, name, func, args, kwargs, outputs):
    """A mean or sum over other axes than the channels'."""
    x = args[0]
    trail = f.trail(x)
    dims = kwargs.get("dim", args[1] if len(args) > 1 else None)
    dims = [dims] if isinstance(dims, int) else dims
    if not dims or len(outputs) != 1:
        return None
    dims = {d % x.ndim for d in dims}
    if trail.ids is not None and trail.axis in dims:
        return None
    shift = 0 if outputs[0].ndim == x.ndim else sum(d < trail.axis for d in dims)
    return [replace(trail, axis=trail.axis - shift)]


def moving(f, name, func, args, kwargs, outputs):
    """Flatten, permute, index: moving the ids as the function moves the elements shows where they go."""
    x = args[0]
    trail = f.trail(x)
    if flat([args[1:], kwargs]):
        return None
    if trail.ids is None:
        return [trail if name != "getitem" else Trail()] * len(outputs)
    shape = [-1 if d == trail.axis else 1 for d in range(x.ndim)]
    numbered = trail.ids.view(shape).expand(x.shape)
    moved = func(numbered.contiguous() if name == "view" else numbered, *args[1:], **kwargs)
    trails = []
    for ids in flat([moved]):
        axes = [d for d in range(ids.ndim) if bool((ids != ids.narrow(d, 0, 1)).any())] if ids.numel() else []
        if len(axes) != 1:
            return None
        (axis,) = axes
        line = ids.movedim(axis, 0).flatten(1)[:, 0] if ids.ndim > 1 else ids
        if name in SIZED and not fits(f, trail.ids, sizes_of(args, kwargs), axis):
            return None
        if name not in (*SIZED, "flatten") and not torch.equal(line, trail.ids):
            return None
        trails.append(replace(trail, ids=line, axis=axis, source=() if name == "getitem" else trail.source))
    return trails


def fits(f, ids: Tensor, sizes: list[int], axis: int) -> bool:
    """A reshape survives removal if the axis the units end on is -1 or the size of an axis with units."""
    size = sizes[axis] if axis < len(sizes) else None
    if isinstance(size, AxisSize) and len(size.ids) == len(ids):
        f.graph.tie(ids, size.ids, f"{f.where('reshape')} takes its size from channels that stay")
        return True
    return size == -1


def sizes_of(args: tuple, kwargs: dict) -> list[int]:
    sizes = args[1:] or tuple(v for k, v in kwargs.items() if k in ("size", "shape"))
    return list(sizes[0] if sizes and isinstance(sizes[0], tuple | list) else sizes)


def like(f, name, func, args, kwargs, outputs):
    """expand_as, view_as: to the size of another tensor."""
    x, other = args
    a, b = f.trail(x), f.trail(other)
    if a.ids is None:
        return None if b.ids is not None and x.numel() > 1 else [a]
    if x.ndim != other.ndim or b.ids is None or (a.axis, len(a.ids)) != (b.axis, len(b.ids)):
        f.hold(b, f"{f.where(name)} takes its size from it")
        return None
    f.graph.tie(a.ids, b.ids, f"{f.where(name)} takes its size from channels that stay")
    return [a]


def concatenation(f, name, func, args, kwargs, outputs):
    """Channels side by side: each keeps its own id."""
    tensors = list(args[0] if args else kwargs["tensors"])
    dim = kwargs.get("dim", args[1] if len(args) > 1 else 0) % outputs[0].ndim
    trails = [f.trail(t) for t in tensors]
    offset = next((t.offset for t in trails if t.offset), None)
    axes = {t.axis for t in trails if t.ids is not None}
    if not axes:
        return [Trail()]
    if axes != {dim}:
        if len(axes) > 1 or any(t.ids is None for t in trails):
            return None
        for t in trails[1:]:
            f.graph.tie(trails[0].ids, t.ids, f"{f.where(name)} joins it with a channel that stays")
        return [Trail(trails[0].ids, axes.pop(), offset)]
    parts = [
        torch.full((x.shape[dim],), FIXED) if t.ids is None else t.ids for x, t in zip(tensors, trails, strict=True)
    ]
    return [Trail(torch.cat(parts), dim, offset)]


def chunks(f, name, func, args, kwargs, outputs):
    """Equal parts have to stay equal: the same index of every part is tied."""
    trail = f.trail(args[0])
    dim = kwargs.get("dim", args[2] if len(args) > 2 else 0) % args[0].ndim
    if trail.ids is None or trail.axis != dim:
        return [replace(trail, source=()) for _ in outputs]
    parts = trail.ids.chunk(len(outputs))
    if len({len(part) for part in parts}) > 1 or len(parts) != len(outputs):
        return None
    for part in parts[1:]:
        f.graph.tie(parts[0], part, f"{f.where(name)} needs equal parts")
    return [replace(trail, ids=part, source=()) for part in parts]


def flat(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, dict):
        value = list(value.values())
    return [t for item in value for t in flat(item)] if isinstance(value, tuple | list) else []


def names(text: str, rule: Callable) -> dict[str, Callable]:
    return dict.fromkeys(text.split(), rule)


BINARY = ("add", "sub", "mul", "div", "maximum", "minimum", "prelu")
SIZED = ("view", "reshape", "expand")
POOLS = [f"{pool}{d}d" for pool in ("max_pool", "avg_pool", "lp_pool") for d in (1, 2, 3)]
POOLS += [f"adaptive_{pool}{d}d" for pool in ("max_pool", "avg_pool") for d in (1, 2, 3)]
RULES: dict[str, Callable] = (
    names("conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d linear", weighted)
    | names("batch_norm instance_norm group_norm", channel_norm)
    | names("layer_norm", layer_norm)
    | names("multi_head_attention_forward attend", attention)
    | dict.fromkeys(BINARY, binary)
    | names(
        "relu relu6 leaky_relu rrelu elu selu celu gelu silu mish hardtanh hardswish hardsigmoid sigmoid", elementwise
    )
    | names("logsigmoid tanh softplus softsign tanhshrink softshrink hardshrink threshold", elementwise)
    | names("exp expm1 log log1p sqrt rsqrt square pow rpow abs neg sin cos erf reciprocal rtruediv", elementwise)
    | names("sign round floor ceil clamp clamp_min clamp_max clip zeros_like ones_like", elementwise)
    | names("dropout dropout1d dropout2d dropout3d alpha_dropout feature_alpha_dropout", elementwise)
    | names("contiguous clone detach to type float half double bfloat16", elementwise)
    | dict.fromkeys(POOLS, pooling)
    | names("max_pool1d_with_indices max_pool2d_with_indices max_pool3d_with_indices", pooling)
    | names("interpolate upsample pad", pooling)
    | names("mean sum amax amin", reduction)
    | names("flatten permute transpose swapaxes swapdims movedim moveaxis unsqueeze squeeze getitem unbind", moving)
    | names("t T mT", moving)
    | dict.fromkeys(SIZED, moving)
    | names("expand_as view_as reshape_as", like)
    | names("cat concat concatenate", concatenation)
    | names("chunk", chunks)
)
