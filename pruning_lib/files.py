"""Files are written whole or not at all; where the checkout and the browser are."""

import os
import secrets
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]  # the folder that holds pruning_lib, notebooks and figures
# The first that is there: the shell has no window to draw beside the page, and takes half of the time for it.
_CHROMIUM = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")


def chromium_path() -> str | None:
    """Path of the Chromium, or Chrome, that draws stills and runs the browser tests; None where there is none."""
    return next(filter(None, map(shutil.which, _CHROMIUM)), None)


def make_writable(folder: Path, name: str = "out") -> Path:
    """Make `folder` where it is missing and see that files can be written there; if not, ValueError that names it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError as error:
        raise ValueError(f"{name} is {str(folder)!r}, must be a writable folder: {error.strerror}") from None


@contextmanager
def written_whole(path: str | os.PathLike) -> Iterator[Path]:
    """Give a temporary path beside `path`; on success it replaces `path`, on any error it vanishes and `path` stays.

    >>> with written_whole("results.json") as temporary:
    ...     temporary.write_text("{}")
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}{path.suffix}")
    # The system takes the umask off 0o666: a result is as readable as any other new file, which mkstemp's are not.
    os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    mode = stat.S_IMODE(temporary.stat().st_mode)
    try:
        yield temporary
        temporary.chmod(mode)  # safetensors puts a private file in its place
        os.replace(temporary, path)
    finally:
        with suppress(FileNotFoundError):
            temporary.unlink()
