"""Walking a trained model layer by layer: each is pruned on the inputs that the layers pruned before it give it."""

import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from pruning_lib.after_training.chain import Chain, NotAChain, containers, find_chain, shown
from pruning_lib.after_training.layers import as_matrices, unfolded
from pruning_lib.after_training.reconstruction import Hessian
from pruning_lib.inputs import Inputs, call, check_batches, original, without_padding
from pruning_lib.modes import evaluating
from pruning_lib.precision import autocast_off
from pruning_lib.structure import Masks, prunable
from pruning_lib.structure.holding import held

# (weight (rows, columns), Hessian of its inputs or the diagonal) -> (weight, keep)
PruneLayer = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


class Unfinished(ValueError):
    """Pruning stopped on the way. What is done is whole and stays; what is not done is unchanged.

    Attributes
    ----------
    masks : Masks of the weights that are done, None if there is none
    left : names of the layers still to do: prune again with `layers=error.left` to go on as if nothing had happened
    """

    def __init__(self, reason: str, masks: Masks | None, left: list[str]):
        done = ", ".join(masks) if masks else "none"
        rest = ", ".join(map(shown, left))
        super().__init__(f"{reason}. Pruned: {done}; unchanged: {rest} (go on with layers=error.left)")
        self.masks, self.left = masks, left


@dataclass(frozen=True)
class Target:
    """A weight to be pruned, and the modules that use it: as a rule one."""

    name: str
    layer: str
    weight: nn.Parameter
    users: tuple[nn.Module, ...]


def prune_in_order(
    model: nn.Module,
    batches: Iterable[Inputs],
    prune_layer: PruneLayer,
    statistic: Callable[..., Hessian],
    layers: Iterable[str] | None = None,
    multiple_of: int = 1,
    progress: bool = True,
) -> Masks:
    """Prune `layers` of `model` in place, in the order in which they run.

    Blocks that feed one another (the elements of a ModuleList or Sequential, as in a transformer) are walked one by
    one: statistics of all layers of a block from one pass of all batches through that block, then its layers are
    pruned, then its outputs are computed anew for the next block. So time grows linearly with depth, and memory holds
    the statistics of one block and one set of block outputs. Every other layer costs a pass of the whole model. The
    model runs in evaluation mode without gradients; its modes come back and no hook stays, whatever happens.

    Parameters
    ----------
    batches : calibration inputs as the model's forward takes them, targets beside them left out; all are held. Padding
        that an `attention_mask` or a `key_padding_mask` leaves out does not count (`inputs.without_padding`)
    prune_layer : gets a matrix (a convolution's: (out, in·kh·kw), one per group) and H of its inputs
    statistic : makes what gathers H, still empty, from columns, dtype and device: `Hessian`, of all or its diagonal
    layers : module names; left out, all prunable ones
    multiple_of : what the columns of every layer must be a multiple of

    Raises
    ------
    ValueError
        If something is no batch, or there is none, a name is not of a prunable layer, a weight is held by a mask,
        columns do not fit, or calibration never reaches a layer. The model is unchanged.
    Unfinished
        If a layer fails later on: it says which are done, and how to go on. A block is written when all of it is done.
    KeyboardInterrupt
        And whatever else is no Exception: as it came, with the attributes `masks` and `left` of `Unfinished`.
    """
    model = original(model)
    every = _find_targets(model)
    targets = _choose_targets(every, layers, multiple_of)
    batches = list(check_batches(part for batch in check_batches(batches) for part in without_padding(model, batch)))
    done: dict[str, Tensor] = {}
    with evaluating(model), autocast_off():
        units = _in_order(model, every, targets, batches)
        with tqdm(total=len(targets), desc="pruning", unit="layer", disable=not progress) as bar:
            try:
                for pruned in _walk(model, units, batches, prune_layer, statistic):
                    _write(model, pruned, done)
                    bar.update(len(pruned))
                return Masks({target.name: done[target.name] for target in targets})
            except BaseException as error:
                left = [target.layer for target in targets if target.name not in done]
                masks = Masks(done) if done else None
                if isinstance(error, Exception):
                    raise Unfinished(str(error), masks, left) from error
                error.masks, error.left = masks, left
                error.add_note(str(Unfinished("Pruning was stopped", masks, left)))
                raise


