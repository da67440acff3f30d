"""Magnitude: what is small goes, weight by weight or unit by unit. It needs no data, only a network that was trained.

Sources: Han et al. 2015, "Learning both Weights and Connections for Efficient Neural Networks" (weights); Li et al.
2017, "Pruning Filters for Efficient ConvNets" (units).
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from pruning_lib.checks import check_choice, check_model, check_scores, check_sparsity
from pruning_lib.inputs import original
from pruning_lib.structure import Masks, choose_units, keep_largest, prunable
from pruning_lib.structure.graph import Graph
from pruning_lib.structure.holding import held
from pruning_lib.structure.structured import Scores, graph_scores
from pruning_lib.structure.tracing import trace
from pruning_lib.structure.zeroing import graph_slices


def scores(model: nn.Module) -> dict[str, Tensor]:
    """s_j = |w_j| of every prunable weight, shaped as the weights, by parameter name. The model is unchanged.

    Raises
    ------
    ValueError
        If the model has no prunable weight, or one is not finite.
    """
    return check_scores({name: weight.detach().abs() for name, weight in prunable(model).items()})


def prune(model: nn.Module, sparsity: float, scope: str = "global") -> Masks:
    """Masks that keep the round(n · (1 − sparsity)) largest weights, of the whole model or of every layer.

    The model is unchanged; `masks.hold(model)` applies them. Weights that a mask holds at zero already go first, so
    that masks for rising sparsities lie within each other. Raises ValueError as `scores` and `keep_largest` do.
    """
    check_sparsity(sparsity)
    check_choice("scope", scope, ("global", "layer"))
    return keep_largest(gone_first(model, scores(model)), sparsity, scope)


def prune_units(
    model: nn.Module,
    sparsity: float,
    example_inputs: Any,
    unit: str = "filter",
    norm: str = "l1",
    scope: str = "layer",
) -> Masks:
    """Masks that take out the units of smallest norm whole, with everything that `zero_units` zeros of a parameter.

    The model is unchanged; `masks.hold(model)` applies them. Units that are held at zero already go first. Once the
    masks are released, `units_gone` says what `remove` can take out for real.

    Parameters
    ----------
    sparsity : share of the units that go, in [0, 1]; of the weights it may be another share
    example_inputs : what the model's forward takes, to see which units only go together
    unit, norm : as for `score_units`
    scope : as for `choose_units`

    Raises
    ------
    ValueError
        As `score_units` and `choose_units`.
    """
    check_sparsity(sparsity)
    model = check_model(model)
    graph = trace(model, example_inputs)
    found = graph_scores(model, graph, unit, norm)
    kept = {name: weight.held.hold.keep for name, weight in model.named_parameters() if held(weight)}
    for name, indices in _graph_gone(kept, model, graph, found).items():
        found[name] = found[name].index_fill(0, indices.to(found[name].device), -1)
    parameters = dict(model.named_parameters())
    masks = {name: torch.ones_like(weight, dtype=torch.bool) for name, weight in prunable(model).items()}
    for name, dim, index in graph_slices(graph, *graph.resolve(model, choose_units(found, sparsity, scope))):
        if name in parameters and (dim is None or len(index)):
            mask = masks.setdefault(name, torch.ones_like(parameters[name], dtype=torch.bool))
            mask.fill_(False) if dim is None else mask.index_fill_(dim, index.to(mask.device), False)
    return Masks(masks)


def units_gone(masks: Masks, model: nn.Module, example_inputs: Any, unit: str = "filter") -> dict[str, Tensor]:
    """The units of which `masks` leave nothing, by module name, as `zero_units` and `remove` take them.

    Of a layer that is gone altogether the first unit, with all that is tied to it, is left out: it has to stay.
    """
    model = check_model(model)
    masks.weights_of(model)  # their names are the model's own
    graph = trace(model, example_inputs)
    return _graph_gone(masks, model, graph, graph_scores(model, graph, unit))


def _graph_gone(masks: Mapping[str, Tensor], model: nn.Module, graph: Graph, scores: Scores) -> dict[str, Tensor]:
    """The units among `scores` of which `masks` leave nothing."""
    parameters = dict(model.named_parameters())
    if scores.unit == "block":
        ends = {name: [masks.get(last) for last in graph.blocks[name].last if last in parameters] for name in scores}
        return {name: torch.tensor([0]) for name, masks in ends.items() if not any(m is None or m.any() for m in masks)}
    stays = torch.zeros(len(graph.table), dtype=torch.bool)  # by the number of the tied set
    for slot in graph.slots.values():
        if slot.zeroed and slot.tensor in parameters:
            sets, mask = graph.roots(slot.ids), masks.get(slot.tensor)
            if mask is not None:
                sets = sets[mask.transpose(0, slot.dim).reshape(len(sets), -1).any(1).cpu()]
            stays[sets] = True
    for layer in graph.layers.values():  # no layer can go whole
        if not stays[sets := graph.roots(layer.ids)].any():
            stays[sets[0]] = True
    gone = {name: (~stays[graph.roots(graph.layers[name].ids)]).nonzero().flatten() for name in scores}
    return {name: indices for name, indices in gone.items() if len(indices)}


def gone_first(model: nn.Module, scores: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same scores, but where a mask holds a weight of `model` at zero below all others: what is gone stays gone.

    A weight that is gone and one that has no influence often score the same, and ties go by index. Scores of half
    precision come back in float32, where there is room below them.
    """
    half = (torch.float16, torch.bfloat16)
    scores = {name: score.float() if score.dtype in half else score for name, score in scores.items()}
    weights = dict(original(model).named_parameters())
    least = min(score.min().item() for score in check_scores(scores).values())
    below = 2 * min(least, 0) - 1
    return {
        name: score.masked_fill(~weights[name].held.hold.keep, below) if held(weights[name]) else score
        for name, score in scores.items()
    }
