"""The rounds of `retraining.run` in a folder, so that a run that was killed goes on where it was."""

import hashlib
import json
import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save_file
from torch import Tensor

from pruning_lib.files import written_whole
from pruning_lib.structure import Masks

HISTORY = "history.json"


class SavedRounds:
    """history.json (the arguments, one record per finished round) and the weights and masks after the last of them.

    The weights are written first, then the history that counts them, then the weights of the round before are deleted:
    whenever the process dies, the history names a file that is there and whole.

    Parameters
    ----------
    arguments : what `described` returns for all that the run depends on

    Raises
    ------
    ValueError
        If the folder holds a run with other arguments, naming them, or no readable history.
    """

    def __init__(self, folder: str | os.PathLike, arguments: dict[str, Any]):
        self.folder, self.arguments, self.records = Path(folder), arguments, []
        if not (self.folder / HISTORY).exists():
            self.write()  # now, since an error after the first round would cost that round
            return
        try:
            record = json.loads((self.folder / HISTORY).read_text(encoding="utf-8"))
            found, self.records = dict(record["arguments"]), list(record["rounds"])
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{self.folder / HISTORY} holds no history of rounds: {error!r}") from error
        differ = [name for name in sorted(found.keys() | arguments.keys()) if found.get(name) != arguments.get(name)]
        if differ:
            told = "; ".join(f"{name} is {short(arguments.get(name))}, was {short(found.get(name))}" for name in differ)
            raise ValueError(f"folder {self.folder} holds a run with other arguments ({told}): give another folder")

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

    def add(self, record: dict[str, Any], state: Mapping[str, Tensor], masks: Masks) -> None:
        """Write one more finished round."""
        self.records = [*self.records, record]
        tensors = {f"state/{name}": tensor for name, tensor in state.items()}
        tensors |= {f"mask/{name}": mask for name, mask in masks.items()}
        with written_whole(self.path()) as temporary:
            # Clones, since the format refuses tensors that share memory.
            save_file({name: tensor.detach().cpu().clone().contiguous() for name, tensor in tensors.items()}, temporary)
        self.write()
        for old in self.folder.glob("*round_*.safetensors"):  # with what a killed process left half written
            if old != self.path():
                old.unlink()

    def write(self) -> None:
        text = json.dumps({"arguments": self.arguments, "rounds": self.records}, indent=1, ensure_ascii=False)
        with written_whole(self.folder / HISTORY) as temporary:
            temporary.write_text(text + "\n", encoding="utf-8")

    def path(self) -> Path:
        return self.folder / f"round_{len(self.records)}.safetensors"


def described(value: Any) -> Any:
    """`value` as JSON that is the same in every process: tensors by a hash, functions and other objects by name."""
    if isinstance(value, Tensor):
        return digest({"": value})
    if isinstance(value, partial):
        return [described(value.func), described(value.args), described(value.keywords)]
    if isinstance(value, Mapping):
        if value and all(isinstance(item, Tensor) for item in value.values()):
            return digest(value)
        return {str(key): described(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [described(item) for item in value]
    if value is None or isinstance(value, str | int | float):
        return value
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
