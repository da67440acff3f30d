"""The rounds of `retraining.run` in a folder, so that a run that was killed goes on where it was."""

import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from functools import partial
from pathlib import Path, PurePath
from typing import Any, get_origin

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save_file
from torch import Tensor

from pruning_lib.files import written_whole
from pruning_lib.structure import Masks

HISTORY = "history.json"
# The weights of a round, and what `written_whole` leaves of them when the process is killed.
WEIGHTS = re.compile(r"round_\d+\.safetensors|\.round_\d+\.safetensors\.[a-z0-9_]{8}\.safetensors")


@dataclass(frozen=True)
class Round:
    """What one round did; `pruned` and `retrained` are what `measure` said before and after its training."""

    number: int
    asked: float
    sparsity: float
    per_layer: dict[str, float]
    pruned: dict[str, float]
    retrained: dict[str, float]
    seconds: float


class SavedRounds:
    """history.json (the arguments, one record per finished round) and the weights and masks after the last of them.

    The weights are written first, then the history that counts them, then the weights of the round before are deleted:
    whenever the process dies, the history names a file that is there and whole.

    Parameters
    ----------
    arguments : by name what `described` returns for all that the run depends on, "sparsities" of the rounds among it

    Raises
    ------
    ValueError
        If the folder holds a run with other arguments, naming them, or no readable history, or is none.
    """

    def __init__(self, folder: str | os.PathLike, arguments: dict[str, Any]):
        self.folder, self.arguments, self.records = Path(folder), arguments, []
        if self.folder.exists() and not self.folder.is_dir():
            raise ValueError(f"folder is {self.folder}, a file, must be a folder or not there yet")
        if (self.folder / HISTORY).exists():
            self.read()
        if not self.records:
            self.write()  # now, since an error after the first round would cost that round

    def read(self) -> None:
        """Take up the rounds that history.json tells of; its arguments count for nothing as long as there is none."""
        try:
            record = json.loads((self.folder / HISTORY).read_text(encoding="utf-8"))
            found, self.records = dict(record["arguments"]), [Round(**one) for one in record["rounds"]]
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{self.folder / HISTORY} holds no history of rounds: {error!r}") from error
        if not self.records:
            return
        arguments = self.arguments
        differ = [name for name in sorted(found.keys() | arguments.keys()) if found.get(name) != arguments.get(name)]
        if differ:
            told = "; ".join(f"{name} is {short(arguments.get(name))}, was {short(found.get(name))}" for name in differ)
            raise ValueError(f"folder {self.folder} holds a run with other arguments ({told}): give another folder")
        asked = list(enumerate(arguments["sparsities"], 1))[: len(self.records)]
        if [(one.number, one.asked) for one in self.records] != asked or not all(map(of_its_types, self.records)):
            raise ValueError(f"{self.folder / HISTORY} holds no history of rounds: they must be the first of {asked}")

    def load(self) -> tuple[dict[str, Tensor], Masks]:
        """The model's state and the masks after the last finished round."""
        path = self.path()
        try:
            # Read, not mapped into memory: the file may be replaced while the weights are in use.
            tensors = load(path.read_bytes())
        except (OSError, SafetensorError) as error:
            raise ValueError(f"{path} does not hold the weights after round {len(self.records)}: {error}") from error
        return (
            {name.removeprefix("state/"): tensor for name, tensor in tensors.items() if name.startswith("state/")},
            Masks({name.removeprefix("mask/"): t for name, t in tensors.items() if name.startswith("mask/")}),
        )

    def add(self, record: Round, state: Mapping[str, Tensor], masks: Masks) -> None:
        """Write one more finished round."""
        self.records = [*self.records, record]
        tensors = {f"state/{name}": tensor for name, tensor in state.items()}
        tensors |= {f"mask/{name}": mask for name, mask in masks.items()}
        with written_whole(self.path()) as temporary:
            # Clones, since the format refuses tensors that share memory.
            save_file({name: tensor.detach().cpu().clone().contiguous() for name, tensor in tensors.items()}, temporary)
        self.write()
        for old in self.folder.iterdir():
            if WEIGHTS.fullmatch(old.name) and old != self.path():
                old.unlink()

    def write(self) -> None:
        rounds = [asdict(record) for record in self.records]
        text = json.dumps({"arguments": self.arguments, "rounds": rounds}, indent=1, ensure_ascii=False)
        with written_whole(self.folder / HISTORY) as temporary:
            temporary.write_text(text + "\n", encoding="utf-8")

    def path(self) -> Path:
        return self.folder / f"round_{len(self.records)}.safetensors"


def of_its_types(record: Round) -> bool:
    return all(isinstance(getattr(record, field.name), get_origin(field.type) or field.type) for field in fields(Round))


def described(value: Any, what: str) -> Any:
    """`value` as JSON that is the same in every process: tensors and arrays by a hash, what can be called by name.

    Raises ValueError, naming `what` it is, for data of which a name would not tell the value.
    """
    if isinstance(value, Tensor):
        return digest({"": value})
    if isinstance(value, partial):
        parts = {"func": value.func, "args": value.args, "keywords": value.keywords}
        return [described(part, f"{what}.{name}") for name, part in parts.items()]
    if isinstance(value, np.ndarray) and not value.dtype.hasobject:
        return f"sha256:{hashlib.sha256(f'{value.dtype} {value.shape} '.encode() + value.tobytes()).hexdigest()}"
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, Mapping):
        if value and all(isinstance(item, Tensor) for item in value.values()):
            return digest(value)
        return {str(key): described(item, f"{what}[{key!r}]") for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        items = [described(item, f"{what}[{place}]") for place, item in enumerate(value)]
        return sorted(items, key=json.dumps) if isinstance(value, set | frozenset) else items
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, PurePath | torch.dtype | torch.device):
        return str(value)
    if not callable(value):
        raise ValueError(
            f"{what} is {value!r:.80}, must be made of numbers, strings, paths, lists, sets, dicts, arrays, "
            "tensors and functions: only their values can be compared when the run goes on"
        )
    named = value if hasattr(value, "__qualname__") else type(value)
    return f"{named.__module__}.{named.__qualname__}"


def digest(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over names, types, shapes and bytes."""
    found = hashlib.sha256()
    for name, tensor in tensors.items():
        found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)} ".encode())
        found.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return f"sha256:{found.hexdigest()}"


def short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else f"{text[:79]}…"
