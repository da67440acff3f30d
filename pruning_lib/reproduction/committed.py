"""Run the committed notebooks again, in place, and save them so that only what changed differs."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pruning_lib.reproduction.parameters import INJECTED

_OF_A_RUN = ("execution", "papermill", "widgets", "ExecuteTime", "collapsed", "scrolled", "trusted")
WIDGET = "application/vnd.jupyter.widget-view+json"


def refresh(path: Path, say: Callable[[str], None]) -> str:
    """Run the notebook at `path` with its own defaults and save it over itself, cleaned.

    Return an empty string, or the failure in one line; the file is then as it was.
    """
    from pruning_lib.reproduction.execution import execute_cells, write_notebook

    notebook = read_with_ids(path)
    notebook.cells = [cell for cell in notebook.cells if INJECTED not in cell.metadata.get("tags", [])]
    failure, interrupted = execute_cells(notebook, path, say, keep_widgets=False)
    if interrupted:
        raise KeyboardInterrupt
    if not failure:
        write_notebook(path, cleaned(notebook))
    return failure


def read_with_ids(path: Path) -> Any:
    """Return the notebook at `path`, cells without an id given one that is the same every time."""
    import nbformat

    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        taken = {cell.get("id") for cell in raw["cells"]}
        for index, cell in enumerate(raw["cells"]):
            new = f"cell-{index}"
            while "id" not in cell and new in taken:
                new += "-new"
            cell.setdefault("id", new)
        raw["nbformat_minor"] = max(raw["nbformat_minor"], 5)
        nbformat.validate(raw)
    except (ValueError, KeyError, TypeError, nbformat.ValidationError) as error:
        raise ValueError(f"{path} is no notebook: {error}") from None
    return nbformat.reads(json.dumps(raw), as_version=4)


def cleaned(notebook: Any) -> Any:
    """Keep outputs, drop what differs from run to run without a reader seeing it.

    A widget is left out unless a picture goes with it: without its state a reader would see a line of text only, and
    the figure beside it shows more. It is back when its cell is run. Addresses of objects in texts go too.
    """
    for metadata in (notebook.metadata, *(cell.metadata for cell in notebook.cells)):
        for key in _OF_A_RUN:
            metadata.pop(key, None)
    for cell in notebook.cells:
        for output in list(cell.get("outputs", [])):
            data = output.get("data", {})
            if data.pop(WIDGET, None) is not None and set(data) <= {"text/plain"}:
                cell.outputs.remove(output)
            if "text/plain" in data:
                data["text/plain"] = re.sub(r" at 0x[0-9a-f]+", "", data["text/plain"])
    return notebook
