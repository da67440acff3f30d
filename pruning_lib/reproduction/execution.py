"""The cells of a notebook executed one by one, by this interpreter and with this package, whatever is installed."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import nbformat
import zmq
from ipykernel.kernelspec import get_kernel_dict
from jupyter_client import AsyncKernelManager
from jupyter_client.kernelspec import KernelSpec

from pruning_lib.files import CHECKOUT, written_whole
from pruning_lib.reproduction.parameters import INJECTED

KERNELSPEC = {"name": "python3", "display_name": "Python 3", "language": "python"}
LANGUAGE = {  # without Python's version, which differs from one machine to the next
    "codemirror_mode": {"name": "ipython", "version": 3},
    "file_extension": ".py",
    "mimetype": "text/x-python",
    "name": "python",
    "nbconvert_exporter": "python",
    "pygments_lexer": "ipython3",
}


class SameInterpreter(AsyncKernelManager):
    """Starts the running Python, where an installed `python3` kernel may be another's."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        if self.has_trait("transport_encryption") and zmq.has("curve"):  # jupyter_client 8.10 warns without it
            self.transport_encryption = "auto"

    @property
    def kernel_spec(self) -> KernelSpec:
        return KernelSpec(**get_kernel_dict())


def execute_cells(
    notebook: Any,
    source: Path,
    say: Callable[[str], None] | None = None,
    environment: Mapping[str, str] | None = None,
    save: Callable[[], None] | None = None,
    keep_widgets: bool = True,
) -> tuple[str, bool]:
    """Execute `notebook`, which was read from `source`, in that folder; outputs and an error are in it afterwards.

    `say` gets a line per code cell, numbered as in `source`; without it a progress bar is drawn. The kernel has the
    variables of `environment` beside those of this process. `save` is called after each code cell, which then has its
    outputs. With `keep_widgets` their state is kept in the notebook.
    Return the failure in one line, empty if there was none, and whether it was an interrupt.
    """
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError
    from tqdm import tqdm

    notebook.metadata |= {"kernelspec": KERNELSPEC, "language_info": LANGUAGE}
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    client = NotebookClient(
        notebook,
        kernel_manager_class=SameInterpreter,
        resources={"metadata": {"path": str(source.parent)}},
        shutdown_kernel="immediate",  # asked politely in the middle of a cell, it writes tracebacks to the terminal
        coalesce_streams=True,
        record_timing=False,
        startup_timeout=600,  # a busy machine is no failure, and its late outputs are not to be lost
        iopub_timeout=600,
        store_widget_state=keep_widgets,
    )
    client.reset_execution_trackers()
    path = os.pathsep.join(filter(None, [str(CHECKOUT), os.environ.get("PYTHONPATH")]))
    injected = [INJECTED in cell.metadata.get("tags", []) for cell in notebook.cells]
    at, started = "", None
    try:
        with client.setup_kernel(env=os.environ | (environment or {}) | {"PYTHONPATH": path}):
            for index, cell in enumerate(tqdm(notebook.cells, desc=source.stem, leave=False, disable=bool(say))):
                if cell.cell_type != "code":
                    continue
                first_line = cell.source.strip().split("\n")[0].strip()
                number = index + 1 - sum(injected[: index + 1])  # an injected cell counts as the parameters cell
                at, started = f"cell {number} of {len(notebook.cells) - sum(injected)}", cell
                if say and first_line and not injected[index]:
                    say(f"{source.stem}: {at}  {first_line}")
                client.execute_cell(cell, index)
                if save:
                    save()
            if keep_widgets:
                client.set_widgets_metadata()
    except (Exception, KeyboardInterrupt) as error:  # of a cell; a kernel that died; an interrupt
        name, text = type(error).__name__, str(error)
        interrupted = isinstance(error, KeyboardInterrupt)
        if started is None:
            return f"{source.stem} did not start: {' '.join(f'{name}: {text}'.split())}", interrupted
        if isinstance(error, CellExecutionError):
            name, text = error.ename, error.evalue
        else:
            output = nbformat.v4.new_output("error", ename=name, evalue=text, traceback=[f"{name}: {text}"])
            started.outputs.append(output)
        message = ": ".join(filter(None, [name, text.strip().split("\n")[0]]))
        verb = "was interrupted" if interrupted else "failed"
        return f"{source.stem} {verb} in {at} ({first_line}): {message}", interrupted
    return "", False


def write_notebook(path: Path, notebook: Any) -> None:
    """Write `notebook` to `path`, whole or not at all."""
    with written_whole(path) as temporary:
        nbformat.write(notebook, temporary)
