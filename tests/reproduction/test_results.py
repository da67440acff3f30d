import json
import math
import subprocess

import numpy as np
import pytest
import torch

import pruning_lib
from pruning_lib.reproduction import results
from pruning_lib.reproduction.results import Headline, read_results, write

ENTRIES = [Headline("accuracy", 0.5, "%", 0.75, "digits"), Headline("steps", 12)]


def test_what_is_written_is_read_with_its_provenance(tmp_path):
    path = tmp_path / "deep" / "results.json"
    written = write(str(path), "02_snip", {"sparsity": 0.9, "levels": [1]}, ENTRIES, seconds=2.5)
    assert read_results(path) == written
    first = {"name": "accuracy", "value": 0.5, "unit": "%", "paper": 0.75, "note": "digits", "tolerance": None}
    first["values"] = None
    assert written["headline"][0] == first
    assert written["headline"][1]["paper"] is None
    assert written["parameters"] == {"sparsity": 0.9, "levels": [1]}
    assert written["versions"]["torch"] == torch.__version__
    assert written["versions"]["pruning_lib"] == pruning_lib.__version__
    assert (written["device"], written["threads"], written["seconds"]) == ("cpu", torch.get_num_threads(), 2.5)
    assert written["date"].endswith("+00:00")
    assert [entry.name for entry in path.parent.iterdir()] == ["results.json"]


def test_nothing_is_written_without_out(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert write("", "02_snip", {}, ENTRIES)["headline"][1]["value"] == 12
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [torch.tensor(0.25), np.float32(0.25), np.array(0.25), torch.tensor([0.25])])
def test_tensors_and_arrays_of_one_number_count_as_numbers(number):
    assert Headline("a", number).value == 0.25


@pytest.mark.parametrize(
    "value", [math.nan, math.inf, -math.inf, torch.tensor(math.nan), "1", True, None, [1], torch.ones(2)]
)
def test_a_value_that_is_no_finite_number_is_refused(value):
    with pytest.raises(ValueError, match=r"headline 'loss': value is .*, must be a finite number"):
        Headline("loss", value)
    if value is not None:
        with pytest.raises(ValueError, match=r"headline 'loss': paper is .*, must be a finite number"):
            Headline("loss", 1.0, paper=value)


def test_values_of_seeds_have_the_value_as_their_mean(tmp_path):
    path = tmp_path / "results.json"
    write(path, "04_obs", {}, [Headline("a", 2.0, values=(1, 3.0, torch.tensor(2.0)))])
    assert read_results(path)["headline"][0]["values"] == [1, 3.0, 2.0]
    for values, message in (([1, 2], "value is 2.0, must be the mean"), ([], "the mean"), ([2, math.nan], "nan")):
        with pytest.raises(ValueError, match=rf"headline 'a': .*{message}"):
            Headline("a", 2.0, values=values)


@pytest.mark.parametrize(
    ("paper", "tolerance", "message"),
    [(1.0, -0.1, "tolerance is -0.1"), (None, 0.1, "beside a paper's number"), (1.0, math.nan, "finite number")],
)
def test_a_tolerance_is_a_distance_from_the_papers_number(paper, tolerance, message):
    assert Headline("a", 1.2, paper=1.0, tolerance=0.3).tolerance == 0.3
    with pytest.raises(ValueError, match=message):
        Headline("a", 1.2, paper=paper, tolerance=tolerance)


def test_results_from_before_there_were_tolerances_are_read(tmp_path):
    write(tmp_path / "a.json", "02_snip", {}, ENTRIES)
    old = json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))
    for entry in old["headline"]:
        del entry["tolerance"]
    (tmp_path / "a.json").write_text(json.dumps(old), encoding="utf-8")
    assert read_results(tmp_path / "a.json") == old


