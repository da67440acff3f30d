"""One thread for all tests: the same machine then gives the same bits. What takes long comes first."""

import pytest
import torch
from xdist.scheduler import LoadFileScheduling

torch.set_num_threads(1)
LONG = ("test_publishing.py", "test_notebooks_in_lab.py", ".ipynb", "test_homework.py")
# What several files need and each process makes once: the files' tests that need it run in one.
SHARED = {
    "JupyterLab": ("test_notebooks_in_lab.py", "_in_jupyterlab"),
    "widgets of the stills": ("test_stills.py", "test_capture.py", "test_try_it.py"),
}


class Together(LoadFileScheduling):
    """The tests of a file run in one process, and so do those that share what takes long to make."""

    def _split_scope(self, nodeid: str) -> str:
        found = (made for made, parts in SHARED.items() if any(part in nodeid for part in parts))
        return next(found, super()._split_scope(nodeid))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log) -> Together | None:
    return Together(config, log) if config.getvalue("dist") == "loadfile" else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the files first that take longest: at the end no worker is left with one while the others have nothing."""
    items.sort(key=lambda item: next((n for n, name in enumerate(LONG) if item.path.name.endswith(name)), len(LONG)))
    for item in items:
        if item.path.suffix == ".ipynb":
            item.output_timeout = 600  # seconds that nbval waits for a message of the kernel; its 5 are a guess
