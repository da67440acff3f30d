"""How torch's functions couple units: an addition ties the channels that meet; others carry them along or move them.

`RULES` has one for each function through which units can be followed; what a rule is, layer_rules says.
"""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from pruning_lib.structure.graph import FIXED
from pruning_lib.structure.layer_rules import (
    Trail,
    UnitSize,
    attention,
    channel_norm,
    dot_product_attention,
    given,
    layer_norm,
    name_heads,
    tensors_in,
    weighted,
)


def elementwise(f, name, func, args, kwargs, outputs):
    """f(x), element by element: what it makes of a zeroed unit is tried out."""
    x, *rest = args
    if not isinstance(x, Tensor) or tensors_in([rest, kwargs]) or outputs[0].shape != x.shape:
        return None
    trail = f.trail(x)
    if math.isnan(trail.value) or (trail.ids is None and not trail.source):
        return [trail]
    probe = func(torch.full((1,) * x.ndim, trail.value, dtype=x.dtype, device=x.device), *rest, **kwargs)
    # What is infinite or nan no norm can make zero again.
    return [trail.after(float(probe), f.where(name))] if probe.isreal().all() and probe.isfinite().all() else None


def _binary(f, name, func, args, kwargs, outputs):
    """Addition ties the channels that meet. So does a product, which is zero where one factor is."""
    tensors = tensors_in([args, kwargs])
    if len(tensors) == 1:
        return elementwise(f, name, func, args, kwargs, outputs)
    matrix = name in ("matmul", "bmm")
    if len(tensors) != 2 or (matrix and min(x.ndim for x in tensors) < 2):
        return None
    trails = [f.trail(t) for t in tensors]
    dims = outputs[0].ndim
    axes = [t.axis + dims - x.ndim for t, x in zip(trails, tensors, strict=True)]
    live = [i for i in (0, 1) if trails[i].ids is not None]
    if name == "prelu" and 1 in live:
        axes[1] = 1  # one slope per channel
        if isinstance(f.frames[-1].module, nn.PReLU):
            f.graph.size(f.frames[-1].name, num_parameters=trails[1].ids)
    if len(live) == 2 and axes[0] != axes[1]:  # a vector of the model's along another axis than a layer's units stays
        stays = next((i for i in live if not f.graph.made(trails[i].ids)), None)
        if stays is None:
            return None
        f.hold(trails[stays], f"{f.where(name)} works along another axis")
        live.remove(stays)
    commutes = name == "mul" or matrix or (name == "masked_fill" and given(args, kwargs, 2, "value") == 0)
    if commutes or name in ("div", "prelu"):
        source = trails[0].source or (trails[1].source if commutes else ())
    else:
        source = trails[0].source + trails[1].source if trails[0].source and trails[1].source else ()
    if not live:
        return [Trail(source=source)]
    first = trails[live[0]]
    ids, axis = first.ids, axes[live[0]]
    if matrix and axis >= dims - 2:
        return None  # rows or columns of the matrices themselves
    if len(live) == 2:
        if len(ids) != len(trails[1].ids):
            return None
        f.graph.tie(ids, trails[1].ids, f"{f.where(name)} joins it with a channel that stays")
        if matrix and trails[0].offset:
            name_heads(f, ids)  # softmax(scores) V
    else:
        other = tensors[1 - live[0]]
        if dims - axis <= other.ndim and other.shape[axis - dims] > 1:
            f.graph.block(ids, f"{f.where(name)} joins it with something that stays")
    values = [trails[i].value if i in live else math.nan for i in (0, 1)]
    if name == "div" and 1 in live and not abs(values[1]) > 0:
        return None  # by zero, or by what may be
    value = math.nan
    if (values[0] == 0 and (commutes or name in ("div", "prelu"))) or (values[1] == 0 and commutes):
        value = 0.0
    elif name in _BINARY and not any(map(math.isnan, values)):
        scale = {key: kwargs[key] for key in ("alpha",) if key in kwargs}
        value = func(*torch.tensor(values, dtype=torch.float64)[:, None], **scale).item()
    offset = next((t.offset for t in trails if t.offset), None)
    return [Trail(ids, axis, 0.0, offset, source).after(value, f.where(name))]


def _gated(f, name, func, args, kwargs, outputs):
    """GLU: the first half times the sigmoid of the second; a unit and its gate go together."""
    x = args[0]
    trail = f.trail(x).mixed()
    if trail.ids is None or trail.axis != given(args, kwargs, 1, "dim", -1) % x.ndim:
        return [trail]
    unit, gate = trail.ids.chunk(2)
    f.graph.tie(unit, gate, f"{f.where(name)} joins it with a channel that stays")
    return [replace(trail, ids=unit)]


