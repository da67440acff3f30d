"""Units are zeroed in place: everything that belongs to them, so that removing them changes nothing more."""

from typing import Any

import torch
from torch import Tensor, nn

from pruning_lib.checks import check_model
from pruning_lib.structure.calls import Calls
from pruning_lib.structure.graph import Graph, check_index, check_names
from pruning_lib.structure.layer_rules import CHANNEL_NORMS, CONVOLUTIONS, kind_of, parts_of
from pruning_lib.structure.tracing import trace


def zero_units(model: nn.Module, units: dict[str, Tensor], example_inputs: Any = None) -> None:
    """Zero, in place, all that belongs to the named units: weights, bias, and the norm's scale, shift and running mean.

    Parameters
    ----------
    model : nn.Module
        Changed in place.
    units : dict of str to Tensor
        Module name → indices, as `choose_units` returns them. For a head: its rows of the query, key and value
        projections with their biases, and its columns of the output projection. For a block: the scale and shift of the
        norm its branch ends in, or the weight and bias of the last layer, so that the branch adds 0.
    example_inputs : tensor, tuple of positional or dict of keyword arguments, optional
        With it the units are followed through the model: whatever is tied to a named unit is zeroed too (two tied
        layers named with different indices: the union), every norm on the way, and the result is what `remove` takes
        out for real. Without it only the unit's own weights and the norm that directly follows its layer are zeroed.

    Raises
    ------
    ValueError
        Unknown name, index out of range or twice, all units of a layer, a unit that cannot go (with the reason), or a
        model that needs `example_inputs` to be followed. The model is unchanged then.
    """
    model = check_model(model)
    if example_inputs is None:
        slices = _own_slices(model, units)
    else:
        graph = trace(model, example_inputs)
        slices = graph_slices(graph, *graph.resolve(model, units))
    zero_slices_(model, slices)


def zero_slices_(model: nn.Module, slices: list[tuple[str, int | None, Tensor | None]]) -> None:
    """Zero (tensor, dim, indices); without dim the whole tensor."""
    tensors = dict([*model.named_parameters(), *model.named_buffers()])
    with torch.no_grad():
        for name, dim, index in slices:
            if dim is None:
                tensors[name].zero_()
            else:
                tensors[name].index_fill_(dim, index.to(tensors[name].device), 0)


def graph_slices(graph: Graph, dropped: Tensor, blocks: list[str]) -> list[tuple[str, int | None, Tensor | None]]:
    """(tensor, dim, indices) of everything that belongs to the dropped units."""
    slices = [
        (slot.tensor, slot.dim, graph.gone(slot, dropped).nonzero().flatten())
        for slot in graph.slots.values()
        if slot.zeroed
    ]
    return slices + [(name, None, None) for block in blocks for name in graph.blocks[block].last]


def _own_slices(model: nn.Module, units: dict[str, Tensor]) -> list[tuple[str, int, Tensor]]:
    """(tensor, dim, indices) of the units' own weights and of the norm right behind."""
    modules = dict(model.named_modules(remove_duplicate=False))
    names = {id(t): name for name, t in [*model.named_parameters(), *model.named_buffers()]}
    norms = None
    slices = []
    for name, wanted in check_names(model, units).items():
        module = modules[name]
        if kind_of(module) is None:
            raise ValueError(
                f"{name!r} is a {type(module).__name__}: units without example_inputs are filters, neurons or heads; "
                "give example_inputs for a residual block"
            )
        parts = parts_of(module)
        of_units = parts[0][2]
        index = check_index(name, wanted, len(of_units.unique()))
        if not isinstance(module, nn.MultiheadAttention):
            norms = _following_norms(model, name) if norms is None else norms
            for norm in norms.get(name, []):
                tensors = (getattr(norm, key, None) for key in ("weight", "bias", "running_mean"))
                parts += [(tensor, 0, of_units) for tensor in tensors if tensor is not None]
        for tensor, dim, ids in parts:
            if id(tensor) not in names:
                raise ValueError(f"a weight or bias of {name!r} is computed from other tensors, so it cannot be zeroed")
            slices.append((names[id(tensor)], dim, torch.isin(ids, index).nonzero().flatten()))
    return slices


def _following_norms(model: nn.Module, name: str) -> dict[str, list[nn.Module]]:
    """Convolution or linear layer → the norms that take its output as it is."""
    try:
        calls = Calls(model)
    except ValueError as error:
        raise ValueError(f"the norm that follows {name!r} cannot be found: {error}; give example_inputs") from error
    norms: dict[str, list[nn.Module]] = {}
    for node in calls.nodes:
        if layer := calls.module(node, (*CONVOLUTIONS, nn.Linear)):
            width = [getattr(layer, "out_features", None)]
            for norm in (calls.module(user, (*CHANNEL_NORMS, nn.LayerNorm)) for user in node.users):
                if isinstance(norm, CHANNEL_NORMS) or (norm and list(norm.normalized_shape) == width):
                    norms.setdefault(node.target, []).append(norm)
    return norms
