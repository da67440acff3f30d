"""Units are taken out of a model for real: smaller dense tensors, the same outputs (TAX-4)."""

import copy
import json
import math
import os
from collections.abc import Callable
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from pruning_lib.files import written_whole
from pruning_lib.inputs import call
from pruning_lib.structure.attention import fewer_heads_
from pruning_lib.structure.graph import Graph
from pruning_lib.structure.holding import held
from pruning_lib.structure.layer_rules import CHANNEL_NORMS, CONVOLUTIONS
from pruning_lib.structure.tracing import map_tensors, tensors_in, trace
from pruning_lib.structure.zeroing import graph_slices, zero_slices_

FORMAT = "pruning_lib.structure.removal 1"


class ClosedBlock(nn.Sequential):
    """What is left of a residual block g(s(r) + F(r)) without its branch F: what the shortcut s computes, and g."""


def remove(model: nn.Module, example_inputs: Any, units: dict[str, Tensor]) -> nn.Module:
    """A smaller copy of `model` without the named units; its outputs are those of the model after `zero_units`.

    Whatever belongs to a unit goes with it: filter, bias, the norm's entries, the slices of the layers that read it,
    and all that an addition or a depthwise convolution ties to it. Of a residual block the shortcut and the activations
    after the addition stay. Attention that has lost heads becomes a `FewerHeads`.

    Parameters
    ----------
    model : nn.Module
        Unchanged. The copy keeps its classes, hooks, mode, dtypes, devices and what requires a gradient.
    example_inputs : tensor, tuple of positional or dict of keyword arguments
        What the model's forward takes. The model is run on it to see what depends on what, and the smaller one is run
        to check that it agrees.
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
        without an identity shortcut, a weight that is held by a mask.
    """
    graph = trace(model, example_inputs)
    dropped, closed = graph.resolve(model, units)
    kept = kept_tensors(model, graph, dropped)
    parameters = dict(model.named_parameters(remove_duplicate=False))
    for name in kept:
        if name in parameters and held(parameters[name]):
            raise ValueError(f"{name!r} is held by a mask: take it off with release(model) before removing units")
    smaller = copy.deepcopy(model)
    close_blocks_(smaller, {name: graph.blocks[name].steps for name in closed})
    fit_(smaller, kept)
    zeroed = copy.deepcopy(model)
    zero_slices_(zeroed, graph_slices(graph, dropped, closed))
    check_agreement(smaller, zeroed, example_inputs)
    return smaller


def kept_tensors(model: nn.Module, graph: Graph, dropped: Tensor) -> dict[str, Tensor]:
    """What is left of every tensor that loses something."""
    tensors = dict([*model.named_parameters(), *model.named_buffers()])
    kept: dict[str, Tensor] = {}
    for slot in graph.slots.values():
        gone = graph.gone(slot, dropped)
        if gone.any():
            tensor = kept.get(slot.tensor, tensors[slot.tensor]).detach()
            kept[slot.tensor] = tensor.index_select(slot.dim, (~gone).nonzero().flatten().to(tensor.device))
    return kept


def close_blocks_(model: nn.Module, posts: dict[str, list[str]]) -> None:
    """Replace each block by the steps that follow its addition: modules of its own, or the function relu."""
    for name in sorted(posts, key=lambda name: -name.count(".")):  # inner blocks first
        block = model.get_submodule(name)
        steps = {step: block._modules[step] if step in block._modules else nn.ReLU() for step in posts[name]}
        block.__class__ = ClosedBlock  # the object stays, and with it its hooks and mode
        block._modules, block._parameters, block._buffers = steps, {}, {}


def fit_(model: nn.Module, tensors: dict[str, Tensor]) -> None:
    """Give `model` these tensors in place of its own, and its modules the attributes that fit their shapes."""
    own = dict([*model.named_parameters(), *model.named_buffers()])
    new = {id(own[name]): tensor for name, tensor in tensors.items() if name in own}
    for module in model.modules():
        for key, tensor in module._parameters.items():
            if id(tensor) in new:
                if not isinstance(new[id(tensor)], nn.Parameter):  # one parameter, also where modules share it
                    new[id(tensor)] = nn.Parameter(new[id(tensor)], tensor.requires_grad)
                module._parameters[key] = new[id(tensor)]
        for key, tensor in module._buffers.items():
            if id(tensor) in new:
                module._buffers[key] = new[id(tensor)]
    for module in model.modules():
        adjust_(module)


