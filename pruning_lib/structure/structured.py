"""Whole units: filters, channels, neurons, heads and residual blocks are scored and chosen.

A unit is named by its module and an index: `{"conv1": tensor([0, 7])}` means filters 0 and 7 of `conv1`. What kind of
unit it is follows from the module: an output filter of a convolution, an output neuron of a linear layer, a head of an
`nn.MultiheadAttention` or of another module that splits its projections into heads; a residual block is one unit, index
0, under the name of its module.
"""

from typing import Any

import torch
from torch import Tensor, nn

from pruning_lib.checks import check_choice, check_model, check_scores, check_sparsity
from pruning_lib.structure.graph import Graph
from pruning_lib.structure.layer_rules import kind_of, parts_of
from pruning_lib.structure.selection import count_kept, largest
from pruning_lib.structure.tracing import trace
from pruning_lib.structure.zeroing import zero_units

__all__ = ["Scores", "choose_units", "score_units", "zero_units"]

_KINDS = {"filter": "filter", "channel": "filter", "neuron": "neuron", "head": "head"}


class Scores(dict[str, Tensor]):
    """Scores by module name that remember their `unit`, and what only goes together (`tied`: unit → set)."""

    def __init__(self, unit: str):
        super().__init__()
        self.unit = unit
        self.tied: dict[str, Tensor] = {}  # every layer's units, by the number of the tied set


def score_units(model: nn.Module, unit: str = "filter", norm: str = "l1", example_inputs: Any = None) -> Scores:
    """Norm of the weights of every unit: s_k = Σ|w| (l1) or √Σw² (l2), over the weights w that make up unit k.

    Parameters
    ----------
    model : nn.Module
    unit : "filter" | "channel" | "neuron" | "head" | "block"
        filter: the filter's own weights W[k] (Li et al. 2017). channel: the feature map as a whole, with all parameters
        that would go with it: filters and biases, its norm's scale and shift, the slices W[:, k] of the layers that
        read it (a weight it both reads and makes counts twice); without `example_inputs` the filter alone.
        neuron: the row of a linear layer. head: its rows of the query, key and value projections and its columns of
        the output projection; without `example_inputs` of `nn.MultiheadAttention` only. block: all weights of the
        convolutions and linear layers of the residual branch; needs `example_inputs`.
    norm : "l1" | "l2"
    example_inputs : tensor, tuple of positional or dict of keyword arguments, optional
        What the model's forward takes. With it, layers that only go together (an addition, a depthwise convolution)
        are scored together under the name of the first one, and what cannot go is left out: whatever feeds the model's
        output, channels that cannot be followed, a block whose shortcut computes something of its own (unless its
        branch is zero already). Without it every layer stands alone.

    Returns
    -------
    dict of str to Tensor
        Module name → scores (units,); for blocks (1,). A layer of which any unit has to stay is left out.

    Raises
    ------
    ValueError
        Unknown unit or norm, no such unit in the model, weights that are not finite, or blocks without inputs.
    """
    model = check_model(model)
    return graph_scores(model, None if example_inputs is None else trace(model, example_inputs), unit, norm)


@torch.no_grad()
def graph_scores(model: nn.Module, graph: Graph | None, unit: str, norm: str = "l1") -> Scores:
    """What `score_units` returns, by the graph of a model that is traced already."""
    check_choice("unit", unit, [*_KINDS, "block"])
    check_choice("norm", norm, ["l1", "l2"])
    if graph is None and unit == "block":
        raise ValueError('example_inputs is None, but unit "block" needs them to see which blocks have an identity')
    power = 1 if norm == "l1" else 2
    if graph is None:
        scores = _alone(model, unit, power)
    else:
        scores = _blocks(model, graph, power) if unit == "block" else grouped(model, graph, unit, power)
    if not scores:
        why = graph.lost() if graph else ""
        raise ValueError(f"unit is {unit!r}, but the model has none that can go{': ' if why else ''}{why}")
    for name in scores if norm == "l2" else ():
        scores[name].sqrt_()
    return check_scores(scores)


def _alone(model: nn.Module, unit: str, power: int) -> Scores:
    """Every layer for itself: by its weights, without biases."""
    scores = Scores(unit)
    of_attention = {id(m.out_proj) for m in model.modules() if isinstance(m, nn.MultiheadAttention)}
    for name, module in model.named_modules():
        if kind_of(module) == _KINDS[unit] and id(module) not in of_attention:
            parts = [(t, dim, ids) for t, dim, ids in parts_of(module) if t.ndim > 1]
            weight, _, units = parts[0]
            totals = torch.zeros(len(units.unique()), dtype=torch.float64)
            for tensor, dim, ids in parts:
                totals.index_add_(0, ids, _per_index(tensor, dim, power).cpu().double())
            scores[name] = totals.to(weight.device, weight.dtype)
    return scores


