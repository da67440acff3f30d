"""Every committed notebook in JupyterLab and Chromium: all cells run, every control of every widget moves its drawing.

Times are measured and printed, not judged, since machines are busy. With `--record-widgets` they go to
`figures/measured/widgets.json`, and tests/teaching/widgets/test_measured.py holds that file to the limits.
"""

import re
import shutil
import time

import pytest
from widget_keys import check_tab, check_words, move_all
from widgets_used import CHECKOUT, NOTEBOOKS, used

from pruning_lib.reproduction import records

RECORD = CHECKOUT / "figures" / "measured" / "widgets.json"
ABOUT = "Key press to redraw of every widget in JupyterLab, headless Chromium: medians in milliseconds."
PRESSES = 20
PANEL = "window.jupyterapp.shell.currentWidget.content"
VIEW = "application/vnd.jupyter.widget-view+json"
# What anywidget says of a widget that took more than two seconds to load; it comes all the same, and is moved below.
BUSY = "[anywidget] Failed to initialize model."
OUTPUT = ".jp-OutputArea-output:has(input, select, button)"
CELL = f"""async (index) => {{
  await {PANEL}.scrollToItem(index);
  return {PANEL}.widgets[index].node;
}}"""


@pytest.fixture
def keep_record(request):
    """A function that adds a notebook's measurements to the record, or does nothing without `--record-widgets`."""
    if not request.config.getoption("--record-widgets", default=False):
        return lambda run: None
    settings = {"presses": PRESSES}

    def keep(run: dict) -> None:
        with records.locked(RECORD):
            others = [old for old in records.runs_in(RECORD, settings) if old["notebook"] != run["notebook"]]
            records.write_runs(RECORD, ABOUT, settings, sorted([*others, run], key=lambda one: one["notebook"]))

    return keep


def run_all(lab, page, path) -> list[tuple[int, str]]:
    """Open a copy beside copies of the figures, run it; cells with a widget and its class. No cell may fail."""
    shutil.copytree(CHECKOUT / "figures", lab.folder / "figures", dirs_exist_ok=True)
    (lab.folder / "notebooks").mkdir(exist_ok=True)
    shutil.copy(path, lab.folder / "notebooks")
    lab.open(page, f"notebooks/{path.name}", timeout=900)
    widgets = []
    for index, cell in enumerate(page.evaluate(f"{PANEL}.model.toJSON()")["cells"]):
        source = "".join(cell["source"])
        assert cell["cell_type"] != "code" or not source.strip() or cell["execution_count"], f"did not run:\n{source}"
        for output in cell.get("outputs", []):
            assert output["output_type"] != "error", f"{source}\n{output['ename']}: {output['evalue']}"
            if VIEW in output.get("data", {}):
                shown = re.match(r"<pruning_lib[\w.]*\.(\w+) object", "".join(output["data"]["text/plain"]))
                widgets += [(index, shown[1])] if shown else []  # else a progress bar
    return widgets


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook(lab, page, page_errors, path, record_property, keep_record):
    start = time.monotonic()
    measured = []
    widgets = run_all(lab, page, path)
    assert {name for _, name in widgets} == used(path)
    for index, name in widgets:
        root = page.evaluate_handle(CELL, index).as_element().wait_for_selector(OUTPUT)
        page.wait_for_timeout(1000)  # drawn for the first time, and the page at rest
        check_words(root)
        check_tab(page, root)
        for one in move_all(page, root, PRESSES):
            measured.append({"widget": name} | one)
            record_property(f"{name}, {one['control']}: key press to redraw, median in ms", one["redraw_ms"])
            print(
                f"{name}, {one['control']}: redraw {one['redraw_ms']} ms (longest {one['longest_ms']}), "
                f"next frame {one['frame_ms']} ms, computed in {one['computed']}"
            )
    assert [error for error in page_errors if error != BUSY] == []
    lab.shut_down_kernels()
    chromium = page.context.browser.version
    keep_record({"notebook": path.stem, "chromium": chromium, "seconds": time.monotonic() - start, "widgets": measured})
