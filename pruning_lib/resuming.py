"""Work that goes on where it was interrupted: what there is so far, in one file, and what run it belongs to.

For training and rounds of pruning; sweeps resume in `reproduction/sweep.py`.
"""

import copyreg
import hashlib
import json
import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path, PurePath
from types import CodeType, FunctionType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pruning_lib.tensors import read_tensors, write_tensors


def save_state(path: str | os.PathLike, run: Mapping[str, Any], tensors: Mapping[str, Tensor], progress: Any) -> None:
    """Write what a run has reached: `tensors`, and `progress` as JSON; `run`, JSON too, tells it from other runs."""
    write_tensors(path, tensors, {"run": run, "progress": progress})


def saved_state(path: str | os.PathLike, run: Mapping[str, Any]) -> tuple[dict[str, Tensor], Any] | None:
    """The tensors and progress that `save_state` wrote to `path`, or None if nothing is there.

    Raises
    ------
    ValueError
        If they belong to a run with other arguments, naming these, or the file is truncated or another.
    """
    if not Path(path).exists():
        return None
    tensors, about = read_tensors(path)
    if not isinstance(about, dict) or about.keys() != {"run", "progress"}:
        raise ValueError(f"{path} is not the state of a run: it is about {_cut(json.dumps(about, ensure_ascii=False))}")
    # As text, in which nan equals nan, and True is not 1.
    found, here = ({name: json.dumps(it, sort_keys=True) for name, it in one.items()} for one in (about["run"], run))
    differ = [name for name in sorted(found.keys() | here.keys()) if found.get(name) != here.get(name)]
    if differ:
        pairs = [(name, *_where_they_differ(run.get(name), about["run"].get(name))) for name in differ]
        told = "; ".join(f"{name} is {here}, was {there}" for name, here, there in pairs)
        raise ValueError(f"{path} holds a run with other arguments ({told}): give another place, or delete it")
    return tensors, about["progress"]


def _where_they_differ(one: Any, other: Any) -> list[str]:
    """Both in at most some 80 characters, of long ones those about the first that is another."""
    texts = [json.dumps(value, ensure_ascii=False, sort_keys=True) for value in (one, other)]
    differs = next((place for place, (a, b) in enumerate(zip(*texts, strict=False)) if a != b), 0)
    start = max(differs - 30, 0) if max(map(len, texts)) > 80 else 0
    return [("…" if start else "") + _cut(text[start:]) for text in texts]


def _cut(text: str) -> str:
    return text if len(text) <= 80 else f"{text[:79]}…"


def identity(value: Any, what: str) -> Any:
    """`value` as JSON that is the same in every process and another for every other value.

    Tensors and arrays are told by a hash; functions and classes by their names, a function also by its defaults and by
    what it encloses, a lambda or inner function by its code too; other objects by what pickle would make them of.
    Global variables that a function reads are not looked at.

    Raises
    ------
    ValueError
        Naming `what` it is, for what can't be told from others of its kind.
    """
    try:
        return _described(value, what)
    except RecursionError:
        raise ValueError(f"{what} contains itself, must not: it can't be compared when the run goes on") from None


def _described(value: Any, what: str) -> Any:
    if isinstance(value, Tensor):
        return _digest({"": value})
    if isinstance(value, partial):
        parts = {"func": value.func, "args": value.args, "keywords": value.keywords}
        return [_described(part, f"{what}.{name}") for name, part in parts.items()]
    if isinstance(value, np.ndarray) and not value.dtype.hasobject:
        return f"sha256:{hashlib.sha256(f'{value.dtype} {value.shape} '.encode() + value.tobytes()).hexdigest()}"
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, Mapping):
        if value and all(isinstance(item, Tensor) for item in value.values()):
            return _digest(value)
        if all(isinstance(key, str) for key in value):
            return {key: _described(item, f"{what}[{key!r}]") for key, item in value.items()}
        value = list(value.items())  # in which the key 1 is not "1"
    if isinstance(value, list | tuple | set | frozenset):
        items = [_described(item, f"{what}[{place}]") for place, item in enumerate(value)]
        return sorted(items, key=json.dumps) if isinstance(value, set | frozenset) else items
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, PurePath | torch.dtype | torch.device):
        return str(value)
    if isinstance(value, FunctionType):
        return _described_function(value, what)
    if isinstance(value, type):
        return _name(value, value.__qualname__, what)
    if callable(value) or hasattr(value, "__dict__"):
        return _described_object(value, what)
    raise _not_told(value, what)


def _described_function(function: FunctionType, what: str) -> Any:
    full_name = f"{function.__module__}.{function.__qualname__}"
    enclosed = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
    parts = {
        "defaults": function.__defaults__,
        "keyword defaults": function.__kwdefaults__,
        "enclosed": {name: cell.cell_contents for name, cell in enclosed if cell.cell_contents is not function},
    }
    told = {part: _described(value, f"{what}: {part}") for part, value in parts.items() if value}
    if "<" in function.__qualname__:
        told["code"] = hashlib.sha256(json.dumps(_code(function.__code__)).encode()).hexdigest()
    return {"function": full_name} | told if told else full_name


def _code(code: CodeType) -> list:
    constants = [
        _code(it) if isinstance(it, CodeType) else sorted(map(repr, it)) if isinstance(it, frozenset) else repr(it)
        for it in code.co_consts
    ]
    return [code.co_code.hex(), code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars, constants]


def _described_object(value: Any, what: str) -> Any:
    """By class and state, as pickle would take it apart; a built-in function by its name."""
    try:
        reduce = copyreg.dispatch_table.get(type(value))
        parts = reduce(value) if reduce else value.__reduce_ex__(4)
    except TypeError:
        raise _not_told(value, what) from None
    if isinstance(parts, str):
        return _name(value, getattr(value, "__qualname__", parts), what)
    return [_described(part, f"{what}: {type(value).__name__}") for part in parts if part is not None]


def _name(value: Any, name: str, what: str) -> str:
    if "<" in name:
        raise ValueError(f"{what} is {name}, must be at the top of its module: other names don't tell what it is")
    return f"{value.__module__}.{name}"


def _not_told(value: Any, what: str) -> ValueError:
    return ValueError(
        f"{what} is {value!r:.80}, must be made of numbers, strings, paths, lists, sets, dicts, arrays, "
        "tensors and functions: only their values can be compared when the run goes on"
    )


def _digest(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over names, types, shapes and bytes."""
    found = hashlib.sha256()
    for name, tensor in tensors.items():
        found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)} ".encode())
        found.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return f"sha256:{found.hexdigest()}"
