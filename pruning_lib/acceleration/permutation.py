"""A better order of the channels for 2:4.

Which weights share a group of four is an accident of how channels are numbered. Renumbering them changes nothing in the
network's function, but four large weights of one group can part company, and more magnitude survives the pruning.
Source: Pool & Yu 2021, "Channel Permutations for N:M Sparsity".
"""

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from pruning_lib.checks import check_model, check_scores
from pruning_lib.structure import prunable
from pruning_lib.structure.graph import FIXED, Graph
from pruning_lib.structure.holding import held
from pruning_lib.structure.removal import check_agreement
from pruning_lib.structure.semi_structured import kept_magnitude, magnitude
from pruning_lib.structure.tracing import trace

Place = tuple[str, int, range]  # a tensor's name, a dimension of it, and where along it a set of channels lies
_AT_ONCE = 1 << 24  # values that a search looks at together, so that memory stays at a few times the weight's


def find_permutation(weight: Tensor) -> Tensor:
    """An order of the columns under which 2:4 keeps more magnitude; `kept_magnitude(weight[:, order])` never falls.

    Greedy: of all pairs of columns in different groups the swap that gains most is made, until none gains. With
    a_i, b_i the two largest of the three other values in column i's group (per row), putting column c in the place of i
    makes the group keep Σ_r a_i + max(b_i, c), and Σ max(b, c) = ½ Σ (b + c + abs(b − c)): an L1 distance, for all
    pairs at once. A swap changes two groups, so only their eight rows and columns are computed again.

    Parameters
    ----------
    weight : Tensor (rows, columns)
        Columns a multiple of 4. Of several layers that read the same channels: `torch.cat` of their weights.

    Returns
    -------
    Tensor (columns,), int64
        A permutation: new column j is old column order[j]. Time grows as rows·columns².

    Raises
    ------
    ValueError
        If the weight is not a finite matrix with columns a multiple of 4.
    """
    if weight.ndim != 2 or weight.shape[1] % 4 or not weight.numel():
        raise ValueError(f"weight has shape {tuple(weight.shape)}, must be a matrix with columns a multiple of 4")
    check_scores({"weight": weight})
    # float64: a gain that is only rounding would be undone and made again for ever
    columns = magnitude(weight.detach()).double().T.contiguous()  # (columns, rows): one line per channel
    order = torch.arange(len(columns), device=weight.device)
    keeps = torch.empty(len(columns), len(columns), dtype=columns.dtype, device=weight.device)
    now = torch.empty(len(columns), dtype=columns.dtype, device=weight.device)

    def refresh(groups: Tensor) -> Tensor:
        """Compute `keeps[i, c]`, what i's group would keep with c instead of i, for the columns i of these groups."""
        members = order.view(-1, 4)[groups]  # (groups, 4)
        values = columns[members]  # (groups, 4, rows)
        others = torch.stack([values[:, [j for j in range(4) if j != i]] for i in range(4)], 1)
        a, b = others.topk(2, dim=2).values.unbind(2)  # (groups, 4, rows)
        i = members.flatten()
        totals = 0.5 * (b.sum(-1).flatten()[:, None] + columns.sum(-1) + torch.cdist(b.flatten(0, 1), columns, p=1))
        keeps[i] = a.sum(-1).flatten()[:, None] + totals
        now[i] = values.topk(2, dim=1).values.sum((1, 2)).repeat_interleave(4)
        return i

    def gains(i: Tensor) -> Tensor:
        """What swapping column i with column c gains, for all c; nothing within a group."""
        gain = keeps[i] + keeps[:, i].T - now[i][:, None] - now
        return gain.masked_fill(group_of[i][:, None] == group_of, 0)

    group_of = torch.empty_like(order)
    group_of[order] = torch.arange(len(order), device=order.device) // 4
    at_once = max(1, _AT_ONCE // (4 * columns.shape[1]))
    everything = torch.cat(
        [refresh(part) for part in torch.arange(len(order) // 4, device=order.device).split(at_once)]
    )
    gain = torch.empty_like(keeps)
    gain[everything] = gains(everything)
    least = 1e-9 * float(now.mean())
    while float((best := gain.amax(1)).max()) > least:
        i = int(best.argmax())  # the first of the largest in two steps: argmax of all pairs takes longer than the rest
        c = int(gain[i].argmax())
        at = (order == i).nonzero().item(), (order == c).nonzero().item()
        order[list(at)] = order[list(reversed(at))]
        group_of[[i, c]] = group_of[[c, i]]
        changed = refresh(torch.tensor(sorted({at[0] // 4, at[1] // 4}), device=order.device))
        new = gains(changed)
        gain[changed], gain[:, changed] = new, new.T
    groups = order.view(-1, 4).sort(dim=1).values
    order = groups[groups[:, 0].argsort()].flatten()  # which group comes first does not matter: keep the old order
    return order


def permute(model: nn.Module, example_inputs: Any, layer: str, order: Tensor) -> nn.Module:
    """A copy of `model` whose `layer` reads its input channels in `order`; the outputs stay what they were.

    Whatever makes these channels is put in the same order (rows and bias of the layer before, the norm between, what an
    addition ties to them), and whatever else reads them.

    Parameters
    ----------
    model : nn.Module
        Unchanged.
    example_inputs : tensor, tuple of positional or dict of keyword arguments
        What the model's forward takes; it is run to see what depends on what, and to check that nothing changed.
    layer : name of a Linear or of a 1×1 convolution without groups.
    order : Tensor (columns,), int64
        As `find_permutation` returns it.

    Raises
    ------
    ValueError
        If `layer` is not such a layer, `order` is no permutation, or the channels cannot be moved (they are the model's
        inputs, feed its output, or come in whole blocks after a flatten), with the reason.
    """
    model = check_model(model)
    columns = _columns_of(model, layer)
    order = torch.as_tensor(order).cpu()
    if not _is_permutation(order, columns):
        raise ValueError(f"order must be a permutation of 0 to {columns - 1} (int64), as find_permutation returns it")
    graph = trace(model, example_inputs)
    roots = _channels_of(graph, model, layer)
    moved = torch.full((len(graph.table),), FIXED)
    moved[roots] = roots[order]  # where channel roots[j] is now, channel roots[order[j]] shall be
    permuted = copy.deepcopy(model)
    tensors = dict([*permuted.named_parameters(), *permuted.named_buffers()])
    with torch.no_grad():
        for slot in graph.slots.values():
            ids = graph.roots(slot.ids)
            wanted = torch.where((ids != FIXED) & (moved[ids] != FIXED), moved[ids], ids)
            if torch.equal(wanted, ids):
                continue
            tensor = tensors[slot.tensor]
            if held(tensor):
                raise ValueError(f"{slot.tensor!r} is held by a mask: take it off with release(model) before permuting")
            if not torch.equal(ids.sort().values, wanted.sort().values):
                raise ValueError(f"order moves channels into {slot.tensor!r} that other layers make")
            tensor.copy_(tensor.index_select(slot.dim, _positions(ids, wanted).to(tensor.device)))
    check_agreement(model, permuted, example_inputs, f"the channels {layer!r} reads cannot be moved")
    return permuted


def permute_model(model: nn.Module, example_inputs: Any) -> tuple[nn.Module, dict[str, str]]:
    """A copy of `model`, same outputs, whose channels are in the order that `find_permutation` finds for 2:4.

    Every Linear and every 1×1 convolution whose input channels can be moved; those that read the same channels in the
    same order get one order, found for their weights together. The magnitude that 2:4 keeps in all weights together
    never falls: where other layers read the channels too (a 3×3 convolution, a concatenation) and would lose more than
    these gain, the order stays as it was.

    Returns
    -------
    model : nn.Module
        To be pruned by `best_masks` or any other 2:4 method.
    left : dict of str to str
        Name → reason, for each Linear and convolution that reads its channels as before.

    Raises
    ------
    ValueError
        If no layer's channels can be moved, with the reasons.
    """
    model = check_model(model)
    graph = trace(model, example_inputs)
    readers: dict[tuple[int, ...], list[str]] = {}
    left: dict[str, str] = {}
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d):
            try:
                if _columns_of(model, name) % 4:
                    raise ValueError(f"it has {module.weight.shape[1]} columns, no multiple of 4")
                readers.setdefault(tuple(_channels_of(graph, model, name).tolist()), []).append(name)
            except ValueError as error:
                left[name] = str(error)
    if not readers:
        raise ValueError(f"no channels of the model can be moved: {'; '.join(left.values()) or 'it has no layer'}")
    unmoved = dict(left)
    kept = _kept_in(model)
    for names in readers.values():
        weights = [model.get_submodule(name).weight.detach().flatten(1) for name in names]
        try:
            permuted = permute(model, example_inputs, names[0], find_permutation(torch.cat(weights)))
            keeps = _kept_in(permuted)
            if keeps < kept * (1 - 1e-12):  # a sum in another order may round differently
                raise ValueError(
                    f"moving the channels {names[0]!r} reads costs other layers more magnitude than it gains"
                )
        except ValueError as error:
            unmoved |= dict.fromkeys(names, str(error))
            continue
        model, kept = permuted, keeps
    if len(unmoved) == len(left) + sum(map(len, readers.values())):
        raise ValueError(f"no channels of the model can be moved: {'; '.join(unmoved.values())}")
    return model, unmoved


def find_orders(channels: Sequence[Sequence[Place]], scores: dict[str, Tensor]) -> list[Tensor]:
    """For each set of channels the order that `find_permutation` finds for all the scored columns that read it.

    Parameters
    ----------
    channels : for each set, its places (tensor, dimension, range along it), all of one length
        What the architecture lets move and a run of the model doesn't show: the residual stream of a language model,
        the values within a head (`workbench.channels.free_channels`).
    scores : parameter name → (out, in)
        Of the weights that are to become 2:4; of what 2:4 is to keep much: the weights, for their magnitude, or
        abs(W)·‖x‖ (Wanda's scores; RIA, Zhang et al. 2024, permutes by such scores).

    Returns
    -------
    list of Tensor (count,), int64
        As `permute_channels` takes them. Σ of what 2:4 keeps of all scores never falls.

    Raises
    ------
    ValueError
        If a score isn't a finite matrix, or a set isn't a multiple of 4 or not read by any of the scores.
    """
    check_scores(scores)
    orders = []
    for number, places in enumerate(tqdm(channels, desc="orders", unit="set", leave=False)):
        columns = []
        for name, dim, along in places:
            if dim == 1 and name in scores:
                if scores[name].ndim != 2 or along.stop > scores[name].shape[1]:
                    shape = tuple(scores[name].shape)
                    raise ValueError(f"scores[{name!r}] has shape {shape}, must be a matrix with columns {along}")
                columns.append(scores[name][:, along.start : along.stop])
        if not columns:
            raise ValueError(f"channels[{number}] is {list(places)}, must have columns of one of the scores")
        orders.append(find_permutation(torch.cat(columns)))
    return orders


def permute_channels(
    model: nn.Module, example_inputs: Any, channels: Sequence[Sequence[Place]], orders: Sequence[Tensor]
) -> nn.Module:
    """A copy of `model` with each set of channels in its order, at all of the set's places; same outputs.

    Parameters
    ----------
    model : nn.Module
        Unchanged.
    example_inputs : tensor, tuple of positional or dict of keyword arguments
        What the model's forward takes; it is run to check that nothing changed.
    channels, orders : as `find_orders` takes and returns them

    Raises
    ------
    ValueError
        If a place isn't in the model, an order is no permutation of its set, a tensor is held by a mask, or the outputs
        change.
    """
    permuted = copy.deepcopy(check_model(model))
    tensors = dict(permuted.named_parameters())
    if len(channels) != len(orders):
        raise ValueError(f"orders are {len(orders)}, must be one for each of the {len(channels)} sets of channels")
    for number, (places, order) in enumerate(zip(channels, orders, strict=True)):
        order = torch.as_tensor(order)
        for name, dim, along in places:
            tensor = tensors.get(name)
            fits = tensor is not None and dim in range(tensor.ndim) and {*along} <= {*range(tensor.shape[dim])}
            if not fits or along.step != 1:
                shape = "no parameter of the model" if tensor is None else tuple(tensor.shape)
                raise ValueError(f"channels[{number}] has {(name, dim, along)}, must be places in {name!r}: {shape}")
            if held(tensor):
                raise ValueError(f"{name!r} is held by a mask: take it off with release(model) before permuting")
            if not _is_permutation(order, len(along)):
                raise ValueError(f"orders[{number}] must be a permutation of 0 to {len(along) - 1} (int64)")
            part = tensor.detach().narrow(dim, along.start, len(along))
            part.copy_(part.index_select(dim, order.to(part.device)))
    check_agreement(model, permuted, example_inputs, "channels can't be moved as given")
    return permuted


def _is_permutation(order: Tensor, count: int) -> bool:
    return order.dtype == torch.int64 and torch.equal(order.sort().values.cpu(), torch.arange(count))


def _kept_in(model: nn.Module) -> float:
    """Σ `kept_magnitude` over the weights that `best_masks` takes."""
    weights = (weight.detach().flatten(1) for weight in prunable(model).values())
    return sum(kept_magnitude(weight) for weight in weights if weight.shape[1] % 4 == 0)


def _positions(ids: Tensor, wanted: Tensor) -> Tensor:
    """For each entry the position in `ids` to take it from, so that `ids` becomes `wanted`; repeats in their order."""
    source = torch.empty(len(ids), dtype=torch.int64)
    source[wanted.argsort(stable=True)] = ids.argsort(stable=True)
    return source


def _channels_of(graph: Graph, model: nn.Module, layer: str) -> Tensor:
    """The units that `layer` reads, one for each input column; ValueError if they cannot change places."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    slot = graph.slots.get((names[id(model.get_submodule(layer).weight)], 1))
    roots = graph.roots(slot.ids) if slot else torch.tensor([FIXED])
    if (roots == FIXED).any():
        raise ValueError(f"the channels {layer!r} reads cannot be moved: no layer that could be reordered makes them")
    reason = graph.reason(slot.ids)
    if reason is not None:
        raise ValueError(f"the channels {layer!r} reads cannot be moved: {reason}")
    if len(roots.unique()) < len(roots):
        raise ValueError(f"the channels {layer!r} reads cannot be moved one by one: several belong together")
    return roots


def _columns_of(model: nn.Module, layer: str) -> int:
    module = dict(model.named_modules()).get(layer)
    pointwise = isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d) and set(module.kernel_size) == {1}
    if not isinstance(module, nn.Linear) and not (pointwise and module.groups == 1):
        kind = "no module of the model" if module is None else type(module).__name__
        raise ValueError(f"layer {layer!r} is {kind}, must be a Linear or a 1×1 convolution without groups")
    return module.weight.shape[1]