def _softmax(f, name, func, args, kwargs, outputs):
    """Shares along another axis than the units': those of a zeroed unit are equal, not zero."""
    trail, dim = f.trail(args[0]), given(args, kwargs, 1, "dim")
    if dim is None or (trail.ids is not None and trail.axis == dim % args[0].ndim):
        return None
    return [trail.after(math.nan, f.where(name))]


def _pooling(f, name, func, args, kwargs, outputs):
    """Pooling, interpolation and padding over the last axes leave the channels alone."""
    x = args[0]
    trail = f.trail(x).mixed()
    spatial = int(name[-2]) if name[-2].isdigit() else x.ndim - 2
    if name == "pad":
        spatial = len(given(args, kwargs, 1, "pad")) // 2
        trail = replace(trail, source=())
        if given(args, kwargs, 3, "value"):
            trail = trail.after(math.nan, f.where(name))
    if trail.ids is not None and trail.axis >= x.ndim - spatial:
        return None
    return [trail] + [replace(trail, source=()) for _ in outputs[1:]]


def _reduction(f, name, func, args, kwargs, outputs):
    """A mean or sum over other axes than the channels'."""
    x = args[0]
    trail = f.trail(x).mixed()
    dims = given(args, kwargs, 1, "dim")
    dims = [dims] if isinstance(dims, int) else dims
    if not dims or len(outputs) != 1:
        return None
    dims = {d % x.ndim for d in dims}
    if trail.ids is not None and trail.axis in dims:
        return None
    shift = 0 if outputs[0].ndim == x.ndim else sum(d < trail.axis for d in dims)
    return [replace(trail, axis=trail.axis - shift)]


def _moving(f, name, func, args, kwargs, outputs):
    """Flatten, permute, index: moving the ids as the function moves the elements shows where they go."""
    x = args[0]
    trail = f.trail(x)
    if tensors_in([args[1:], kwargs]):
        return None
    if trail.ids is None:
        return [trail if name != "getitem" else Trail()] * len(outputs)
    shape = [-1 if d == trail.axis else 1 for d in range(x.ndim)]
    numbered = trail.ids.view(shape).expand(x.shape)
    moved = func(numbered.contiguous() if name == "view" else numbered, *args[1:], **kwargs)
    trails = []
    for ids in tensors_in([moved]):
        axes = [d for d in range(ids.ndim) if bool((ids != ids.narrow(d, 0, 1)).any())] if ids.numel() else []
        sizes = _sizes_of(name, x, args, kwargs) if name in _SIZED else []
        if not axes or (len(axes) > 1 and len(sizes) != ids.ndim):
            return None
        axis = min(axes, key=lambda d: _lasting(sizes[d])) if len(axes) > 1 else axes[0]
        lines = ids.movedim(axis, 0).flatten(1)
        line = lines[:, 0]
        if len(axes) > 1:  # what a reshape puts side by side goes together, the axis `axis` gets shorter
            for other in lines.T[1:]:
                f.graph.tie(line, other, f"{f.where(name)} puts it beside a channel that stays")
            if any(isinstance(size, UnitSize) and not size.parts for d, size in enumerate(sizes) if d != axis):
                return None
        if name in _SIZED and not (axis < len(sizes) and _fits(f, name, line, sizes[axis])):
            return None
        if name not in (*_SIZED, "flatten", "repeat_interleave") and not torch.equal(line, trail.ids):
            return None
        trails.append(replace(trail, ids=line, axis=axis, source=() if name == "getitem" else trail.source))
    return trails


def _lasting(size: int) -> int:
    """Which axis of a reshape is to change with the units, least first: one that is computed from a number of units."""
    if isinstance(size, UnitSize) and any(isinstance(base, Tensor) for base, _ in size.parts):
        return 0
    return 1 if size == -1 or (isinstance(size, UnitSize) and size.parts) else 2


def _fits(f, name: str, ids: Tensor, size: int) -> bool:
    """A reshape survives removal if the axis the units end on is -1, or as large as a number that changes with them."""
    for base, times in getattr(size, "parts", ()):
        if isinstance(base, tuple):
            if times == 1:  # the attribute follows the units from now on
                f.graph.size(base[0], **{base[1]: ids})
            base = f.graph.sizes.get(base)
        if base is None:
            continue
        wanted = {unit: count * times for unit, count in f.graph.members(base).items()}
        if f.graph.members(ids) == wanted:
            return True
        if times == 1 and len(base) == len(ids):
            f.graph.tie(ids, base, f"{f.where(name)} takes its size from channels that stay")
            return True
    return size == -1


