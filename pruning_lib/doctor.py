"""The environment self-check that a bug report quotes: versions, device, data, and what is missing."""

import importlib
import os
import platform
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

import pruning_lib
from pruning_lib.files import CHECKOUT, chromium_path
from pruning_lib.reproduction.state import version

_COMPILED = ("torch", "torchvision")  # a pair that doesn't match is installed and yet fails to import
_CUDA = ("triton", "cuda-", "nvidia-")  # what the names of packages that only torch's CUDA builds need begin with


def examine(data: Path) -> tuple[str, bool]:
    """Return what the environment has, ending in ``ready`` or ``N things missing``, and whether pruning_lib is usable.

    Data sets and the language model, which are looked for in the folder `data`, chromium and a GPU are told, not
    counted: everything but their own part works without them.
    """
    lines = [f"pruning_lib {pruning_lib.__version__}, python {platform.python_version()}, {platform.platform()}"]
    missing, required = [], required_packages()
    for name in required + required_packages("notebooks"):
        found = version(name)
        trouble = import_error(name) if found and name in _COMPILED else ""
        lines.append(f"{name} {found or 'not installed'}" + (f" does not import: {trouble}" if trouble else ""))
        if not found or trouble:
            missing.append(name)
    lines += [pins(CHECKOUT / "requirements.txt"), _device(), *data_sets(data)]
    lines.append(f"chromium {chromium_path() or 'not found (needed only for the browser tests)'}")
    if missing:
        lines.append("to install: python -m pip install -r requirements.txt, in the folder of the checkout")
        lines.append(f"{len(missing)} thing{'s' * (len(missing) > 1)} missing: {', '.join(missing)}")
    else:
        lines.append("ready")
    return "\n".join(lines), not set(missing) & set(required)


def required_packages(extra: str = "") -> list[str]:
    """Return the packages that pruning_lib's own metadata names: without `extra` those it can't do without."""
    try:
        requirements = [Requirement(line) for line in metadata.requires("pruning-lib") or []]
    except metadata.PackageNotFoundError:  # run from its folder: nobody has said yet what belongs to it
        return [] if extra else ["pruning-lib"]
    always, more = (
        [one.name for one in requirements if not one.marker or one.marker.evaluate({"extra": wanted})]
        for wanted in ("", extra)
    )
    return [name for name in more if name not in always] if extra else always


def import_error(name: str) -> str:
    """Return why `name` can't be imported, in one line, empty if it can."""
    try:
        importlib.import_module(name)
    except Exception as error:  # a broken binary raises OSError or RuntimeError as well as ImportError
        return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
    return ""


def pins(path: Path) -> str:
    """Return which installed packages differ from the versions pinned in `path`."""
    if not path.exists():
        return "requirements.txt is not beside the package: versions not compared"
    stripped = (line.split("#")[0].strip() for line in path.read_text(encoding="utf-8").splitlines())
    pinned = [Requirement(line) for line in stripped if line and not line.startswith("-")]
    here = [one for one in pinned if not one.marker or one.marker.evaluate()]
    if (version("torch") or "").endswith("+cpu"):
        here = [one for one in here if not one.name.startswith(_CUDA)]
    differing = []
    for one in here:
        found = version(one.name)
        if found is None or not one.specifier.contains(found, prereleases=True):
            differing.append(f"{one.name} {found or 'not installed'} (pinned {one.specifier})")
    if differing:
        return f"{len(differing)} of {len(here)} packages differ from requirements.txt: {', '.join(differing)}"
    return f"all {len(here)} packages as pinned in requirements.txt"


def _device() -> str:
    """Return CPU threads and the GPU, if torch finds one."""
    try:
        import torch
    except Exception:  # already told where the versions are
        return f"device: {os.cpu_count()} CPU cores, CUDA unknown without torch"
    cuda = "none"
    if torch.cuda.is_available():
        major, minor = torch.cuda.get_device_capability()
        cuda = f"{torch.cuda.get_device_name()}, capability {major}.{minor}"
    return f"device: {os.cpu_count()} CPU cores, {torch.get_num_threads()} threads, CUDA {cuda}"


def data_sets(root: Path) -> list[str]:
    """Return a line per data set, and one for the language model: where it is, or the command that fetches it."""
    try:
        from pruning_lib.workbench import data, gguf
    except Exception as error:  # torch is missing or broken
        return [f"data: not looked for, {type(error).__name__}: {error}"]
    lines = []
    for name in data.NAMES:
        try:
            found = data.find(name, root)
        except ImportError as error:
            lines.append(f"data {name}: not found, {error}")
            continue
        lines.append(f"data {name}: {found or f'not in {root}; to get it: {data.how_to_get(name, root)}'}")
    lines.append(f"model {gguf.SMOLLM2}: {gguf.where_smollm2(root)}")
    return lines
