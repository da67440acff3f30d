"""Magnitude: what is small goes, weight by weight or unit by unit. It needs no data, only a network that was trained.

Sources: Han et al. 2015, "Learning both Weights and Connections for Efficient Neural Networks" (weights); Li et al.
2017, "Pruning Filters for Efficient ConvNets" (units).
"""

from typing import Any

import torch
from torch import Tensor, nn

from pruning_lib.checks import check_choice, check_model, check_scores, check_sparsity
from pruning_lib.structure import Masks, choose_units, keep_largest, prunable, score_units
from pruning_lib.structure.graph import Graph
from pruning_lib.structure.holding import held
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
    found = score_units(model, unit, norm, example_inputs)
    kept = {name: weight.held.hold.keep for name, weight in model.named_parameters() if held(weight)}
    if kept:
        for name, indices in units_gone(Masks(kept), model, example_inputs, unit).items():
            found[name] = found[name].index_fill(0, indices.to(found[name].device), -1)
    slices = parameter_slices(model, trace(model, example_inputs), choose_units(found, sparsity, scope))
    masks = {name: torch.ones_like(weight, dtype=torch.bool) for name, weight in prunable(model).items()}
    for name, dim, index in slices:
        weight = model.get_parameter(name)
        mask = masks.setdefault(name, torch.ones_like(weight, dtype=torch.bool))
        if dim is None:
            mask.fill_(False)
        else:
            mask.index_fill_(dim, index.to(mask.device), False)
    return Masks(masks)


def units_gone(masks: Masks, model: nn.Module, example_inputs: Any, unit: str = "filter") -> dict[str, Tensor]:
    """The units of which `masks` leave nothing, by module name, as `zero_units` and `remove` take them."""
    graph = trace(model, example_inputs)
    gone = {
        name: [
            index
            for index in range(len(score))
            if all(removed(masks, *part) for part in parameter_slices(model, graph, {name: [index]}))
        ]
        for name, score in score_units(model, unit, example_inputs=example_inputs).items()
    }
    return {name: torch.tensor(indices) for name, indices in gone.items() if indices}


def removed(masks: Masks, name: str, dim: int | None, index: Tensor | None) -> bool:
    if name not in masks:
        return False
    mask = masks[name] if dim is None else masks[name].index_select(dim, index.to(masks[name].device))
    return not mask.any()


def parameter_slices(
    model: nn.Module, graph: Graph, units: dict[str, Any]
) -> list[tuple[str, int | None, Tensor | None]]:
    """(name, dim, indices) of every parameter that belongs to `units`; without dim the whole of it."""
    parameters = dict(model.named_parameters())
    slices = graph_slices(graph, *graph.resolve(model, units))
    return [part for part in slices if part[0] in parameters and (part[1] is None or len(part[2]))]


def gone_first(model: nn.Module, scores: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same scores, but where a mask holds a weight of `model` at zero below all others: what is gone stays gone.

    A weight that is gone and one that has no influence often score the same, and ties go by index. Scores of half
    precision come back in float32, where there is room below them.
    """
    half = (torch.float16, torch.bfloat16)
    scores = {name: score.float() if score.dtype in half else score for name, score in scores.items()}
    weights = dict(model.named_parameters())
    least = min(score.min().item() for score in check_scores(scores).values())
    below = 2 * min(least, 0) - 1
    return {
        name: score.masked_fill(~weights[name].held.hold.keep, below) if held(weights[name]) else score
        for name, score in scores.items()
    }
