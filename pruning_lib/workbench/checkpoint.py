"""Files of a trained GPT: safetensors with a JSON description, and the SHA-256 beside it."""

import hashlib
import json
import os
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from pruning_lib.files import written_whole
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
    raw = path.read_bytes()
    expected, found = recorded.read_text(encoding="utf-8")[:64], hashlib.sha256(raw).hexdigest()
    if found != expected:
        raise ValueError(f"{path} has SHA-256 {found}, must be {expected} as {recorded.name} says: get it anew")
    tensors, about = parse(raw, path)
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
    write(path, weights, {"config": vars(model.config)} | about)
    with written_whole(path.with_suffix(".sha256")) as temporary:
        temporary.write_text(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n", encoding="utf-8")


def write(path: Path, tensors: dict[str, Tensor], about: dict) -> None:
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with written_whole(path) as temporary:
        temporary.write_bytes(save(tensors, {"about": json.dumps(about)}))


def parse(raw: bytes, path: str | os.PathLike) -> tuple[dict[str, Tensor], dict]:
    """Tensors and the dict "about" of a safetensors file's bytes: 8 bytes length of a JSON header, header, tensors."""
    try:
        tensors = load(raw)
        header = json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])
        return tensors, json.loads(header["__metadata__"]["about"])
    except (SafetensorError, ValueError, KeyError) as error:
        raise ValueError(f"{path} is not a whole file of this module: {error}") from error
