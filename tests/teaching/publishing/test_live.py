import copy
import json

import nbformat
import pytest
from live_notebooks import anywidget, control, notebook, view

from pruning_lib.teaching.publishing import live


def html_of(cell) -> str:
    (output,) = cell.outputs
    assert list(output.data) == ["text/html"]
    return output.data["text/html"]


def test_a_widget_becomes_html_that_holds_all_it_needs():
    before = notebook(view("a"), view("b"), view("a"), a=anywidget(n=7), b=anywidget(n=8))
    kept = copy.deepcopy(before)
    after = live(before)
    assert before == kept
    nbformat.validate(after)
    assert "widgets" not in after.metadata
    first, second, third = (html_of(cell) for cell in after.cells[1:])
    assert first == third and '"id": "a"' in first and '"n": 7' in first and '"id": "b"' in second
    assert '"data": "AAAAPwAAAEA="' in first
    assert "_model_module" not in first
    # the widget's own </script> must not end the element that holds it
    assert first.count("</script>") == 2


def test_a_number_that_json_lacks_is_refused_not_written():
    with pytest.raises(ValueError, match="JSON"):
        live(notebook(view("a"), a=anywidget(n=float("nan"))))


def test_a_complete_page_carries_a_script_once():
    cells = view("a"), view("b"), view("c"), view("a")
    models = {"a": anywidget(n=1), "b": anywidget(n=2), "c": anywidget(module="export default { render() {} };")}
    saved = [
        [json.loads(html_of(cell).split('<script type="application/json">')[1].split("</script>")[0]) for cell in after]
        for after in (live(notebook(*cells, **models), complete).cells[1:] for complete in (False, True))
    ]
    assert all("carrier" not in one for one in saved[0]) and saved[0][0]["module"] == saved[0][1]["module"]
    assert [one.get("carrier") for one in saved[1]] == [None, "a", None, None]
    assert ["module" in one for one in saved[1]] == [True, False, True, True]
    assert [one["state"]["n"] for one in saved[1] if "n" in one["state"]] == [1, 2, 3, 1]


@pytest.mark.parametrize(
    "model",
    [
        control("IntSliderModel", value=1),
        anywidget(module="export default { render({ model }) { model.send({ kind: 'compute' }); } };"),
    ],
)
def test_what_needs_python_says_so_and_runs_nothing(model):
    text = html_of(live(notebook(view("a"), a=model)).cells[1])
    assert "needs Python" in text and "script" not in text


def test_a_finished_progress_bar_goes_and_nothing_else():
    cell = view("box")
    cell.outputs.append(nbformat.v4.new_output("stream", text="done"))
    children = ["IPY_MODEL_text", "IPY_MODEL_bar"]
    models = {"box": control("HBoxModel", children=children), "text": control("HTMLModel"), "a": anywidget()}
    after = live(notebook(cell, view("a"), bar=control("FloatProgressModel", value=1), **models))
    assert [output.output_type for output in after.cells[1].outputs] == ["stream"]
    assert "live-widget" in html_of(after.cells[2])


def test_a_widget_without_its_state_is_refused_with_the_command():
    with pytest.raises(ValueError, match=r"cell 2 shows a widget without its state, .*python -m pruning_lib run"):
        live(notebook(view("a")))
