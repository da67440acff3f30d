"""Executed notebooks made by hand, with a small widget whose state is saved as papermill saves it."""

import base64
import struct

from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

VIEW = "application/vnd.jupyter.widget-view+json"
STATE = "application/vnd.jupyter.widget-state+json"
# A slider and its product with the first of the binary values; drawn when told of a change, not by itself.
MODULE = """
function render({ model, el }) {
  el.innerHTML = '<input type="range" min="0" max="10"><output></output></script>'.replace("</script>", "");
  const [slider, output] = el.children;
  const draw = () => {
    slider.value = model.get("n");
    output.textContent = `${model.get("n")} × ${model.get("values").getFloat32(0, true)}`;
  };
  slider.addEventListener("input", () => {
    model.set("n", Number(slider.value));
    model.save_changes();
  });
  model.on("change:n", draw);
  draw();
}
export default { render };
"""
STYLE = "output { color: rgb(1, 2, 3); }"


def anywidget(n: int = 3, module: str = MODULE) -> dict:
    """A saved anywidget with a number and two binary ones, 0.5 and 2."""
    state = {"_esm": module, "_css": STYLE, "_model_module": "anywidget", "n": n, "layout": "IPY_MODEL_layout"}
    data = base64.b64encode(struct.pack("<2f", 0.5, 2.0)).decode()
    buffers = [{"path": ["values"], "encoding": "base64", "data": data}]
    return {"model_name": "AnyModel", "model_module": "anywidget", "state": state, "buffers": buffers}


def control(name: str, **state: object) -> dict:
    """A saved control of ipywidgets."""
    return {"model_name": name, "model_module": "@jupyter-widgets/controls", "state": state}


def view(model_id: str, **made: str) -> dict:
    """A code cell that shows a widget; by `id` slides name it."""
    data = {VIEW: {"model_id": model_id, "version_major": 2, "version_minor": 0}, "text/plain": "Widget()"}
    output = new_output("execute_result", data, execution_count=1)
    return new_code_cell("widget", outputs=[output], **made)


def markdown(source: str, **made: str) -> dict:
    return new_markdown_cell(source, **made)


def notebook(*cells: dict, **models: dict):
    """A notebook with these cells after a heading, and these widgets' states."""
    widgets = {STATE: {"state": models, "version_major": 2, "version_minor": 0}}
    return new_notebook(cells=[markdown("# The `tiny` one"), *cells], metadata={"widgets": widgets})