def _find_targets(model: nn.Module) -> list[Target]:
    """All weights of `model` that could be pruned."""
    targets = []
    for name, weight in prunable(model).items():
        users = tuple(module for module in model.modules() if getattr(module, "weight", None) is weight)
        targets.append(Target(name, name.rpartition(".")[0], weight, users))
    return targets


def _choose_targets(every: list[Target], layers: Iterable[str] | None, multiple_of: int) -> list[Target]:
    """Those of `layers`, checked."""
    by_layer = {target.layer: target for target in every}
    chosen = list(by_layer if layers is None else dict.fromkeys([layers] if isinstance(layers, str) else layers))
    if not chosen:
        raise ValueError("layers is empty, must name at least one")
    for layer in chosen:
        if layer not in by_layer:
            raise ValueError(f"layers has {layer!r}, must be of {', '.join(map(repr, by_layer))}")
        columns = by_layer[layer].weight[0].numel()
        if columns % multiple_of:
            raise ValueError(
                f"{shown(layer)} has {columns} columns, must be a multiple of m = {multiple_of}: leave it out"
            )
        if held(by_layer[layer].weight):
            raise ValueError(f"{by_layer[layer].name!r} is held by a mask already: remove that handle first")
    return [by_layer[layer] for layer in chosen]


def _in_order(
    model: nn.Module, every: list[Target], targets: list[Target], batches: list[Inputs]
) -> list[tuple[Chain | None, list[Target]]]:
    """The chains to walk and, with None, the single layers, in the order in which the model runs them."""
    order = _order_of_calls(model, targets, batches)
    units: list[tuple[Chain | None, list[Target]]] = []
    # Which containers are walked does not depend on the layers chosen: what is left after an error is walked alike.
    free = {target.name for target in every}
    found = [
        (name, [part for element in container if (part := _inside(element, every))])
        for name, container in containers(model)
    ]
    for name, parts in sorted(found, key=lambda pair: -len(pair[1])):
        members = {target.name for part in parts for target in part}
        chosen = [target for target in targets if target.name in members]
        if len(parts) < 2 or not free.issuperset(members):
            continue
        try:
            chain = find_chain(model, name, batches[0])
        except NotAChain as reason:
            if chosen:
                warnings.warn(
                    f"the elements of {shown(name)} are not walked one by one: {reason}. "
                    "That takes more passes of the model",
                    stacklevel=4,
                )
            continue
        free -= members
        if chosen:
            units.append((chain, chosen))
    units += [(None, [target]) for target in targets if target.name in free]
    return sorted(units, key=lambda unit: min(order.index(target.name) for target in unit[1]))


def _inside(element: nn.Module, targets: list[Target]) -> list[Target]:
    """Those of `targets` that lie wholly in `element`."""
    modules = set(element.modules())
    return [target for target in targets if modules.issuperset(target.users)]


def _order_of_calls(model: nn.Module, targets: list[Target], batches: list[Inputs]) -> list[str]:
    """The names of `targets` as the model first calls them; ValueError names those that no batch reaches."""
    order: dict[str, None] = {}
    with _hooked(targets, lambda target, user, inputs: order.setdefault(target.name)):
        for inputs in batches:
            call(model, inputs)
            if len(order) == len(targets):
                return list(order)
    missed = [shown(target.layer) for target in targets if target.name not in order]
    raise ValueError(
        f"calibration never reaches {', '.join(missed)}: name `layers` without (a layer whose weight is used without "
        "calling it, as out_proj of nn.MultiheadAttention, cannot be calibrated)"
    )


