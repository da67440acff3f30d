"""What a batch is: decided here, for all that calls a model.

A batch is what the model's forward takes: a tensor, a tuple of positional arguments, or a dict of keyword arguments (as
tokenizers give). Where a loss is needed it is a pair (inputs, targets), or a dict with labels among its keys. Where
only inputs are needed, targets that come along and that the forward does not take are left out.
"""

import contextlib
import functools
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

Inputs = Tensor | tuple | Mapping[str, Any]
Batch = tuple[Inputs, Any] | Mapping[str, Any]  # inputs with targets

_LABELS = ("labels", "label", "targets", "target")  # what data sets and collators call targets
_PADDING = ("attention_mask", "decoder_attention_mask", "src_key_padding_mask", "key_padding_mask")


def call(model: nn.Module, inputs: Inputs) -> Any:
    """model(x), model(*tuple) or model(**dict), whichever `inputs` asks for; errors as `as_arguments`."""
    args, kwargs = as_arguments(model, inputs)
    return model(*args, **kwargs)


def as_arguments(model: nn.Module, inputs: Inputs) -> tuple[tuple, dict[str, Any]]:
    """The positional and keyword arguments with which `inputs` calls `model`.

    A tuple is positional arguments if the forward takes as many, and else, if there are two, inputs with their targets.
    So is a list, as a DataLoader makes it, unless both fit. Labels in a dict are left out where the forward has no
    argument of that name.

    Raises
    ------
    ValueError
        If `inputs` is something else, or not what the model's forward takes.
    """
    forward = _signature(model)
    problem = found = alone = None
    try:
        found = _fitting(inputs, forward)
    except TypeError as error:
        problem = error
    if isinstance(inputs, tuple | list) and len(inputs) == 2:
        by_count = found is not None and isinstance(inputs, tuple) and not isinstance(inputs[0], Mapping | tuple)
        with contextlib.suppress(TypeError):
            alone = None if by_count else _fitting(inputs[0], forward)
    if alone is not None and (found is None or isinstance(inputs[0], Mapping)):
        return alone
    if alone is not None:
        problem = "it may be two arguments, or one with its targets: give that one alone, or a dict"
    if problem is None:
        return found
    takes = "" if forward is None else f" that {type(model).__name__}.forward({_names(forward)}) takes"
    raise ValueError(
        f"batch is {described(inputs)}, must be a tensor, a tuple of positional or a dict of keyword arguments{takes}: "
        f"{problem}"
    )


def _fitting(inputs: Any, forward: inspect.Signature | None) -> tuple[tuple, dict[str, Any]]:
    """Positional and keyword arguments as they stand in `inputs`; TypeError if they are not what `forward` takes."""
    if isinstance(inputs, Tensor):
        inputs = (inputs,)
    if not isinstance(inputs, tuple | list | Mapping):
        raise TypeError("it is none of these")
    args, kwargs = ((), dict(inputs)) if isinstance(inputs, Mapping) else (tuple(inputs), {})
    for value in (*args, *kwargs.values()):
        stray = isinstance(inputs, list) and not isinstance(value, Tensor | list | tuple | Mapping)
        if stray or _is_array(value):
            raise TypeError(f"{described(value)} in it is no tensor")
    if forward is not None:
        takes = forward.parameters
        if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in takes.values()):
            kwargs = {name: value for name, value in kwargs.items() if name in takes or name not in _LABELS}
        forward.bind(*args, **kwargs)
    return args, kwargs


def _signature(model: nn.Module) -> inspect.Signature | None:
    forward = original(model).forward
    try:
        return _of_method(forward.__func__) if inspect.ismethod(forward) else inspect.signature(forward)
    except (TypeError, ValueError):  # code that does not tell
        return None


@functools.lru_cache  # it takes as long as a small net's forward; of the function, which keeps no model alive
def _of_method(function: Callable) -> inspect.Signature:
    signature = inspect.signature(function)
    first, *others = signature.parameters.values()
    return signature if first.kind is first.VAR_POSITIONAL else signature.replace(parameters=others)


def _names(forward: inspect.Signature) -> str:
    names = list(forward.parameters)
    return ", ".join(names if len(names) <= 6 else [*names[:5], "…"])


def original(model: nn.Module) -> nn.Module:
    """What torch.compile made `model` from, or `model` itself; the names of weights are the original's everywhere."""
    return getattr(model, "_orig_mod", model)


def described(value: Any) -> str:
    """What `value` is, in a few words for a message."""
    if isinstance(value, Tensor) or _is_array(value):
        return f"a {'tensor' if isinstance(value, Tensor) else 'NumPy array'} of shape {tuple(value.shape)}"
    if isinstance(value, Mapping):
        return f"a dict of {', '.join(map(repr, value)) or 'nothing'}"
    if isinstance(value, tuple | list):
        return f"a {type(value).__name__} of {len(value)}"
    # On one line: the repr of a module goes over several.
    return f"{str(value)[:40]!r}" if isinstance(value, str) else " ".join(f"{value!r}".split())[:40]


def _is_array(value: Any) -> bool:
    """Whether `value` is NumPy's, which needs no import: a GPU machine may have torch alone."""
    return hasattr(value, "__array__") and not isinstance(value, Tensor)


