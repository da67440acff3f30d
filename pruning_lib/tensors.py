"""Files of named tensors: safetensors, in whose header stands what they are about. Nothing is unpickled."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import load, save_file
from torch import Tensor

from pruning_lib.files import written_whole


def write_tensors(path: str | os.PathLike, tensors: Mapping[str, Tensor], about: Any = None) -> None:
    """Write `tensors`, and `about` as JSON, to `path`, whole or not at all."""
    # Clones, since the format refuses tensors that share memory.
    tensors = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in tensors.items()}
    with written_whole(path) as temporary:
        save_file(tensors, temporary, None if about is None else {"about": json.dumps(about)})


def read_tensors(path: str | os.PathLike) -> tuple[dict[str, Tensor], Any]:
    """The tensors and the `about` of a file that `write_tensors` wrote; ValueError if it is truncated or another."""
    try:
        with safe_open(path, "pt") as file:
            about = json.loads((file.metadata() or {}).get("about", "null"))
        # Read, not mapped into memory: the file may be replaced while the tensors are in use.
        return load(Path(path).read_bytes()), about
    except (SafetensorError, ValueError) as error:
        raise ValueError(f"{path} is not a whole file of tensors: {error}") from error
