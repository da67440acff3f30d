import re

import pytest
from click.testing import CliRunner
from tiny_sweeps import make, write_yaml

from pruning_lib.__main__ import main
from pruning_lib.reproduction import NOTEBOOKS
from pruning_lib.reproduction.sweep_file import read_sweep


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return make(tmp_path / "sweep")


def read(folder, text, out=None):
    return read_sweep(write_yaml(folder, text), out, folder / "notebooks")


def test_a_grid_is_every_combination_over_profile_and_fixed_parameters(folder):
    text = "profile: slow\nparameters: {wait: false}\ngrid: {lr: [1, 2e-1], name: [a, b]}\nseeds: [3, 4]\n"
    sweep = read(folder, text)
    assert len(sweep.runs) == 8
    assert sweep.seed_parameter == "seeds"
    assert sweep.folder == folder.parent / "runs" / "grid"
    runs = list(sweep.runs.values())
    assert runs[0] == {"lr": 1.0, "wait": False, "name": "a", "seeds": [3]}
    assert type(runs[0]["lr"]) is float
    assert {(run["lr"], run["name"], run["seeds"][0]) for run in runs} == {
        (lr, name, seed) for lr in (1.0, 0.2) for name in "ab" for seed in (3, 4)
    }


def test_the_name_of_a_run_depends_on_its_parameters_only(folder):
    first = read(folder, "grid: {lr: [0.1, 0.2]}\nseeds: [0, 1]\n").runs
    turned = read(folder, "seeds: [1, 0, 2]\ngrid: {lr: [0.2, 0.1]}\n").runs
    assert {name: turned[name] for name in first} == first
    assert all(re.fullmatch(r"lr-0\.\d_seeds-\d-[0-9a-f]{10}", name) for name in turned)
    assert first.keys().isdisjoint(read(folder, "parameters: {fails: 1}\ngrid: {lr: [0.1]}\nseeds: [0]\n").runs)


def test_names_are_safe_in_a_path_and_short(folder):
    names = list(read(folder, "grid: {name: ['../../x', '.hidden', 'a b/c', 'é', '" + 300 * "y" + "']}\n").runs)
    assert len(set(names)) == 5
    assert all(re.fullmatch(r"name[A-Za-z0-9._-]{0,100}", name) for name in names)


def test_a_seed_may_be_a_number_and_another_parameter(folder):
    assert list(read(folder, "seeds: [7]\nseed_parameter: fails\n").runs.values()) == [{"fails": 7}]


def test_out_is_a_folder_below_runs_or_the_one_on_the_command_line(folder):
    assert read(folder, "out: mine/two\nseeds: [0]\n").folder == folder.parent / "runs" / "mine" / "two"
    assert read(folder, "out: mine\nseeds: [0]\n", folder / "elsewhere").folder == folder / "elsewhere"