def test_names_are_text_and_differ():
    with pytest.raises(ValueError, match="name is empty"):
        Headline("", 1)
    with pytest.raises(ValueError, match="unit is 3, must be text"):
        Headline("a", 1, unit=3)
    with pytest.raises(ValueError, match="headline 'a' is given 2 times"):
        write("", "02_snip", {}, [Headline("a", 1), Headline("a", 2)])


@pytest.mark.parametrize("value", [math.nan, [1, math.inf], object()])
def test_a_parameter_that_json_does_not_hold_is_refused_and_the_old_file_stays(tmp_path, value):
    path = tmp_path / "results.json"
    path.write_text("old")
    with pytest.raises(ValueError, match="parameter 'alpha' is"):
        write(path, "02_snip", {"alpha": value}, ENTRIES)
    assert path.read_text(encoding="utf-8") == "old"


def test_an_interrupted_write_leaves_the_old_file_and_no_other(tmp_path, monkeypatch):
    path = tmp_path / "results.json"
    write(path, "02_snip", {}, ENTRIES)
    before = path.read_text(encoding="utf-8")

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("os.replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write(path, "02_snip", {}, [Headline("other", 1)])
    assert path.read_text(encoding="utf-8") == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    "broken",
    [
        lambda text: text[:-20],
        lambda text: "[]",
        lambda text: "3",
        lambda text: text.replace('"threads"', '"thread"'),
        lambda text: text.replace("0.5", "NaN"),
        lambda text: text.replace('"unit"', '"units"'),
        lambda text: json.dumps(json.loads(text) | {"headline": None}),
    ],
)
def test_a_file_that_is_not_complete_is_refused_by_name(tmp_path, broken):
    path = tmp_path / "results.json"
    write(path, "02_snip", {}, ENTRIES)
    path.write_text(broken(path.read_text(encoding="utf-8")))
    with pytest.raises(ValueError, match=r"results\.json holds no complete results"):
        read_results(path)


def test_commit_and_dirty_flag_are_those_of_the_checkout(tmp_path, monkeypatch):
    def git(*arguments):
        who = ["-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false"]
        return subprocess.run(
            ["git", "-C", tmp_path, *who, *arguments], check=True, capture_output=True, text=True
        ).stdout

    monkeypatch.setattr(results, "CHECKOUT", tmp_path.resolve())
    git("init")
    assert results.provenance()["commit"] is None  # no commit yet
    (tmp_path / "file").write_text("1")
    git("add", "file")
    git("commit", "-m", "first")
    found = results.provenance()
    assert (found["commit"], found["dirty"]) == (git("rev-parse", "HEAD").strip(), False)
    (tmp_path / "file").write_text("2")
    assert results.provenance()["dirty"] is True
    inside = tmp_path / "site-packages"
    inside.mkdir()
    monkeypatch.setattr(results, "CHECKOUT", inside.resolve())
    assert (results.provenance()["commit"], results.provenance()["dirty"]) == (None, None)


def test_no_git_is_no_error(monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert results.provenance()["commit"] is None


@pytest.mark.parametrize("runs", [[], [{"a": 1, "γ": [1, 2]}, {"a": 2}], {"one": {"lr": 0.1}}])
def test_a_list_of_runs_has_a_line_for_each(tmp_path, runs):
    content = {"runs": runs, "about": "x", "settings": {"empty": []}}
    results.write_json(tmp_path / "a.json", content)
    text = (tmp_path / "a.json").read_text(encoding="utf-8")
    assert json.loads(text) == content
    assert not isinstance(runs, list) or all(
        json.dumps(run, separators=(",", ":"), ensure_ascii=False) in text for run in runs
    )


def test_a_full_disk_is_told_with_the_name_of_the_file(tmp_path, monkeypatch):
    def full(*arguments, **settings):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.write_text", full)
    with pytest.raises(OSError, match="No space left on device.*a.json"):
        results.write_json(tmp_path / "a.json", {})
    assert list(tmp_path.iterdir()) == []