def _sizes_of(name: str, x: Tensor, args: tuple, kwargs: dict) -> list[Any]:
    """The sizes that a reshape asks for, as they were written."""
    if name == "unflatten":
        dim = given(args, kwargs, 1, "dim") % x.ndim
        return [-1] * dim + [*given(args, kwargs, 2, "sizes")] + [-1] * (x.ndim - dim - 1)
    sizes = args[1:] or tuple(v for k, v in kwargs.items() if k in ("size", "shape"))
    return list(sizes[0] if sizes and isinstance(sizes[0], tuple | list) else sizes)


def _like(f, name, func, args, kwargs, outputs):
    """expand_as, view_as: to the size of another tensor."""
    x, other = args[0], given(args, kwargs, 1, "other")
    if f.trail(x).ids is None:
        return None if f.trail(other).ids is not None and x.numel() > 1 else [f.trail(x)]
    name = name.removesuffix("_as")
    return _moving(f, name, getattr(Tensor, name), (x, *f.sized(other, other.shape, ())), {}, outputs)


def _concatenation(f, name, func, args, kwargs, outputs):
    """Channels side by side: each keeps its own id."""
    tensors = list(args[0])
    dim = given(args, kwargs, 1, "dim", 0) % outputs[0].ndim
    trails = [f.trail(t) for t in tensors]
    offset = next((t.offset for t in trails if t.offset), None)
    value = math.nan if offset else 0.0
    axes = {t.axis for t in trails if t.ids is not None}
    if not axes:
        return [Trail()]
    if axes != {dim}:
        if len(axes) > 1 or any(t.ids is None for t in trails):
            return None
        for t in trails[1:]:
            f.graph.tie(trails[0].ids, t.ids, f"{f.where(name)} joins it with a channel that stays")
        return [Trail(trails[0].ids, axes.pop(), value, offset)]
    parts = [
        torch.full((x.shape[dim],), FIXED) if t.ids is None else t.ids for x, t in zip(tensors, trails, strict=True)
    ]
    return [Trail(torch.cat(parts), dim, value, offset)]


def _chunks(f, name, func, args, kwargs, outputs):
    """Equal parts have to stay equal: the same index of every part is tied."""
    trail = f.trail(args[0])
    dim = given(args, kwargs, 2, "dim", 0) % args[0].ndim
    if trail.ids is None or trail.axis != dim:
        return [replace(trail, source=()) for _ in outputs]
    parts = trail.ids.chunk(len(outputs))
    if len({len(part) for part in parts}) > 1 or len(parts) != len(outputs):
        return None
    for part in parts[1:]:
        f.graph.tie(parts[0], part, f"{f.where(name)} needs equal parts")
    return [replace(trail, ids=part, source=()) for part in parts]


_BINARY = ("add", "sub", "mul", "div", "maximum", "minimum", "prelu")
_SIZED = ("view", "reshape", "expand", "unflatten")
POOLS = [f"{pool}{d}d" for pool in ("max_pool", "avg_pool", "lp_pool") for d in (1, 2, 3)]
POOLS += [f"adaptive_{pool}{d}d" for pool in ("max_pool", "avg_pool") for d in (1, 2, 3)]
_NAMES = {
    weighted: "conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d linear",
    channel_norm: "batch_norm instance_norm group_norm",
    layer_norm: "layer_norm rms_norm",
    attention: "multi_head_attention_forward attend",
    dot_product_attention: "scaled_dot_product_attention",
    _binary: f"{' '.join(_BINARY)} matmul bmm masked_fill",
    _gated: "glu",
    _softmax: "softmax",
    elementwise: (
        "relu relu6 leaky_relu rrelu elu selu celu gelu silu mish hardtanh hardswish hardsigmoid sigmoid "
        "logsigmoid tanh softplus softsign tanhshrink softshrink hardshrink threshold "
        "exp expm1 log log1p sqrt rsqrt square pow rpow abs neg sin cos erf reciprocal rdiv "
        "sign round floor ceil clamp clamp_min clamp_max clip zeros_like ones_like "
        "dropout dropout1d dropout2d dropout3d alpha_dropout feature_alpha_dropout "
        "contiguous clone detach to type float half double bfloat16"
    ),
    _pooling: f"{' '.join(POOLS)} {' '.join(f'max_pool{d}d_with_indices' for d in (1, 2, 3))} interpolate upsample pad",
    _reduction: "mean sum amax amin",
    _moving: (
        f"{' '.join(_SIZED)} flatten permute transpose swapaxes swapdims movedim moveaxis unsqueeze squeeze getitem "
        "unbind t T mT repeat_interleave"
    ),
    _like: "expand_as view_as reshape_as",
    _concatenation: "cat concat concatenate",
    _chunks: "chunk",
}
RULES: dict[str, Callable] = {name: rule for rule, names in _NAMES.items() for name in names.split()}
