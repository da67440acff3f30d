"""The rounds of `retraining.run` in a folder, so that a run that was killed goes on where it was."""

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, get_origin

from torch import Tensor

from pruning_lib.files import make_writable
from pruning_lib.resuming import save_state, saved_state
from pruning_lib.structure import Masks

_FILE = "rounds.safetensors"


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


def save_rounds(
    folder: str | os.PathLike,
    arguments: Mapping[str, Any],
    history: list[Round],
    state: Mapping[str, Tensor],
    masks: Masks,
) -> None:
    """Write the history so far, and the model's state and the masks after the last round, in the place of the former.

    Parameters
    ----------
    arguments : by name what `resuming.identity` returns for all that the run depends on, its "sparsities" among it
    """
    tensors = {f"state/{name}": tensor for name, tensor in state.items()}
    tensors |= {f"mask/{name}": mask for name, mask in masks.items()}
    save_state(Path(folder) / _FILE, arguments, tensors, [asdict(record) for record in history])
    for left in Path(folder).glob(f".{_FILE}.*"):  # by a process that was killed as it wrote
        left.unlink()


def load_rounds(
    folder: str | os.PathLike, arguments: Mapping[str, Any]
) -> tuple[list[Round], dict[str, Tensor], Masks | None]:
    """What `save_rounds` wrote: nothing of everything before the first round is finished.

    Raises
    ------
    ValueError
        If the folder can't be used, or holds a run with other arguments, naming them, or no whole file of rounds.
    """
    path = Path(folder) / _FILE
    make_writable(path.parent, "folder")  # now, since an error after the first round would cost that round
    found = saved_state(path, arguments)
    if found is None:
        return [], {}, None
    tensors, progress = found
    try:
        history = [Round(**record) for record in progress]
    except TypeError as error:
        raise ValueError(f"{path} holds no history of rounds: {error}") from error
    asked = list(enumerate(arguments["sparsities"], 1))[: len(history)]
    if not history or [(one.number, one.asked) for one in history] != asked or not all(map(_of_its_types, history)):
        raise ValueError(f"{path} holds no history of rounds: they must be the first of {asked}")
    state, masks = (
        {name.removeprefix(kind): tensor for name, tensor in tensors.items() if name.startswith(kind)}
        for kind in ("state/", "mask/")
    )
    return history, state, Masks(masks)


def _of_its_types(record: Round) -> bool:
    return all(isinstance(getattr(record, field.name), get_origin(field.type) or field.type) for field in fields(Round))
