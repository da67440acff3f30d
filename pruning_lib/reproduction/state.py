"""What the numbers of a run depend on beside its parameters, so that a sweep does not mix two of them unnoticed."""

import hashlib
import json
import platform
from importlib import metadata
from pathlib import Path

from pruning_lib.files import CHECKOUT

_SHOWS = ("teaching", "reproduction")  # folders of the library that run and show, and compute no number
_SUFFIXES = (".py", ".js", ".css", ".json", ".yaml", ".safetensors", ".sha256")  # not what editors and systems leave


def state_of(notebook: Path, threads: int) -> dict[str, str]:
    """Return what -> its value: digests of the notebook's code and of the library, versions, threads per run."""
    package = CHECKOUT / "pruning_lib"
    library = hashlib.sha256()
    for path in sorted(package.rglob("*")):
        if path.is_file() and _counts(path.relative_to(package)):
            library.update(f"{path.relative_to(package).as_posix()}\0".encode() + path.read_bytes() + b"\0")
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]  # texts and outputs may change
    return {
        f"notebook {notebook.stem}": hashlib.sha256(json.dumps(code).encode()).hexdigest(),
        "pruning_lib": library.hexdigest(),
        "Python": platform.python_version(),
        **{name: version(name) or "" for name in ("torch", "torchvision", "numpy", "scikit-learn")},
        "threads": str(threads),
    }


def _counts(path: Path) -> bool:
    """Whether numbers may depend on the file at `path`, relative to the library."""
    hidden = any(part.startswith(".") for part in path.parts)
    return path.suffix in _SUFFIXES and not hidden and path.parts[0] not in _SHOWS


def version(package: str) -> str | None:
    """Return the installed version of `package`, without importing it; None if there is none."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def differences(old: dict[str, str], new: dict[str, str]) -> str:
    """Return in words what differs between two states, empty if nothing does."""
    found = []
    for name in sorted(old.keys() | new.keys()):
        before, now = old.get(name) or "absent", new.get(name) or "absent"
        if before != now:
            digest = name == "pruning_lib" or name.startswith("notebook ")
            found.append(f"{name} has changed" if digest else f"{name} was {before}, is {now}")
    return ", ".join(found)
