"""One thread for all tests: the same machine then gives the same bits. What takes long comes first."""

import pytest
import torch

torch.set_num_threads(1)
LONG = ("test_publishing.py", "test_notebooks_in_lab.py", ".ipynb", "test_homework.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the files first that take longest: at the end no worker is left with one while the others have nothing."""
    items.sort(key=lambda item: next((n for n, name in enumerate(LONG) if item.path.name.endswith(name)), len(LONG)))
    for item in items:
        if item.path.suffix == ".ipynb":
            item.output_timeout = 600  # seconds that nbval waits for a message of the kernel; its 5 are a guess