def grouped(model: nn.Module, graph: Graph, unit: str, power: int) -> Scores:
    """Tied layers together, under the first one's name."""
    tensors = dict(model.named_parameters())
    totals = torch.zeros(len(graph.table), dtype=torch.float64)
    own = {(layer.weight, layer.dim) for layer in graph.layers.values() if layer.kind == _KINDS[unit]}
    for key, slot in graph.slots.items():
        if slot.tensor in tensors and (
            key in own if unit in ("filter", "neuron") else unit == "channel" or tensors[slot.tensor].ndim > 1
        ):
            norms = _per_index(tensors[slot.tensor], slot.dim, power).cpu().double()
            totals.index_add_(0, graph.roots(slot.ids) % len(totals), norms)
    scores, seen = Scores(unit), torch.zeros(len(totals), dtype=torch.bool)
    for name, layer in graph.layers.items():
        roots = scores.tied[name] = graph.roots(layer.ids)
        first = not seen[roots].all()
        seen[roots] = True
        if first and layer.kind == _KINDS[unit] and graph.reason(layer.ids) is None:
            weight = tensors[layer.weight]
            scores[name] = totals[roots].to(weight.device, weight.dtype)
    return scores


def _blocks(model: nn.Module, graph: Graph, power: int) -> Scores:
    """Every residual block that can go."""
    scores = Scores("block")
    for name, block in graph.blocks.items():
        if block.refusal is None:
            weights = [model.get_parameter(weight) for weight in dict.fromkeys(block.weights)]
            scores[name] = torch.as_tensor(sum((weight.abs().pow(power).sum() for weight in weights), 0.0)).view(1)
    return scores


def choose_units(scores: dict[str, Tensor], sparsity: float, scope: str = "layer") -> dict[str, Tensor]:
    """The units with the smallest scores: all but round(units · (1 − sparsity)) of each layer, or of all together.

    Parameters
    ----------
    scores : dict of str to Tensor
        What `score_units` returns, or any module name → scores (units,). Residual blocks count as one layer together.
    sparsity : float
        Share of units to drop, in [0, 1].
    scope : "layer" | "global"

    Returns
    -------
    dict of str to Tensor
        Module name → sorted indices to drop; names with nothing to drop are left out. At equal scores the higher index
        goes first. At least one unit of every layer stays, the one with the largest score: in scope "layer" the number
        dropped may be lower for that, in scope "global" the next smallest unit goes instead. Indices that only go
        together (in the groups of a grouped convolution) are dropped only if all of them are among the smallest.

    Raises
    ------
    ValueError
        Sparsity outside [0, 1], unknown scope, no scores, or scores that are not finite or not one-dimensional.
    """
    check_sparsity(sparsity)
    check_choice("scope", scope, ["layer", "global"])
    check_scores(scores)
    for name, score in scores.items():
        if score.ndim != 1 or not len(score):
            raise ValueError(f"scores[{name!r}] has shape {tuple(score.shape)}, must be (units,)")
    layers = [[name] for name in scores]
    if getattr(scores, "unit", None) == "block":
        layers = [list(scores)]
    pools = [torch.cat([scores[name].detach().cpu().double() for name in layer]) for layer in layers]
    for values in pools:
        values[largest(values, 1)] = torch.inf  # one of every layer stays
    if scope == "global":
        pools = [torch.cat(pools)]
    kept = [largest(v, max(count_kept(len(v), sparsity), int(v.isinf().sum()))) for v in pools]
    kept = dict(zip(scores, torch.cat(kept).split([len(score) for score in scores.values()]), strict=True))
    _keep_ties_(kept, scores, getattr(scores, "tied", {}))
    return {name: (~keep).nonzero().flatten() for name, keep in kept.items() if not keep.all()}


def _keep_ties_(kept: dict[str, Tensor], scores: dict[str, Tensor], tied: dict[str, Tensor]) -> None:
    """Take back what is tied to a unit that stays, and what would empty a layer that is scored under other names."""
    sets = 1 + max((int(roots.max()) for roots in tied.values()), default=0)
    score_of, stays = torch.full((sets,), torch.nan, dtype=torch.float64), torch.zeros(sets, dtype=torch.bool)
    named = scores.keys() & tied.keys()
    for name in named:
        score_of[tied[name]] = scores[name].detach().cpu().double()
        stays[tied[name][kept[name]]] = True
    for roots in tied.values():
        if not score_of[roots].isnan().any() and not stays[roots].any():
            stays[roots[largest(score_of[roots], 1)]] = True
    for name in named:
        kept[name] = stays[tied[name]]


def _per_index(weight: Tensor, dim: int, power: int) -> Tensor:
    """Σ|w|^power for each index along `dim`."""
    return weight.detach().abs().transpose(0, dim).reshape(weight.shape[dim], -1).pow(power).sum(1)