def test_what_is_expected_is_kept_with_where(folder):
    entry = "{quantity: error, tolerance: 0.3, where: {lr: 1}, differs: fewer epochs}"
    sweep = read(folder, f"grid: {{lr: [1, 2]}}\nexpected: [{entry}]\n")
    assert sweep.expected == [
        {"quantity": "error", "tolerance": 0.3, "where": {"lr": 1.0}, "differs": "fewer epochs", "against": ""}
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("notebook: [", "is no plain YAML"),
        ("", "must map notebook, profile, parameters"),
        ("[1]", "must map notebook, profile, parameters"),
        ("notebook: 02_snip\nseeds: [0]", "notebook is '02_snip', must be one of 01_tiny"),
        ("notebook: [1]\nseeds: [0]", "notebook is [1], must be one of"),
        ("seeds: [0]", "notebook is None, must be one of 01_tiny"),
        ("notebook: 01_tiny\nprofile: paper\nseeds: [0]", "profile of 01_tiny is 'paper', must be one of smoke, slow"),
        ("notebook: 01_tiny\n1: 2", "grid.yaml: key is 1, must be one of notebook, profile, parameters, grid"),
        ("notebook: 01_tiny\ngrid: {1: [2]}", "grid.yaml: grid: key is 1, must be text"),
        ("notebook: 01_tiny\ngird: {}", "key is 'gird', must be one of notebook"),
        ("notebook: 01_tiny\ngrid: {rate: [1]}", "grid: parameter is 'rate', must be one of seeds: list[int], lr"),
        ("notebook: 01_tiny\nparameters: {rate: 1}\nseeds: [0]", "parameters: parameter is 'rate'"),
        ("notebook: 01_tiny\ngrid: {lr: [0.1, fast]}", "lr is 'fast', must be of type float"),
        ("notebook: 01_tiny\ngrid: {wait: [1]}", "wait is 1, must be of type bool"),
        ("notebook: 01_tiny\nparameters: {lr: [1]}\nseeds: [0]", "lr is [1], must be of type float"),
        ("notebook: 01_tiny\ngrid: {out: [x]}", "'out' is set by the runner"),
        ("notebook: 01_tiny\ngrid: {}", "grid is {}, must have at least 1 item\n"),
        ("notebook: 01_tiny\ngrid:", "grid is None, must be a valid dictionary"),
        ("notebook: 01_tiny\ngrid: {lr: []}", "grid: lr is [], must have at least 1 item\n"),
        ("notebook: 01_tiny\ngrid: {lr: 0.1}", "grid: lr is 0.1, must be a valid list"),
        ("notebook: 01_tiny", "neither grid nor seeds is given"),
        ("notebook: 01_tiny\nseeds: []", "seeds is [], must have at least 1 item"),
        ("notebook: 01_tiny\nseeds: [0, 1, 0]", "seeds has [0] 2 times: two runs would be the same"),
        ("notebook: 01_tiny\nseeds: [true]", "seeds is [True], must be of type list[int]"),
        ("notebook: 01_tiny\nseeds: 3", "seeds is 3, must be a valid list"),
        ("notebook: 01_tiny\nseeds: [0]\nseeds: [1]", "'seeds' is given twice"),
        ("notebook: 01_tiny\ngrid: {lr: [1, 1.0]}", "lr has 1.0 2 times"),
        ("notebook: 01_tiny\nparameters: {lr: 1}\ngrid: {lr: [1]}", "lr is given twice"),
        ("notebook: 01_tiny\nparameters: {seeds: [1]}\nseeds: [0]", "seeds is given twice"),
        ("notebook: 01_tiny\nseeds: [0]\nseed_parameter: lr", "seed_parameter is 'lr', must be one of seeds, fails"),
        ("notebook: 01_tiny\ngrid: {lr: [1]}\nseed_parameter: fails", "seed_parameter is given without seeds"),
        ("notebook: !!python/object/apply:os.system [exit 1]", "could not determine a constructor for the tag"),
        ("notebook: 01_tiny\nout: ../elsewhere\nseeds: [0]", "out is '../elsewhere', must be a folder below runs"),
        ("notebook: 01_tiny\nout: /tmp/elsewhere\nseeds: [0]", "out is '/tmp/elsewhere', must be a folder below runs"),
        ("notebook: 01_tiny\nout: a/../../b\nseeds: [0]", "must be a folder below runs"),
        ("notebook: 01_tiny\nout: .\nseeds: [0]", "must be a folder below runs"),
        ("notebook: 01_tiny\nseeds: [0]\nexpected: []", "expected is [], must have at least 1 item"),
        (
            "notebook: 01_tiny\nseeds: [0]\nexpected: [{quantity: a}]",
            "expected is {'quantity': 'a'}, must have tolerance",
        ),
        (
            "notebook: 01_tiny\nseeds: [0]\nexpected: [{quantity: a, tolerance: -1}]",
            "tolerance is -1, must be greater than or equal to 0",
        ),
        (
            "notebook: 01_tiny\nseeds: [0]\nexpected: [{quantity: a, tolerance: nan}]",
            "tolerance is nan, must be a finite number",
        ),
        ("notebook: 01_tiny\nseeds: [0]\nexpected: [{quantity: a, tolerance: 1, where: {lr: 2}}]", "no run of the"),
        ("notebook: 01_tiny\nseeds: [0]\nexpected: [{quantity: a, tolerance: 1, where: {rate: 2}}]", "is 'rate'"),
        ("notebook: 01_tiny\ngrid: {lr: [1, .nan]}", "lr is nan, must be a finite number"),
        ('notebook: 01_tiny\nparameters: {name: "\\ud800"}\nseeds: [0]', "name is '\\ud800', must be text that UTF-8"),
        ('notebook: 01_tiny\nout: "\\ud800"\nseeds: [0]', "out is '\\ud800', must be a folder below runs"),
        ('notebook: 01_tiny\nseeds: [0]\nexpected: [{quantity: "\\ud800", tolerance: 1}]', "must be text"),
        ("notebook: 01_tiny\nseeds: [2026-13-40]", "is no plain YAML: month must be in 1..12"),
        (
            "notebook: 01_tiny\nseeds: [0]\nexpected: [{quantity: a, tolerance: 1, where: {seeds: [0]}}]",
            "expected of 'a' is where {'seeds': [0]}, must hold for all seeds",
        ),
        (
            "notebook: 01_tiny\ngrid: {lr: [1, 2]}\nexpected: [{quantity: a, tolerance: 1}, "
            "{quantity: a, tolerance: 2, where: {lr: 2}}]",
            "expected has 'a' twice for lr-2.0-",
        ),
    ],
)
def test_what_is_wrong_is_refused_in_one_line_before_anything_starts(folder, text, message):
    path = folder / "grid.yaml"
    path.write_text(text, encoding="utf-8")
    answer = CliRunner().invoke(main, ["sweep", str(path), "--notebooks", str(folder / "notebooks")])
    assert answer.exit_code == 2, answer.output
    assert answer.stderr.startswith("Error: ") and answer.stderr.count("\n") == 1
    assert message in answer.stderr
    assert not (folder.parent / "runs").exists()


def test_a_link_that_leads_out_of_runs_is_refused(folder):
    (folder.parent / "runs").mkdir()
    (folder.parent / "runs" / "grid").symlink_to(folder)
    with pytest.raises(ValueError, match="must be a folder below runs"):
        read(folder, "seeds: [0]")


def test_a_file_that_is_not_there_is_refused(folder):
    with pytest.raises(ValueError, match="none.yaml can't be read: No such file"):
        read_sweep(folder / "none.yaml", notebooks=folder / "notebooks")


@pytest.mark.parametrize("path", sorted((NOTEBOOKS / "sweeps").glob("*.yaml")), ids=lambda path: path.stem)
def test_the_committed_sweeps_are_in_order(path):
    assert len(read_sweep(path).runs) > 1
