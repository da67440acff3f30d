"""What a batch is: decided here, for all that calls a model.

A batch is what the model's forward takes: a tensor, a tuple of positional arguments, or a dict of keyword arguments (as
tokenizers give). Where a loss is needed it is a pair (inputs, targets), or a dict with labels among its keys. Where
only inputs are needed, targets that come along and that the forward does not take are left out.
"""

import contextlib
import functools
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from numbers import Number
from typing import Any

import torch
from torch import Tensor, nn

Inputs = Tensor | tuple | Mapping[str, Any]
Batch = tuple[Inputs, Any] | Mapping[str, Any]  # inputs with targets

_LABELS = ("labels", "label", "targets", "target")  # what data sets and collators call targets
_PADDING = (
    *("attention_mask", "decoder_attention_mask"),
    *("src_key_padding_mask", "tgt_key_padding_mask", "memory_key_padding_mask", "key_padding_mask"),
)
_TOKENS = ("input_ids", "decoder_input_ids", "token_type_ids", "position_ids", *_PADDING)  # what tokenizers give
_PAIRS = ("mask", "attn_mask", "src_mask", "tgt_mask", "memory_mask")  # which position (rows) sees which (columns)
_DECODER = ("decoder_", "tgt")  # how names begin that the padding of the encoder's inputs says nothing of


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
    if isinstance(inputs, list) and inputs and all(map(_is_of_numbers, inputs)):
        raise TypeError("its lists hold numbers, no tensors")
    if forward is not None:
        takes = forward.parameters
        if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in takes.values()):
            kwargs = {name: value for name, value in kwargs.items() if name in takes or name not in _LABELS}
    for name in (*_TOKENS, *_LABELS):
        if _is_of_numbers(kwargs.get(name)):
            hint = " (a tokenizer gives tensors with return_tensors='pt')" if name in _TOKENS else ""
            raise TypeError(f"{name}, {described(kwargs[name])}, is no tensor{hint}")
    if forward is not None:
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


