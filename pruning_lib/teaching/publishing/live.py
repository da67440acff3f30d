"""Widgets that go on living without a kernel: their saved state, their JavaScript and a model between the two."""

import copy
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # every notebook imports this module, and nbformat takes seconds
    from nbformat import NotebookNode

_HERE = Path(__file__).parent
_VIEW = "application/vnd.jupyter.widget-view+json"
_STATE = "application/vnd.jupyter.widget-state+json"
STARTER = (_HERE / "live.js").read_text(encoding="utf-8")
_ASKS_PYTHON = re.compile(r"\bmodel\.send\(|\binvoke\(")
_PYTHONS = ("layout", "tabbable", "tooltip")  # traits of every ipywidget that no script of ours reads
_NEEDS_KERNEL = (
    "<p><em>Here runs a control that needs Python; open the notebook to use it. A still figure follows.</em></p>"
)


def live(notebook: "NotebookNode", complete: bool = False) -> "NotebookNode":
    """Return a copy of an executed notebook whose widgets work in any browser, with no kernel and no network.

    Each view of an anywidget becomes a ``text/html`` output that holds its JavaScript, its styles and its state; views
    of the same widget follow each other. A widget that computes in Python, and any control that is not an anywidget,
    becomes a line that says so. A finished progress bar goes. The state in the notebook's metadata goes, too. Where the
    page shows the `complete` notebook, widgets with the same script carry it once, the first of them.

    Raises
    ------
    ValueError
        If the notebook shows a widget whose state it does not hold: it was not executed, or not to the end.
    """
    notebook = copy.deepcopy(notebook)
    models = notebook.metadata.pop("widgets", {}).get(_STATE, {}).get("state", {})
    first: dict[str, str] = {}  # the widget that carries a script
    for number, cell in enumerate(notebook.cells, 1):
        if cell.cell_type == "code":
            cell.outputs = [
                shown
                for output in cell.outputs
                if (shown := _without_kernel(output, models, f"cell {number}", first if complete else {}))
            ]
    return notebook


def _without_kernel(
    output: "NotebookNode", models: dict[str, Any], where: str, first: dict[str, str]
) -> "NotebookNode | None":
    """The output as a page can show it; None if nothing is left of it."""
    from nbformat.v4 import new_output

    if _VIEW not in output.get("data", {}):
        return output
    name = output.data[_VIEW]["model_id"]
    if name not in models:
        raise ValueError(f"{where} shows a widget without its state, must be executed: python -m pruning_lib run")
    model = models[name]
    if _is_progress(model, models):
        return None
    module = model["state"].get("_esm", "")
    runs = module and not _ASKS_PYTHON.search(module)
    if not runs:
        return new_output("display_data", {"text/html": _NEEDS_KERNEL})
    page = f'{place(name, model, first.setdefault(module, name))}\n<script type="module">{STARTER}</script>'
    return new_output("display_data", {"text/html": page})


def _is_progress(model: dict[str, Any], models: dict[str, Any]) -> bool:
    """Whether this is a bar, or a box with one (tqdm's has texts around it)."""
    children = [models[child.removeprefix("IPY_MODEL_")] for child in model["state"].get("children", [])]
    return model["model_name"].endswith("ProgressModel") or any(_is_progress(child, models) for child in children)


def place(name: str, model: dict[str, Any], carrier: str | None = None) -> str:
    """HTML of one view with all it needs but the script that starts it; its own is in an earlier view of `carrier`."""
    state, own = model["state"], carrier in (None, name)
    saved = {
        "id": name,
        **({"module": state["_esm"]} if own else {"carrier": carrier}),
        "style": state.get("_css", ""),
        "state": {key: value for key, value in state.items() if not (key.startswith("_") or key in _PYTHONS)},
        "buffers": [{"path": buffer["path"], "data": buffer["data"]} for buffer in model.get("buffers", [])],
    }
    text = json.dumps(saved, allow_nan=False).replace("<", "\\u003c")  # else a "</script>" in it would end it
    data = f'<script type="application/json">{text}</script>'
    return f'<div class="live-widget"><p>This widget needs JavaScript.</p>\n{data}</div>'
