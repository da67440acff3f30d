"""Units are taken out of a model for real: smaller dense tensors, the same outputs (TAX-4)."""

import copy
import math
import os
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from pruning_lib.checks import check_model
from pruning_lib.inputs import call
from pruning_lib.structure.attention import FewerHeads, fewer_heads_
from pruning_lib.structure.graph import Graph
from pruning_lib.structure.holding import held
from pruning_lib.structure.tracing import map_tensors, tensors_in, trace, uncompiled
from pruning_lib.structure.zeroing import graph_slices, zero_slices_
from pruning_lib.tensors import read_tensors, write_tensors

_FORMAT = "pruning_lib.structure.removal 2"


class ClosedBlock(nn.Sequential):
    """What is left of a residual block g(s(r) + F(r)) without its branch F: what the shortcut s computes, and g."""


def remove(model: nn.Module, example_inputs: Any, units: dict[str, Tensor]) -> nn.Module:
    """A smaller copy of `model` without the named units; its outputs are those of the model after `zero_units`.

    Whatever belongs to a unit goes with it: filter, bias, the norm's entries, the slices of the layers that read it,
    and all that an addition or a depthwise convolution ties to it. Of a residual block the shortcut and the activations
    after the addition stay. nn.MultiheadAttention that has lost heads becomes a `FewerHeads`, and an
    nn.TransformerEncoder around it no longer packs padded batches into nested tensors, which would not fit: at padded
    positions it gives what `enable_nested_tensor=False` gives, not zeros. Integer attributes that a module's code takes
    for the number of units (`self.heads` in a reshape) are made to fit.

    Parameters
    ----------
    model : nn.Module
        Unchanged. The copy keeps its classes, hooks, mode, dtypes, devices and what requires a gradient.
    example_inputs : tensor, tuple of positional or dict of keyword arguments
        What the model's forward takes. The model is run on it to see what depends on what, and the smaller one is run
        to check that it agrees. Of a compiled model the original is taken, and a copy of that is returned.
    units : dict of str to Tensor
        Module name → indices, as `choose_units` returns them. Tied layers named with different indices: the union.

    Returns
    -------
    nn.Module

    Raises
    ------
    ValueError
        Unknown name, index out of range or twice, all units of a layer, or a unit that cannot go, with the reason: it
        feeds the model's output, it cannot be followed through a named function, its zeros do not stay zeros, a block
        without an identity shortcut, a weight that is held by a mask. Or a model whose layers cannot be seen
        (TorchScript, exported, quantized) or have no weights yet.
    """
    model = check_model(model)
    graph = trace(model, example_inputs)
    dropped, closed = graph.resolve(model, units)
    kept = _kept_tensors(model, graph, dropped)
    parameters = dict(model.named_parameters(remove_duplicate=False))
    for name in kept:
        if name in parameters and held(parameters[name]):
            raise ValueError(f"{name!r} is held by a mask: take it off with release(model) before removing units")
    smaller = copy.deepcopy(model)
    counts: dict[str, dict[str, int]] = {}
    for (name, attribute), ids in graph.sizes.items():
        left = ~dropped[graph.roots(ids)]
        if not left.all():
            counts.setdefault(name, {})[attribute] = int(left.sum())
    _fit_(smaller, kept, counts)
    _close_blocks_(smaller, {name: graph.blocks[name].steps for name in closed})
    zeroed = copy.deepcopy(model)
    zero_slices_(zeroed, graph_slices(graph, dropped, closed))
    for name, module in smaller.named_modules():
        if isinstance(module, nn.TransformerEncoder):
            zeroed.get_submodule(name).use_nested_tensor = module.use_nested_tensor
    check_agreement(zeroed, smaller, example_inputs, "these units cannot be removed")
    return smaller


def _kept_tensors(model: nn.Module, graph: Graph, dropped: Tensor) -> dict[str, Tensor]:
    """What is left of every tensor that loses something."""
    tensors = dict([*model.named_parameters(), *model.named_buffers()])
    kept: dict[str, Tensor] = {}
    for slot in graph.slots.values():
        gone = graph.gone(slot, dropped)
        if gone.any():
            tensor = kept.get(slot.tensor, tensors[slot.tensor]).detach()
            kept[slot.tensor] = tensor.index_select(slot.dim, (~gone).nonzero().flatten().to(tensor.device))
    return kept


def _close_blocks_(model: nn.Module, posts: dict[str, list[str]]) -> None:
    """Replace each block by the steps that follow its addition: modules of its own, or the function relu."""
    for name in sorted(posts, key=lambda name: -name.count(".")):  # inner blocks first
        block = model.get_submodule(name)
        steps = {step: block._modules[step] if step in block._modules else nn.ReLU() for step in posts[name]}
        block.__class__ = ClosedBlock  # the object stays, and with it its hooks and mode
        block._modules, block._parameters, block._buffers = steps, {}, {}


