"""Every committed notebook in JupyterLab and Chromium: every control of every widget moves its drawing.

Of each come the cells that its widgets need, one notebook after the other in one page and one kernel; nbval runs all
cells. With `--record-widgets` the times from key to drawing go to `figures/measured/widgets.json`, and
tests/teaching/widgets/test_measured.py holds that file to the limits.
"""

import re
import shutil
import time

import nbformat
import pytest
from nbformat.v4 import new_code_cell
from widget_keys import check_tab, check_words, move_all, wait_for_rest
from widgets_used import CHECKOUT, NOTEBOOKS, needed_cells, used

from pruning_lib.reproduction import records

RECORD = CHECKOUT / "figures" / "measured" / "widgets.json"
ABOUT = "Key press to redraw of every widget in JupyterLab, headless Chromium: medians in milliseconds."
PRESSES = 20  # of each control where times are recorded; else it goes forth and back
PANEL = "window.jupyterapp.shell.currentWidget.content"
VIEW = "application/vnd.jupyter.widget-view+json"
OUTPUT = ".jp-OutputArea-output:has(input, select, button)"
CELL = f"""async (index) => {{
  await {PANEL}.scrollToItem(index);
  return {PANEL}.widgets[index].node;
}}"""

# Bytes a second that a film of two GPTs writes, of a seed that the page has not written yet.
WRITES = """async (root) => {
  const part = (name) => root.querySelector(`button.${name}, input.${name}`);
  const until = async (done) => {
    while (!done() || !root.querySelector("[aria-busy=false]")) await new Promise(requestAnimationFrame);
  };
  part("start").click();
  Object.assign(part("seed"), { value: 4711 }).dispatchEvent(new Event("input"));
  await until(() => true);
  const start = performance.now();
  part("play").click();
  await until(() => part("written").value === part("written").max);
  return (1000 * part("written").max) / (performance.now() - start);
}"""


@pytest.fixture(scope="module")
def kernel(lab) -> str:
    """One for all notebooks: to start one and to import torch takes longer than most cells."""
    shutil.copytree(CHECKOUT / "figures", lab.folder / "figures", dirs_exist_ok=True)
    (lab.folder / "notebooks").mkdir(exist_ok=True)
    return lab.start_kernel("notebooks")


def run(lab, page, path, kernel) -> list[tuple[int, str]]:
    """Open and run what its widgets need, beside copies of the figures; cells with a widget and its class."""
    notebook = nbformat.read(path, as_version=4)
    notebook.cells = [new_code_cell("%reset -f"), *(notebook.cells[index] for index in needed_cells(notebook))]
    for cell in notebook.cells:
        cell.execution_count, cell.outputs = None, []
    nbformat.write(notebook, lab.folder / "notebooks" / path.name)
    lab.attach(f"notebooks/{path.name}", kernel)
    lab.open(page, f"notebooks/{path.name}")
    widgets = []
    for index, cell in enumerate(page.evaluate(f"{PANEL}.model.toJSON()")["cells"]):
        source = "".join(cell["source"])
        assert cell["execution_count"], f"did not run:\n{source}"
        for output in cell["outputs"]:
            assert output["output_type"] != "error", f"{source}\n{output['ename']}: {output['evalue']}"
            if VIEW in output.get("data", {}):
                shown = re.match(r"<pruning_lib[\w.]*\.(\w+) object", "".join(output["data"]["text/plain"]))
                widgets += [(index, shown[1])] if shown else []  # else a progress bar
    return widgets


def keep(run: dict) -> None:
    """Put a notebook's measurements into the record, in place of those there."""
    settings = {"presses": PRESSES}
    with records.locked(RECORD):
        others = [old for old in records.runs_in(RECORD, settings) if old["notebook"] != run["notebook"]]
        records.write_runs(RECORD, ABOUT, settings, sorted([*others, run], key=lambda one: one["notebook"]))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook(lab, page, page_errors, path, kernel, request):
    recorded = request.config.getoption("--record-widgets", default=False)
    start = time.monotonic()
    measured, written = [], {}
    widgets = run(lab, page, path, kernel)
    assert {name for _, name in widgets} == used(path)
    for index, name in widgets:
        root = page.evaluate_handle(CELL, index).as_element().wait_for_selector(OUTPUT)
        wait_for_rest(page, root)
        check_words(root)
        check_tab(page, root)
        measured += [{"widget": name} | one for one in move_all(page, root, PRESSES if recorded else 0, recorded)]
        if recorded and name == "GPTWriter":
            written = {"bytes_per_second": round(root.evaluate(WRITES), 1)}
    assert page_errors == []
    if recorded:
        chromium, seconds = page.context.browser.version, time.monotonic() - start
        keep({"notebook": path.stem, "chromium": chromium, "seconds": seconds, "widgets": measured} | written)
