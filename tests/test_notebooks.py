"""What every committed notebook must hold, read as text; nbval runs them."""

import ast
import re

import nbformat
import pytest
import torch
import yaml

from pruning_lib.files import CHECKOUT
from pruning_lib.reproduction.parameters import check_parameters as check_types
from pruning_lib.reproduction.parameters import declared

PATHS = sorted((CHECKOUT / "notebooks").glob("*.ipynb"))
IDS = {
    "01_taxonomy": [f"TAX-{i}" for i in range(1, 8)],
    "02_snip": [f"SNIP-{i}" for i in range(1, 6)],
    "03_sss_apg": [f"SSS-{i}" for i in (1, 2, 3, 4, 5, 6, 7, 9)],
    "03b_block_selection": ["SSS-8"],
    "04_obs": [f"OBS-{i}" for i in range(1, 13)],
    "04b_obs_measured": ["PAT-1"],
    "05_sparsegpt": [f"GPT-{i}" for i in range(1, 8)],
    "05b_sparsegpt_model": ["GPT-8"],
    "05c_after_sparsegpt": ["CG-1", "SW-1", "SW-2", "SW-3"],
    "06_two_four": ["TF-1", "TF-2", "TF-3", "TF-4", "TF-7"],
    "06b_two_four_pays": ["TF-5", "TF-6", "TF-8", "TF-9"],
    "07_comparison": [f"CMP-{i}" for i in range(1, 7)],
}

notebooks = pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)


def read(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    return notebook


def sources(path, kind):
    return [cell.source for cell in read(path).cells if cell.cell_type == kind]


def test_the_first_notebooks_are_there():
    assert set(IDS) <= {path.stem for path in PATHS}


@notebooks
def test_every_equation_is_checked_and_every_check_asserts(path):
    tags = re.findall(r"\\tag\{([A-Z]+-\d+)\}", "\n".join(sources(path, "markdown")))
    checks = {tag for source in sources(path, "code") for tag in checked(source)}
    assert len(tags) == len(set(tags)), "an equation is numbered twice"
    for tag in set(tags) | set(IDS.get(path.stem, [])):
        assert tag in tags, f"{tag} is in no equation"
        assert tag in checks, f"{tag} has no cell that checks it"


def checked(source):
    """The tags of the calls `check(tag, …)` in a cell; of one in a function, the tag may be the caller's."""
    calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    named = [call.args[0] for call in calls if ast.unparse(call.func) == "check"]
    return [tag.value for tag in named if isinstance(tag, ast.Constant)]


@notebooks
def test_check_follows_its_equation(path):
    place = {}
    for index, cell in enumerate(read(path).cells):
        if cell.cell_type == "markdown":
            found = re.findall(r"\\tag\{([A-Z]+-\d+)\}", cell.source)
        else:
            found = checked(cell.source)
        for name in found:
            place.setdefault((cell.cell_type, name), index)
    for (kind, name), index in place.items():
        if kind == "code" and ("markdown", name) in place:  # an equation of another notebook may be checked again
            assert 0 < index - place["markdown", name] <= 3, f"the check of {name} is far from its equation"


@notebooks
def test_executed_in_order_without_error(path):
    cells = [cell for cell in read(path).cells if cell.cell_type == "code" and cell.source.strip()]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    for cell in cells:
        for output in cell.outputs:
            assert output.output_type != "error"
            assert output.get("name") != "stderr", f"a warning or progress bar is saved: {output.get('text', '')[:80]}"


@notebooks
def test_what_is_drawn_is_saved(path):
    for cell in read(path).cells:
        if cell.cell_type == "code" and "plt.subplots(" in cell.source:
            assert any("image/png" in output.get("data", {}) for output in cell.outputs), f"{cell.id} has no picture"


@notebooks
def test_outputs_name_no_place_and_no_address(path):
    outputs = "\n".join(str(cell.outputs) for cell in read(path).cells if cell.cell_type == "code")
    assert not re.search(r" at 0x[0-9a-f]{6}|/home/|/root/|/work/|/tmp/|[A-Z]:\\\\", outputs)
    assert path.stat().st_size < 4_000_000


@notebooks
def test_cells_are_short(path):
    lengths = sorted(len(source.splitlines()) for source in sources(path, "code"))
    assert lengths[len(lengths) // 2] <= 10
    assert lengths[-1] <= 35


@notebooks
def test_the_reader_guesses_three_times(path):
    assert sum(source.count("Predict(") for source in sources(path, "code")) >= 3


@notebooks
def test_parameters_and_profiles_fit(path):
    types = declared(read(path), path.stem)
    assert any(re.search(r'^out: str = ""  # ', source, flags=re.MULTILINE) for source in sources(path, "code"))
    profiles = yaml.safe_load((CHECKOUT / "notebooks" / "profiles.yaml").read_text(encoding="utf-8"))[path.stem]
    assert {"smoke", "lecture"} <= set(profiles)
    for name, values in profiles.items():
        check_types(values or {}, types, f"{path.stem}, {name}")


@notebooks
def test_exercises_are_registered(path):
    from pruning_lib.teaching.exercises import EXERCISES, check

    used = re.findall(r'^exercises\.check\("(\w+)", (\w+)\)', "\n".join(sources(path, "code")), flags=re.MULTILINE)
    assert 3 <= len(used) <= 5
    assert {name for name, _ in used} <= set(EXERCISES)
    # The folded solution is the solution: it passes its own check. One may use those before it.
    solutions = re.findall(r"```python\n(def \w+\(.*?)```", "\n".join(sources(path, "markdown")), flags=re.DOTALL)
    scope = {"torch": torch}
    for solution in solutions:
        exec(solution, scope)
    for name, function in used:
        assert check(name, scope[function], seed=0).passed, name
