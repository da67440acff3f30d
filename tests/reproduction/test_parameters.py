import math

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from pruning_lib.reproduction.parameters import check_parameters, declared, load_yaml, value_of
from pruning_lib.reproduction.run import plan

TYPES = {
    "steps": "int",
    "sparsity": "float",
    "name": "str",
    "fast": "bool",
    "counts": "list[int]",
    "levels": "list[float]",
    "words": "list[str]",
}


def rewritten(folder, parameters):
    """The good notebook with another parameters cell."""
    path = folder / "01_good.ipynb"
    notebook = nbformat.read(path, as_version=4)
    notebook.cells[1].source = parameters
    nbformat.write(notebook, path)


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("steps", "12", 12),
        ("sparsity", "0.9", 0.9),
        ("sparsity", "1", 1.0),
        ("sparsity", "1e-3", 1e-3),
        ("sparsity", "-2E5", -2e5),
        ("name", "no", "no"),
        ("name", "12", "12"),
        ("name", '{"a": [', '{"a": ['),
        ("fast", "true", True),
        ("counts", "[1, 2]", [1, 2]),
        ("levels", "[0.9, 1, 1e-2]", [0.9, 1.0, 0.01]),
        ("levels", "[]", []),
        ("words", "[a, b]", ["a", "b"]),
    ],
)
def test_text_becomes_the_declared_type(name, text, value):
    got = check_parameters({name: value_of(text, name, TYPES[name])}, TYPES, "02_snip")[name]
    assert got == value
    assert type(got) is type(value)
    if isinstance(value, list):
        assert [type(item) for item in got] == [type(item) for item in value]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("steps", "1.5"),
        ("steps", "true"),
        ("steps", "many"),
        ("steps", ""),
        ("sparsity", "true"),
        ("sparsity", "[0.5]"),
        ("fast", "1"),
        ("counts", "3"),
        ("counts", "[1, 2.5]"),
        ("counts", "[true]"),
        ("levels", "[0.5, x]"),
        ("words", "[1]"),
        ("words", "a"),
    ],
)
def test_wrong_type_is_refused_with_name_value_and_type(name, text):
    with pytest.raises(ValueError, match=rf"02_snip: {name} is .*, must be of type ") as caught:
        check_parameters({name: value_of(text, name, TYPES[name])}, TYPES, "02_snip")
    assert str(caught.value).endswith(TYPES[name])


def test_text_that_is_no_yaml_is_refused():
    with pytest.raises(ValueError, match=r"counts is '\[1', must be YAML for a value of type list\[int\]"):
        value_of("[1", "counts", "list[int]")


@pytest.mark.parametrize("text", ["2026-13-40", 5000 * "[", "!!timestamp x", "? [a]\n: 1"])
def test_what_yaml_can_not_make_a_value_of_is_refused_in_one_line(text):
    with pytest.raises(ValueError, match="must be YAML for a value of type int") as caught:
        value_of(text, "steps", "int")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("sparsity", "nan", "02_snip: sparsity is nan, must be a finite number"),
        ("sparsity", "-.inf", "02_snip: sparsity is -inf, must be a finite number"),
        ("levels", "[0.5, .nan]", "02_snip: levels is [0.5, nan], must be a finite number"),
        ("name", "a\udcff", "02_snip: name is 'a\\udcff', must be text that UTF-8 can encode"),
        ("words", '["\\ud800"]', "02_snip: words is ['\\ud800'], must be text that UTF-8 can encode"),
    ],
)
def test_what_no_file_can_hold_is_refused_with_its_name(name, text, message):
    with pytest.raises(ValueError) as caught:
        check_parameters({name: value_of(text, name, TYPES[name])}, TYPES, "02_snip")
    assert str(caught.value) == message


def test_words_that_only_begin_like_numbers_stay_words():
    assert load_yaml("[info, nano, 1e, e5, 2x]") == ["info", "nano", "1e", "e5", "2x"]


def test_nan_is_a_number_as_in_python():
    assert math.isnan(load_yaml("nan"))


