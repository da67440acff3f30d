"""Run the committed notebooks again, in place, and save them so that only what changed differs."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pruning_lib.files import written_whole
from pruning_lib.reproduction.kernel import KERNELSPEC, SameInterpreter, error_of, first_line

LANGUAGE = {  # without Python's version, which differs from one machine to the next
    "codemirror_mode": {"name": "ipython", "version": 3},
    "file_extension": ".py",
    "mimetype": "text/x-python",
    "name": "python",
    "nbconvert_exporter": "python",
    "pygments_lexer": "ipython3",
}
OF_A_RUN = ("execution", "papermill", "widgets", "ExecuteTime", "collapsed", "scrolled", "trusted")
BY_PAPERMILL = ("injected-parameters", "papermill-error-cell-tag")
WIDGET = "application/vnd.jupyter.widget-view+json"


def refresh(path: Path, say: Callable[[str], None]) -> str:
    """Run the notebook at `path` with its own defaults and save it over itself, cleaned.

    Returns
    -------
    str
        Empty, or the failure in one line; the file is then as it was.
    """
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError

    notebook = without_traces(read(path))
    total = len(notebook.cells)
    client = NotebookClient(
        notebook,
        kernel_manager_class=SameInterpreter,
        resources={"metadata": {"path": str(path.parent)}},
        shutdown_kernel="immediate",
        coalesce_streams=True,
        record_timing=False,
        store_widget_state=False,
    )
    client.reset_execution_trackers()
    with client.setup_kernel():
        for index, cell in enumerate(notebook.cells):
            if cell.cell_type != "code":
                continue
            where = f"cell {index + 1} of {total}"
            say(f"{path.stem}: {where}  {first_line(cell.source)}")
            try:
                client.execute_cell(cell, index)
            except CellExecutionError:
                return f"{path.stem} failed in {where} ({first_line(cell.source)}): {error_of(cell)}"
            except Exception as error:  # the kernel died
                return f"{path.stem} failed in {where} ({first_line(cell.source)}): {type(error).__name__}: {error}"
    write(path, cleaned(notebook))
    return ""


def read(path: Path) -> Any:
    """Return the notebook at `path`, cells without an id given one that is the same every time."""
    import nbformat

    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        if raw["nbformat"] != 4:
            raise ValueError(f"nbformat is {raw['nbformat']}, must be 4")
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


def without_traces(notebook: Any) -> Any:
    """Drop what an earlier run left: papermill's cells, outputs, counts."""
    notebook.cells = [cell for cell in notebook.cells if not set(cell.metadata.get("tags", [])) & set(BY_PAPERMILL)]
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    return notebook


def cleaned(notebook: Any) -> Any:
    """Keep outputs, drop what differs from run to run without a reader seeing it.

    A widget is left out unless a picture goes with it: without its state a reader would see a line of text only, and
    the figure beside it shows more. It is back when its cell is run. Addresses of objects in texts go too.
    """
    for metadata in (notebook.metadata, *(cell.metadata for cell in notebook.cells)):
        for key in OF_A_RUN:
            metadata.pop(key, None)
    notebook.metadata |= {"kernelspec": KERNELSPEC, "language_info": LANGUAGE}
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if not only_widget(output)]
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            data.pop(WIDGET, None)
            if "text/plain" in data:
                data["text/plain"] = re.sub(r" at 0x[0-9a-f]+", "", data["text/plain"])
    return notebook


def only_widget(output: Any) -> bool:
    """Whether `output` is a widget and the text that stands for it."""
    data = output.get("data", {})
    return WIDGET in data and set(data) <= {WIDGET, "text/plain"}


def write(path: Path, notebook: Any) -> None:
    """Write `notebook` to `path`, whole or not at all."""
    import nbformat

    with written_whole(path) as temporary:
        nbformat.write(notebook, temporary)