def check_batches(batches: Iterable[Any]) -> Iterator[Any]:
    """Yield from `batches`; ValueError if there is none, or if it is a single batch or no iterable at all."""
    single = isinstance(batches, Tensor | Mapping | str) or _is_array(batches)
    try:
        each = iter(batches)
    except TypeError:
        single = True
    if single:
        raise ValueError(f"batches is {described(batches)}, must be an iterable of batches: [batch] for a single one")
    empty = True
    for batch in each:
        empty = False
        yield batch
    if empty:
        raise ValueError(
            "batches is empty, must hold at least one batch (of a generator nothing is left after one use)"
        )


def with_targets(batches: Iterable[Batch]) -> Iterator[tuple[Inputs, Any]]:
    """(inputs, targets) of each of `batches`, as of `inputs_and_targets`; errors as there and as `check_batches`."""
    return map(inputs_and_targets, check_batches(batches))


def inputs_and_targets(batch: Batch) -> tuple[Inputs, Any]:
    """(inputs, targets) of one batch. Labels in a dict stay among its inputs too, for a forward that takes them.

    Raises
    ------
    ValueError
        If the batch is neither a pair nor a dict with labels, or there are no targets with an entry for each sample.
    """
    labels = [name for name in _LABELS if name in batch] if isinstance(batch, Mapping) else []
    if len(labels) == 1:
        inputs, targets = batch, batch[labels[0]]
    elif isinstance(batch, tuple | list) and len(batch) == 2:
        inputs, targets = batch
    else:
        raise ValueError(
            f"batch is {described(batch)}, must be a pair (inputs, targets) or a dict with one of {', '.join(_LABELS)}"
        )
    samples(targets)
    return inputs, targets


def samples(targets: Any) -> int:
    """How many samples `targets` is of: its length, or that of the first tensor in a tuple, list or dict."""
    first = targets
    if isinstance(targets, tuple | list | Mapping) and len(targets):
        first = next(iter(targets.values() if isinstance(targets, Mapping) else targets))
        first = targets if isinstance(targets, list) and not isinstance(first, Tensor) else first  # an entry for each
    if isinstance(first, list) or (isinstance(first, Tensor) and first.ndim):
        return len(first)
    raise ValueError(f"targets is {described(targets)}, must be a tensor with an entry for each sample")


def without_padding(model: nn.Module, inputs: Inputs) -> list[Inputs]:
    """The batch cut into batches without padding: those samples together that leave out the same positions.

    An `attention_mask` (samples, positions) is 0 where a position is padding; a `key_padding_mask` of torch's layers is
    True or −inf there. Whatever has these two dimensions first loses these positions, and with them all that the model
    would compute there: what is left are the texts as they were before they were padded.

    Returns
    -------
    list : `inputs` alone if it has no such mask, else dicts of keyword arguments

    Raises
    ------
    ValueError
        As `as_arguments`, and if a mask leaves out positions that cannot be cut off: they lie between others, or no
        argument has the dimensions of the mask.
    """
    args, kwargs = as_arguments(model, inputs)
    forward = _signature(model)
    parameters = {} if forward is None else forward.parameters
    places = [name for name, parameter in parameters.items() if parameter.kind is parameter.POSITIONAL_OR_KEYWORD]
    named = dict(zip(places, args, strict=False)) | kwargs
    masks = [name for name in _PADDING if isinstance(named.get(name), Tensor) and named[name].ndim == 2]
    if not masks or len(args) > len(places):
        return [inputs]
    decoder = {name for name in named if name.startswith("decoder_")}
    if "decoder_input_ids" in parameters:
        decoder |= named.keys() & _LABELS
    parts = [named]
    for mask in masks:
        sequence_first = any(isinstance(m, nn.MultiheadAttention) and not m.batch_first for m in model.modules())
        if mask.endswith("key_padding_mask") and sequence_first and named[mask].any():
            raise ValueError(f"{mask} leaves out positions, must not: padding can be cut off only with batch_first")
        others = decoder if mask in decoder else named.keys() - decoder
        parts = [cut for part in parts for cut in _cut(part, mask, others - {mask})]
    return parts


def _cut(named: dict[str, Any], mask: str, others: Iterable[str]) -> Iterator[dict[str, Any]]:
    """`named` without the positions that its `mask` leaves out of itself and of `others`."""
    kept, after = named[mask], {}
    if mask.endswith("key_padding_mask"):
        kept, after = ~kept if kept.dtype == torch.bool else kept != -torch.inf, {mask: None}
    elif (kept < 0).any():
        raise ValueError(f"{mask} has {kept.min().item()}, must be 1 where a position counts and 0 where it is padding")
    kept = kept != 0
    count, positions = kept.shape
    long = {
        name
        for name in others
        if isinstance(named[name], Tensor) and named[name].shape[:2] in ((count, positions), (1, positions))
    }
    if kept.all() or (not long and count == positions):  # the latter says which position sees which
        yield named | after
        return
    if not long:
        raise ValueError(f"{mask} has shape {(count, positions)}, must begin as an argument does: (samples, positions)")
    for pattern in kept.unique(dim=0):
        columns, rows = pattern.nonzero().flatten(), (kept == pattern).all(dim=1)
        if not len(columns):
            continue
        if columns[-1] - columns[0] >= len(columns):
            raise ValueError(f"{mask} leaves out positions between others, must only where a sample begins or ends")
        part = {k: v[rows] if isinstance(v, Tensor) and v.shape[:1] == (count,) else v for k, v in named.items()}
        yield part | {name: part[name][:, columns] for name in (mask, *long)} | after