def test_unknown_name_is_refused_with_the_list():
    with pytest.raises(ValueError, match=r"parameter is 'sparsty', must be one of steps: int, sparsity: float"):
        check_parameters({"sparsty": 0.5}, TYPES, "02_snip")


def test_out_is_the_runners():
    with pytest.raises(ValueError, match="'out' is set by the runner"):
        check_parameters({"out": "x.json"}, TYPES, "02_snip")


def test_declared_reads_types_beside_comments_with_equal_signs(folder):
    assert declared(nbformat.read(folder / "01_good.ipynb", as_version=4), "01_good").keys() == TYPES.keys()


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ("steps = 3\nout: str = ''", "'steps = 3' in the parameters cell, must be 'name: type = default'"),
        ("steps: int\nout: str = ''", "'steps: int' in the parameters cell"),
        ("steps: dict = {}\nout: str = ''", "type of steps is dict, must be one of int, float"),
        ("steps: int = 3", "must declare 'out: str = \"\"'"),
        ("out: int = 3", "must declare 'out: str = \"\"'"),
        ("steps: int = = 3", "parameters cell is no Python"),
    ],
)
def test_parameters_cell_must_declare_types(folder, cell, message):
    rewritten(folder, cell)
    with pytest.raises(ValueError, match="01_good") as caught:
        plan(["01_good"], out=folder / "runs", notebooks=folder)
    assert message in str(caught.value)


def test_a_notebook_without_parameters_cell_is_refused(folder):
    nbformat.write(new_notebook(cells=[new_code_cell("1")]), folder / "04_none.ipynb")
    with pytest.raises(ValueError, match="04_none has 0 cells tagged 'parameters', must have one"):
        plan(["04_none"], out=folder / "runs", notebooks=folder)


def test_an_executed_copy_is_refused(folder):
    notebook = nbformat.read(folder / "01_good.ipynb", as_version=4)
    notebook.cells.insert(2, new_code_cell("steps = 1", metadata={"tags": ["injected-parameters"]}))
    nbformat.write(notebook, folder / "01_good.ipynb")
    with pytest.raises(ValueError, match="01_good holds injected parameters"):
        plan(["01_good"], out=folder / "runs", notebooks=folder)


def test_a_file_that_is_no_notebook_is_refused(folder):
    (folder / "01_good.ipynb").write_text("{")
    with pytest.raises(ValueError, match=r"01_good\.ipynb is no notebook"):
        plan(["01_good"], out=folder / "runs", notebooks=folder)


@pytest.mark.parametrize(
    ("profiles", "message"),
    [
        ("01_god: {smoke: {}}", "notebook is '01_god', must be one of 01_good, 02_bad, 03_silent"),
        ("01_good: [smoke]", "must map notebook -> profile"),
        ("01_good: {smoke: 3}", "must map notebook -> profile"),
        ("01_good: {paper: {steps: 1.5}}", "01_good, profile paper: steps is 1.5, must be of type int"),
        ("01_good: {paper: {sparsty: 1}}", "01_good, profile paper: parameter is 'sparsty'"),
        ("01_good: {smoke: {}, fast: }", "profiles.yaml: 01_good: fast is None, must map notebook -> profile"),
        ("01_good: {3: {}}", "profiles.yaml: 01_good: key is 3, must be text"),
        ("01_good: {smoke: {out: x}}", "'out' is set by the runner"),
        ("01_good: {smoke: {", "profiles.yaml is no plain YAML"),
        ("01_good: {smoke: {steps: 2026-13-40}}", "profiles.yaml is no plain YAML: month must be in 1..12"),
        ("01_good: {paper: {sparsity: .nan}}", "01_good, profile paper: sparsity is nan, must be a finite number"),
    ],
)
def test_profiles_are_checked_too(folder, profiles, message):
    (folder / "profiles.yaml").write_text(profiles)
    with pytest.raises(ValueError) as caught:
        plan(["01_good"], out=folder / "runs", notebooks=folder)
    assert message in str(caught.value)
    assert not (folder / "runs").exists()