def _walk(
    model: nn.Module,
    units: list[tuple[Chain | None, list[Target]]],
    batches: list[Inputs],
    prune_layer: PruneLayer,
    statistic: Callable[..., Hessian],
) -> Iterator[dict[str, tuple[Tensor, Tensor]]]:
    """What was pruned last, as of `_prune_unit`, again and again; it has to be written before the next is asked for."""
    for chain, targets in units:
        if chain is None:
            yield _prune_unit(targets, lambda: (call(model, inputs) for inputs in batches), prune_layer, statistic)
            continue
        try:
            hidden, calls = map(list, zip(*(chain.start(model, inputs) for inputs in batches), strict=True))
        except NotAChain as reason:
            raise ValueError(
                f"the elements of {shown(chain.name)} run otherwise in a later batch: {reason}"
            ) from reason
        for place, element in enumerate(chain.elements):
            if here := _inside(element, targets):
                # Clones, since an element may work on its input in place.
                passes = lambda: (c[place].run(element, h.clone()) for h, c in zip(hidden, calls, strict=True))  # noqa: B023, E731
                yield _prune_unit(here, passes, prune_layer, statistic)
            for number, its_calls in enumerate(calls):
                hidden[number] = its_calls[place].run(element, hidden[number])


def _prune_unit(
    targets: list[Target],
    passes: Callable[[], Iterator[Any]],
    prune_layer: PruneLayer,
    statistic: Callable[..., Hessian],
) -> dict[str, tuple[Tensor, Tensor]]:
    """Gather statistics of all `targets` while `passes` runs, and prune them: (pruned weight, mask) by name."""
    gathered = {}
    for target in targets:
        kind = {"dtype": torch.promote_types(target.weight.dtype, torch.float32), "device": target.weight.device}
        matrices = as_matrices(target.users[0], target.weight)
        gathered[target.name] = [statistic(matrix.shape[1], **kind) for matrix in matrices]

    def gather(target: Target, user: nn.Module, inputs: Tensor) -> None:
        for group, part in unfolded(user, inputs):
            gathered[target.name][group].add(part)

    with _hooked(targets, gather):
        for _ in passes():
            pass
    results = {}
    for target in targets:
        statistics = gathered.pop(target.name)
        if statistics[0].count == 0:
            raise ValueError(f"{shown(target.layer)}: calibration gives it no inputs: are all batches empty?")
        try:
            matrices = as_matrices(target.users[0], target.weight.detach())
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                pairs = [prune_layer(matrix, found.matrix) for matrix, found in zip(matrices, statistics, strict=True)]
        except ValueError as error:
            raise ValueError(f"{shown(target.layer)}: {error}") from error
        # Once more, with the name of the layer.
        for kind, text in dict.fromkeys((warning.category, str(warning.message)) for warning in caught):
            warnings.warn(f"{shown(target.layer)}: {text}", kind, stacklevel=5)
        weight, keep = (torch.cat(parts).view(target.weight.shape) for parts in zip(*pairs, strict=True))
        results[target.name] = weight, keep
    return results


def _write(model: nn.Module, pruned: dict[str, tuple[Tensor, Tensor]], done: dict[str, Tensor]) -> None:
    """Write all weights of `pruned` and enter their masks in `done`; all or, if it is interrupted, none."""
    weights = {name: model.get_parameter(name) for name in pruned}
    before = {name: weight.clone() for name, weight in weights.items()}
    try:
        for name, (weight, keep) in pruned.items():
            weights[name].copy_(weight)
            done[name] = keep
    except BaseException:
        for name, weight in weights.items():
            weight.copy_(before[name])
            done.pop(name, None)
        raise


@contextmanager
def _hooked(targets: list[Target], see: Callable[[Target, nn.Module, Tensor], Any]) -> Iterator[None]:
    """Call `see` with each target, the module that uses it and that module's inputs, whenever it is called."""

    def hook(target: Target, module: nn.Module, args: tuple, kwargs: dict[str, Any]) -> None:
        see(target, module, args[0] if args else kwargs["input"])

    with ExitStack() as hooks:
        for target in targets:
            for user in target.users:
                hooks.enter_context(user.register_forward_pre_hook(partial(hook, target), with_kwargs=True))
        yield