def _is_of_numbers(value: Any) -> bool:
    """Whether `value` is a list with numbers in it, or of such lists."""
    return isinstance(value, list) and any(isinstance(entry, Number) or _is_of_numbers(entry) for entry in value)


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
    would compute there: what is left are the texts as they were before they were padded. A tensor (positions,) loses
    them too, and so do both dimensions of a mask of torch's layers that says which position sees which. What belongs to
    the decoder (`decoder_…`, `tgt…`, its labels) loses what the decoder's mask leaves out.

    Returns
    -------
    list : `inputs` alone if it has no such mask, else dicts of keyword arguments

    Raises
    ------
    ValueError
        As `as_arguments`, and if a mask leaves out positions that cannot be cut off: they lie between others, no
        argument has the dimensions of the mask, or one may be of the samples as well as of the positions.
    """
    args, kwargs = as_arguments(model, inputs)
    forward = _signature(model)
    parameters = {} if forward is None else forward.parameters
    places = [name for name, parameter in parameters.items() if parameter.kind is parameter.POSITIONAL_OR_KEYWORD]
    named = dict(zip(places, args, strict=False)) | kwargs
    masks = [name for name in _PADDING if isinstance(named.get(name), Tensor) and named[name].ndim == 2]
    if "memory" not in named:  # an encoder's output has the padding of its inputs
        masks = [name for name in masks if name != "memory_key_padding_mask"]
    if not masks or len(args) > len(places):
        return [inputs]
    decoder = {name for name in named if name.startswith(_DECODER)}
    if parameters.keys() & {"decoder_input_ids", "tgt"}:
        decoder |= named.keys() & _LABELS
    encoder = named.keys() - decoder
    query, key = named.get("query"), named.get("key")
    if isinstance(query, Tensor) and isinstance(key, Tensor) and not torch.equal(query, key):
        encoder -= {"query"}  # the mask is the key's
    kept = {mask: _kept(mask, named[mask]) for mask in masks}
    batched = _of_samples(named, len(named[masks[-1]]))
    if not all(positions.all() for positions in kept.values()):
        _check_vectors(named, batched, (encoder, decoder))
    parts = [named]
    for mask in masks:
        if mask.endswith("key_padding_mask") and named[mask].any() and _is_sequence_first(model):
            raise ValueError(f"{mask} leaves out positions, must not: padding can be cut off only with batch_first")
        others = (decoder if mask in decoder else encoder) - {mask}
        parts = [cut for part in parts for cut in _cut(part, mask, others, batched)]
    return parts


def _is_sequence_first(model: nn.Module) -> bool:
    return any(isinstance(module, nn.MultiheadAttention) and not module.batch_first for module in model.modules())


def _kept(mask: str, values: Tensor) -> Tensor:
    """Where `mask` leaves a position in."""
    if mask.endswith("key_padding_mask"):
        return ~values if values.dtype == torch.bool else values != -torch.inf
    if (values < 0).any():
        raise ValueError(
            f"{mask} has {values.min().item()}, must be 1 where a position counts and 0 where it is padding"
        )
    return values != 0


def _of_samples(named: dict[str, Any], count: int) -> set[str]:
    """Which arguments begin with the `count` samples."""
    return {
        name
        for name, value in named.items()
        if isinstance(value, Tensor) and value.shape[:1] == (count,) and not _is_of_pairs(name, value, named)
    }


def _is_of_pairs(name: str, value: Any, named: dict[str, Any]) -> bool:
    """Whether it says which position sees which: (positions, positions), or so for each sample and head."""
    if name not in _PAIRS or not isinstance(value, Tensor) or value.ndim not in (2, 3):
        return False
    return value.shape[-2] == value.shape[-1] or name == "memory_mask" or "query" in named


def _check_vectors(named: dict[str, Any], batched: set[str], sides: Iterable[set[str]]) -> None:
    """ValueError if what has one dimension may be of samples or of positions, as there are equally many."""
    for side in sides:
        several = [named[name].shape for name in side & batched if named[name].ndim > 1]
        for name in sorted(side & batched - {*_LABELS}):
            if any(shape[0] == shape[1] for shape in several) and named[name].ndim == 1:
                raise ValueError(
                    f"{name} has shape {tuple(named[name].shape)}, which may be samples or positions, "
                    "must be (samples, 1) or (1, positions)"
                )


def _cut(named: dict[str, Any], mask: str, others: set[str], batched: set[str]) -> Iterator[dict[str, Any]]:
    """`named` without the positions that its `mask` leaves out of itself and of `others`."""
    kept, after = _kept(mask, named[mask]), {mask: None} if mask.endswith("key_padding_mask") else {}
    count, positions = kept.shape
    pairs = {name for name, value in named.items() if _is_of_pairs(name, value, named)}
    long = {
        name
        for name in others - pairs
        if isinstance(named[name], Tensor) and named[name].shape[:2] in ((count, positions), (1, positions))
    }
    if kept.all() or (not long and count == positions):  # the latter says which position sees which
        yield named | after
        return
    if not long:
        raise ValueError(f"{mask} has shape {(count, positions)}, must begin as an argument does: (samples, positions)")
    vectors = {k for k in others - batched if isinstance(named[k], Tensor) and named[k].shape == (positions,)}
    for pattern in kept.unique(dim=0):
        columns, rows = pattern.nonzero().flatten(), (kept == pattern).all(dim=1)
        if not len(columns):
            continue
        if columns[-1] - columns[0] >= len(columns):
            raise ValueError(f"{mask} leaves out positions between others, must only where a sample begins or ends")
        part = named | {name: named[name][rows] for name in batched if named[name] is not None}
        part |= {name: part[name][:, columns] for name in (mask, *long)}
        part |= {name: part[name][columns] for name in vectors}
        for name in pairs:
            if part[name].ndim == 3:  # of each sample and head
                part[name] = part[name].unflatten(0, (count, -1))[rows].flatten(0, 1)
            for dim in _cut_dims(name, mask, others, "query" in named):
                if part[name].shape[dim] == positions:
                    part[name] = part[name].index_select(dim, columns)
        yield part | after


def _cut_dims(pair: str, mask: str, others: set[str], attends: bool) -> tuple[int, ...]:
    """Which dimensions of a mask of pairs have the positions of `mask`: of those that see, of those seen, or both."""
    if pair == "memory_mask":  # the target sees the memory
        return (-2,) if mask.startswith(_DECODER) else (-1,)
    if pair not in others:
        return ()
    return (-1,) if attends and "query" not in others else (-2, -1)