def adjust_(module: nn.Module) -> None:
    """Derive a module's counts from the shapes of its tensors."""
    weight = module._parameters.get("weight")
    if isinstance(module, CONVOLUTIONS) and weight is not None:
        if module.transposed:
            module.in_channels, module.out_channels = weight.shape[0], weight.shape[1] * module.groups
        else:
            if module.groups > 1:  # groups go whole, so each has as many outputs as before
                module.groups = module.groups * weight.shape[0] // module.out_channels
            module.in_channels, module.out_channels = weight.shape[1] * module.groups, weight.shape[0]
    elif isinstance(module, nn.Linear) and weight is not None:
        module.out_features, module.in_features = weight.shape
    elif isinstance(module, nn.GroupNorm) and weight is not None:
        module.num_groups = module.num_groups * len(weight) // module.num_channels
        module.num_channels = len(weight)
    elif isinstance(module, CHANNEL_NORMS):
        entries = weight if weight is not None else module._buffers.get("running_mean")
        module.num_features = module.num_features if entries is None else len(entries)
    elif isinstance(module, nn.PReLU):
        module.num_parameters = len(weight)
    elif isinstance(module, nn.MultiheadAttention):
        heads = module.out_proj.weight.shape[1] // module.head_dim
        if heads != module.num_heads:
            fewer_heads_(module, heads)


def check_agreement(smaller: nn.Module, zeroed: nn.Module, inputs: Any) -> None:
    """ValueError unless both give the same outputs: catches what the graph cannot see, such as a size fixed in code."""
    outputs = []
    for model in (zeroed, copy.deepcopy(smaller)):
        model.eval()
        try:
            with torch.no_grad(), torch.random.fork_rng(devices=[]):
                torch.manual_seed(0)
                outputs.append(list(tensors_in(call(model, map_tensors(torch.clone, inputs)))))
        except Exception as error:
            raise ValueError(f"these units cannot be removed: without them the model does not run ({error})") from error
    for full, small in zip(*outputs, strict=True):
        tolerance = math.sqrt(torch.finfo(full.dtype).eps) if full.is_floating_point() else 0.0
        scale = float(full.abs().max()) if full.numel() and tolerance else 0.0
        if full.shape != small.shape or not torch.allclose(small, full, tolerance, tolerance * scale, equal_nan=True):
            raise ValueError(
                "these units cannot be removed: the smaller model's outputs differ from the zeroed model's, so it "
                "depends on them in a way that its functions do not show"
            )


def save(model: nn.Module, path: str | os.PathLike) -> None:
    """Write the weights of a model that units were removed from, and which of its blocks are closed, to one file.

    The file is safetensors, nothing is pickled. The shapes of the tensors tell the rest of the architecture, so `load`
    needs only the code that builds the model before removal. Written whole or not at all.
    """
    closed = {name: list(m._modules) for name, m in model.named_modules() if isinstance(m, ClosedBlock)}
    tensors = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in model.state_dict().items()}
    with written_whole(path) as temporary:
        save_file(tensors, temporary, {"format": FORMAT, "closed": json.dumps(closed)})


def load(path: str | os.PathLike, build: Callable[[], nn.Module]) -> nn.Module:
    """Read a model written by `save`: `build()` makes the model as it was before removal, the file's shapes fit it.

    Returns
    -------
    nn.Module
        In the mode, dtypes and device that `build` gives.

    Raises
    ------
    ValueError
        The file is truncated or was not written by `save`, or does not fit what `build` makes.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118, not a dict
    except SafetensorError as error:
        raise ValueError(f"{path} is not a whole model file: {error}") from error
    if metadata.get("format") != FORMAT:
        raise ValueError(f"{path} was not written by pruning_lib.structure.removal.save")
    model = build()
    posts = json.loads(metadata["closed"])
    missing = [name for name in posts if name not in dict(model.named_modules())]
    if not missing:
        close_blocks_(model, posts)
        own = model.state_dict()
        missing = sorted(own.keys() ^ state.keys())
    if missing:
        raise ValueError(f"{path} does not fit the model built: {missing[0]!r} is only in one of the two")
    for name, tensor in state.items():
        if tensor.ndim != own[name].ndim or any(
            new > old for new, old in zip(tensor.shape, own[name].shape, strict=True)
        ):
            raise ValueError(
                f"{path} does not fit the model built: {name!r} has shape {tuple(tensor.shape)}, "
                f"must be at most {tuple(own[name].shape)}"
            )
    fit_(model, {name: own[name].new_empty(t.shape) for name, t in state.items() if t.shape != own[name].shape})
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        raise ValueError(f"{path} does not fit the model built: {error}") from error
    return model
