"""Files of a trained GPT: safetensors with a JSON description, and the SHA-256 beside it."""

import hashlib
import os
from pathlib import Path

from pruning_lib.files import written_whole
from pruning_lib.tensors import read_tensors, write_tensors
from pruning_lib.workbench.gpt import GPT, Config

CHECKPOINT = Path(__file__).parent / "checkpoints" / "byte_gpt.safetensors"


def load_checkpoint(path: str | os.PathLike = CHECKPOINT) -> tuple[GPT, dict]:
    """Read a checkpoint: (model, about), the model in float32 and evaluation mode.

    Left out, `path` is the GPT that ships with the package; `about` says by which command it was trained on what.

    Raises
    ------
    ValueError
        If the file is not there, its SHA-256 is not the one recorded beside it (FILE.sha256), or it holds no GPT.
    """
    path = Path(path)
    recorded = path.with_suffix(".sha256")
    for file in (path, recorded):
        if not file.is_file():
            raise ValueError(f"{file} is not there, must be a file: a checkpoint is FILE.safetensors and FILE.sha256")
    expected = recorded.read_text(encoding="utf-8")[:64]
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != expected:
        raise ValueError(f"{path} has SHA-256 {found}, must be {expected} as {recorded.name} says: get it anew")
    tensors, about = read_tensors(path)
    try:
        model = GPT(Config(**about["config"]))
        model.load_state_dict({name: tensor.float() for name, tensor in tensors.items()})
    except (KeyError, TypeError, RuntimeError) as error:  # no, or an unknown, configuration; other weights
        raise ValueError(f"{path} is no checkpoint of a GPT: {error}") from error
    return model.eval(), about


def save_checkpoint(path: str | os.PathLike, model: GPT, about: dict) -> None:
    """Write `model` in float16, with its configuration and `about`, and its SHA-256 beside it."""
    path = Path(path)
    weights = {name: tensor.detach().half() for name, tensor in model.state_dict().items()}
    write_tensors(path, weights, {"config": vars(model.config)} | about)
    with written_whole(path.with_suffix(".sha256")) as temporary:
        temporary.write_text(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n", encoding="utf-8")