def _fit_(model: nn.Module, tensors: dict[str, Tensor], counts: dict[str, dict[str, int]]) -> None:
    """Give `model` these tensors in place of its own, and its modules these integer attributes."""
    own = dict([*model.named_parameters(), *model.named_buffers()])
    new = {id(own[name]): tensor for name, tensor in tensors.items() if name in own}
    # One parameter, also where modules share it.
    new |= {id(p): nn.Parameter(new[id(p)], p.requires_grad) for p in model.parameters() if id(p) in new}
    for module in model.modules():
        for place in (module._parameters, module._buffers):
            place.update({key: new[id(tensor)] for key, tensor in place.items() if id(tensor) in new})
    for name, attributes in counts.items():
        vars(model.get_submodule(name)).update(attributes)
    for module in model.modules():
        if isinstance(module, nn.MultiheadAttention) and module.num_heads * module.head_dim != module.embed_dim:
            fewer_heads_(module)
    for module in model.modules():
        if isinstance(module, nn.TransformerEncoder) and any(isinstance(m, FewerHeads) for m in module.modules()):
            module.enable_nested_tensor = module.use_nested_tensor = False


def check_agreement(before: nn.Module, after: nn.Module, inputs: Any, refusal: str) -> None:
    """ValueError unless both give the same outputs: catches what the graph cannot see, such as a size fixed in code."""
    outputs = []
    for model in (copy.deepcopy(before), copy.deepcopy(after)):
        model.eval()
        try:
            with torch.no_grad(), uncompiled(model), torch.random.fork_rng(devices=[]):
                torch.manual_seed(0)
                outputs.append(tensors_in(call(model, map_tensors(torch.clone, inputs))))
        except Exception as error:
            raise ValueError(f"{refusal}: the model does not run then ({error})") from error
    if len(outputs[0]) != len(outputs[1]) or not all(map(_same, *outputs)):
        raise ValueError(
            f"{refusal}: the outputs differ then, so the model depends on them in a way that its functions do not show"
        )


def _same(one: Tensor, other: Tensor) -> bool:
    """Whether two outputs differ by rounding only: finite entries by √ε of a usual one, inf and nan not at all."""
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    if not (one.is_floating_point() or one.is_complex()):
        return torch.equal(one, other)
    tolerance = math.sqrt(torch.finfo(one.dtype).eps)
    sizes = one[one.isfinite() & (one != 0)].abs().double().sort().values
    # A fill of -1e9 must not make room for anything else: ten times the middle one is enough.
    scale = min(float(sizes[-1]), 10 * float(sizes[len(sizes) // 2])) if len(sizes) else 0.0
    return torch.allclose(other, one, tolerance, tolerance * scale, equal_nan=True)


def save_smaller(model: nn.Module, path: str | os.PathLike) -> None:
    """Write the weights of a model that units were removed from, and which of its blocks are closed, to one file.

    The file is safetensors, nothing is pickled. The shapes of the tensors and the modules' integer attributes tell the
    rest of the architecture, so `load_smaller` needs only the code that builds the model before removal.
    Written whole or not at all.
    """
    closed = {name: list(m._modules) for name, m in model.named_modules() if isinstance(m, ClosedBlock)}
    counts = {name: {k: v for k, v in vars(m).items() if type(v) is int} for name, m in model.named_modules()}
    write_tensors(path, model.state_dict(), {"format": _FORMAT, "closed": closed, "counts": counts})


def load_smaller(path: str | os.PathLike, build: Callable[[], nn.Module]) -> nn.Module:
    """Read a model written by `save_smaller`: `build()` makes the model before removal; the file's shapes then fit it.

    Returns
    -------
    nn.Module
        In the mode, dtypes and device that `build` gives.

    Raises
    ------
    ValueError
        The file is truncated or was not written by `save_smaller`, or does not fit what `build` makes.
    """
    state, about = read_tensors(path)
    if not isinstance(about, dict) or about.get("format") != _FORMAT:
        raise ValueError(f"{path} was not written by pruning_lib.structure.removal.save_smaller")
    model = build()
    posts, counts = about["closed"], about["counts"]
    missing = [name for name in posts if name not in dict(model.named_modules())]
    if not missing:
        _close_blocks_(model, posts)  # may make modules, of which counts tells too
        own = model.state_dict()
        missing = [name for name in counts if name not in dict(model.named_modules())]
        missing += sorted(own.keys() ^ state.keys())
    try:
        if missing:
            raise ValueError(f"{missing[0]!r} is only in one of the two")
        for name, tensor in state.items():
            new, most = tuple(tensor.shape), tuple(own[name].shape)
            if len(new) != len(most) or any(map(int.__gt__, new, most)):
                raise ValueError(f"{name!r} has shape {new}, must be at most {most}")
        smaller = {name: own[name].new_empty(t.shape) for name, t in state.items() if t.shape != own[name].shape}
        _fit_(model, smaller, counts)
        model.load_state_dict(state)
    except (ValueError, RuntimeError) as error:
        raise ValueError(f"{path} does not fit the model built: {error}") from error
    return model
