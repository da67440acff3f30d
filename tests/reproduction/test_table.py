import csv
import json
import re
import statistics
from html.parser import HTMLParser
from pathlib import Path

import pytest
from click.testing import CliRunner

from pruning_lib.__main__ import main
from pruning_lib.reproduction import results
from pruning_lib.reproduction.gather import read_records, rows_of
from pruning_lib.reproduction.results import Headline, write
from pruning_lib.reproduction.table import render, told

NASTY = "a|b <i>*c*</i> & \"d\", 'e' [f](g)\n$x$"


def put(path, *headline, notebook="02_snip", seconds=90.0, **parameters):
    """Write results as a notebook and the runner do."""
    write(path, notebook, parameters, list(headline), seconds)
    return path


def sweep(folder, values, expected=(), name="error"):
    """Write a sweep's folder: lr -> values over seeds."""
    runs = {}
    for lr, of_lr in values.items():
        for seed, value in enumerate(of_lr):
            run = f"lr-{lr}_seeds-{seed}"
            runs[run] = {"lr": lr, "seeds": [seed]}
            note = f"mnist, 12 epochs, seeds [{seed}]"
            put(folder / run / "results.json", Headline(name, value, "%", 1.6, note), seeds=[seed])
            (folder / run / "02_snip.html").touch()
    plan = {"notebook": "02_snip", "seed_parameter": "seeds", "runs": runs, "expected": list(expected), "states": []}
    results.write_json(folder / "sweep.json", plan)
    return folder


def expectation(tolerance, differs="", name="error", **where):
    return {"quantity": name, "tolerance": tolerance, "where": where, "differs": differs}


def test_a_row_is_the_mean_and_the_sample_deviation_over_seeds(tmp_path):
    values = {0.1: [1.5, 1.8, 1.7], 0.2: [4.0]}
    rows = rows_of(read_records([sweep(tmp_path, values)]))
    assert [row.values for row in rows] == list(values.values())
    assert rows[0].mean == pytest.approx(5 / 3)
    assert rows[0].sd == pytest.approx(((1.5 - 5 / 3) ** 2 + (1.8 - 5 / 3) ** 2 + (1.7 - 5 / 3) ** 2) ** 0.5 / 2**0.5)
    assert rows[1].sd is None
    assert rows[0].note == "mnist, 12 epochs"
    lines = render(rows, "markdown", tmp_path).split("\n")
    cells = lines[2].split(" | ")
    assert cells[:4] == ["| 02\\_snip", "error", "mnist, 12 epochs; lr 0.1", "1.6 %"]
    assert cells[4:7] == ["1.667 ± 0.15 %", "3", "different setting"]
    assert cells[7] == ", ".join(f"[seed {seed}](lr-0.1_seeds-{seed}/02_snip.html)" for seed in range(3)) + " |"
    assert lines[3].startswith("| 02\\_snip | error | mnist, 12 epochs, seeds \\[0\\]; lr 0.2 | 1.6 % | 4 % | 1 |")


def test_the_setting_says_nothing_twice(tmp_path):
    runs = [
        {"model": "lenet5", "epochs": 20, "lr": 0.1, "shift": 0},
        {"model": "mlp", "epochs": 60, "lr": 0.2, "shift": 1},
    ]
    for place, given in enumerate(runs):
        note = f"{given['model']}, {given['epochs']} epochs, shifted by up to 1 px"
        put(tmp_path / str(place) / "results.json", Headline("error", 1.5, "%", 1.6, note), **given)
    lines = render(rows_of(read_records([tmp_path])), "csv").splitlines()
    assert "lenet5, 20 epochs, shifted by up to 1 px; lr 0.1, shift 0" in lines[1]
    assert "mlp, 60 epochs, shifted by up to 1 px; lr 0.2" in lines[2] and "shift 1" not in lines[2]


def test_the_setting_says_what_older_records_lack(tmp_path):
    for place, given in enumerate([{"lr": 0.1}, {"lr": 0.1, "shift": 0}]):
        put(tmp_path / str(place) / "results.json", Headline("error", 1.5, "%", 1.6, "mnist"), **given)
    old, new = render(rows_of(read_records([tmp_path])), "csv").splitlines()[1:]
    assert ",mnist,1.6" in old and ",mnist; shift 0,1.6" in new


@pytest.mark.parametrize(
    ("note", "name", "value", "answer"),
    [
        ("mnist, bandwidth 2", "width", 2, False),
        ("mnist, width 2", "width", 2, True),
        ("mnist, shifted by 1 px", "shift", 1, True),
        ("mnist, lenet5", "model_name", "lenet5", True),
        ("mnist, 12 epochs", "epochs", 2, False),
        ("mnist, 12 epochs", "epochs", 12, True),
        ("mnist, images shifted by up to 1 px", "shift", 1, True),
        ("mnist, lr_decay 0.1", "lr", 0.1, False),
        ("mnist, 2 epochs retraining, 8 epochs", "epochs", 2, False),
        ("mnist, lr halved after 20 epochs", "lr", 20, False),
        ("mnist, seeds 0 to 2", "seed", 2, False),
    ],
)
def test_a_note_tells_a_parameter_by_a_word_that_begins_like_its_name(note, name, value, answer):
    assert told(note, name, value) == answer


@pytest.mark.parametrize(
    ("values", "tolerance", "verdict"),
    [
        ([1.5, 1.8], 0.05, "reproduced"),
        ([1.9], 0.3, "reproduced"),  # 1.9 - 1.6 is 0.2999…; 1.3 is 0.30000000000000004 away
        ([1.3], 0.3, "reproduced"),
        ([1.91], 0.3, "not reached"),
        ([1.2], 0.3, "not reached"),
        ([1.6], None, "different setting"),
    ],
)
def test_the_verdict_compares_only_where_a_tolerance_was_set(tmp_path, values, tolerance, verdict):
    expected = [] if tolerance is None else [expectation(tolerance, lr=0.1)]
    assert [row.verdict for row in rows_of(read_records([sweep(tmp_path, {0.1: values}, expected)]))] == [verdict]


@pytest.mark.parametrize(("dense", "verdict"), [(1.6, "reproduced"), (1.45, "reproduced"), (1.2, "value only")])
def test_a_claim_that_compares_is_judged_by_the_difference_too(tmp_path, dense, verdict):
    folder = sweep(tmp_path, {0.1: [1.5, 1.7]}, [expectation(0.3) | {"against": "dense"}])
    for seed, value in enumerate([1.5, 1.7]):
        both = Headline("error", value, "%", 1.6), Headline("dense", dense, "%", 1.7)
        put(folder / f"lr-0.1_seeds-{seed}" / "results.json", *both, seeds=[seed])
    rows = rows_of(read_records([folder]))
    assert [row.verdict for row in rows] == [verdict, "not claimed"]
    assert rows[0].difference == pytest.approx(1.6 - dense) and rows[0].paper_difference == pytest.approx(-0.1)
    assert f"; difference to dense {1.6 - dense:+.2f}, paper -0.1 |" in render(rows)


def test_what_a_claim_compares_with_must_be_there(tmp_path):
    folder = sweep(tmp_path, {0.1: [1.5]}, [expectation(0.3) | {"against": "dense"}])
    with pytest.raises(ValueError, match="expected has 'dense', must be one of those with a paper's number: error"):
        read_records([folder])


def test_what_is_expected_holds_where_it_says(tmp_path):
    expected = [expectation(1, lr=0.1), expectation(0.1, "12 epochs for 250", lr=0.2)]
    rows = rows_of(read_records([sweep(tmp_path, {0.1: [2.0], 0.2: [2.0], 0.3: [2.0]}, expected)]))
    assert [row.verdict for row in rows] == ["reproduced", "not reached", "different setting"]
    text = render(rows, "markdown", tmp_path)
    assert "| reproduced (within 1) |" in text and "| not reached (tolerance 0.1) |" in text
    assert "lr 0.2; unlike the paper: 12 epochs for 250 |" in text


def test_a_quantity_that_no_run_has_is_refused(tmp_path):
    folder = sweep(tmp_path, {0.1: [2.0]}, [expectation(1, name="eror")])
    with pytest.raises(ValueError, match="expected has 'eror', must be one of those with a paper's number: error"):
        read_records([folder])


def test_a_quantity_for_which_the_paper_gives_no_number_is_refused(tmp_path):
    folder = sweep(tmp_path, {0.1: [2.0]}, [expectation(1)])
    put(next(tmp_path.glob("lr-*")) / "results.json", Headline("error", 2.0, "%"), seeds=[0])
    with pytest.raises(ValueError, match="expected has 'error', must be one of those with a paper's number: none"):
        read_records([folder])


def test_while_runs_are_missing_nothing_is_reproduced(tmp_path):
    folder = sweep(tmp_path / "mine", {0.1: [1.6, 1.6, 1.6], 0.2: [1.6, 1.6]}, [expectation(0.3)])
    for seed in (1, 2):
        (folder / f"lr-0.1_seeds-{seed}" / "results.json").unlink()
    rows = rows_of(read_records([folder]))
    assert [(row.verdict, len(row.values), row.planned) for row in rows] == [("incomplete", 1, 3), ("reproduced", 2, 2)]
    for form in ("markdown", "html"):
        text = re.sub(r"</td>\s*<td>", " | ", render(rows, form, tmp_path).replace("\\", ""))
        assert "| 1 of 3 | incomplete (tolerance 0.3) |" in text and "| 2 | reproduced (within 0.3) |" in text
        assert text.count("missing runs: mine/lr-0.1_seeds-1, mine/lr-0.1_seeds-2") == 1
    table = list(csv.DictReader(render(rows, "csv", tmp_path).splitlines()))
    assert [(row["n"], row["planned"], row["verdict"]) for row in table] == [
        ("1", "3", "incomplete"),
        ("2", "2", "reproduced"),
    ]


def test_a_complete_sweep_names_no_missing_runs(tmp_path):
    assert "missing runs" not in render(rows_of(read_records([sweep(tmp_path, {0.1: [1.6]})])))


def test_what_is_expected_of_another_quantity_claims_the_setting_too(tmp_path):
    folder = sweep(tmp_path, {0.1: [1.6], 0.2: [1.6]}, [expectation(0.3, lr=0.1)])
    for lr in (0.1, 0.2):
        entries = [Headline("error", 1.6, "%", 1.6), Headline("dense", 1.7, "%", 1.7), Headline("speed", 2.0)]
        put(folder / f"lr-{lr}_seeds-0" / "results.json", *entries, seeds=[0])
    verdicts = {(row.quantity, row.parameters["lr"]): row.verdict for row in rows_of(read_records([folder]))}
    assert [verdicts["error", lr] for lr in (0.1, 0.2)] == ["reproduced", "different setting"]
    assert [verdicts["dense", lr] for lr in (0.1, 0.2)] == ["not claimed", "different setting"]
    assert [verdicts["speed", lr] for lr in (0.1, 0.2)] == ["", ""]


@pytest.mark.parametrize(("value", "verdict"), [(1.6, "reproduced (within 0.3"), (3.0, "not reached (tolerance 0.3")])
def test_a_tolerance_that_was_set_after_the_runs_is_told(tmp_path, value, verdict):
    folder = sweep(tmp_path, {0.1: [value]}, [expectation(0.3)])
    plan = json.loads((folder / "sweep.json").read_text())
    for late, end in ((True, ", set after the runs)"), (False, ")")):
        results.write_json(folder / "sweep.json", plan | {"expected_late": late})
        assert f"| {verdict}{end} |" in render(rows_of(read_records([folder])))


def test_runs_on_different_devices_are_different_rows(tmp_path):
    for device, value in (("cpu", 1.0), ("NVIDIA H200", 3.0)):
        path = put(tmp_path / device / "results.json", Headline("error", value, "%", note="mnist"), seed=0)
        path.write_text(json.dumps(json.loads(path.read_text()) | {"device": device}))
    rows = rows_of(read_records([tmp_path]))
    assert [row.values for row in rows] == [[3.0], [1.0]]
    text = render(rows)
    assert "| mnist; on NVIDIA H200 |" in text and "| mnist; on cpu |" in text


def test_runs_that_are_split_over_devices_reproduce_nothing(tmp_path):
    folder = sweep(tmp_path, {0.1: [1.6, 1.6, 1.6]}, [expectation(0.3)])
    path = folder / "lr-0.1_seeds-1" / "results.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"device": "NVIDIA H200"}))
    rows = rows_of(read_records([folder]))
    assert [(row.verdict, len(row.values), row.planned) for row in rows] == [("incomplete", 2, 3), ("incomplete", 1, 3)]
    text = render(rows)
    assert "missing runs" not in text and "| 2 of 3 |" in text and "| 1 of 3 |" in text


def test_a_run_of_a_sweep_alone_has_all_that_it_was_given(tmp_path):
    for lr in (0.1, 0.2):
        folder = tmp_path / f"lr-{lr}"
        put(folder / "results.json", Headline("error", 1.6, "%"), seeds=[0])
        results.write_json(folder / "parameters.json", {"parameters": {"lr": lr, "seeds": [0]}})
    rows = rows_of(read_records(sorted(tmp_path.iterdir())))
    assert [(row.parameters, row.records[0].seed) for row in rows] == [({"lr": 0.1}, 0), ({"lr": 0.2}, 0)]
    (tmp_path / "lr-0.1" / "parameters.json").write_text("{")
    with pytest.raises(ValueError, match=r"lr-0\.1/results\.json holds no complete results"):
        read_records([tmp_path / "lr-0.1"])


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"notebook": "02_snip", "runs": []}', "\udcff", 100000 * "["])
def test_a_plan_that_is_none_is_refused_by_name(tmp_path, text):
    folder = sweep(tmp_path, {0.1: [2.0]})
    (folder / "sweep.json").write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(ValueError, match=r"sweep\.json is no plan of a sweep"):
        read_records([folder])


def test_without_a_papers_number_there_is_no_verdict(tmp_path):
    path = put(tmp_path / "a.json", Headline("speed", 2.0, "×"), Headline("error", 1.7, "%", 1.6, tolerance=0.2))
    assert [row.verdict for row in rows_of(read_records([path]))] == ["", "reproduced"]


def test_a_run_over_several_seeds_is_one_number(tmp_path):
    paths = [
        put(tmp_path / "a.json", Headline("error", 2.0, note="seeds [0, 1]"), seeds=[0, 1]),
        put(tmp_path / "b.json", Headline("error", 3.0, note="seeds [2]"), seeds=[2]),
        put(tmp_path / "c.json", Headline("error", 5.0, note="seeds [3]"), seeds=[3]),
    ]
    rows = rows_of(read_records(paths))
    assert [(row.values, row.note) for row in rows] == [([2.0], "seeds [0, 1]"), ([3.0, 5.0], "")]


def test_a_run_that_tells_its_seeds_apart_is_as_many_numbers(tmp_path):
    path = put(tmp_path / "a.json", Headline("error", 2.0, "%", 1.6, tolerance=0.5, values=[1.0, 2.0, 3.0]))
    (row,) = rows_of(read_records([path]))
    assert (row.values, row.sd, row.planned, row.verdict) == ([1.0, 2.0, 3.0], 1.0, 1, "reproduced")
    assert "| 1.6 % | 2 ± 1 % | 3 | reproduced (within 0.5) |" in render([row])


def test_runs_that_tell_their_seeds_apart_are_counted_and_not_their_seeds(tmp_path):
    folder = sweep(tmp_path / "mine", {0.1: [1.6, 1.6, 1.6]}, [expectation(0.3)])
    for seed in range(3):
        three = Headline("error", 1.6, "%", 1.6, values=[1.5, 1.6, 1.7])
        put(folder / f"lr-0.1_seeds-{seed}" / "results.json", three, seeds=[seed])
    (row,) = rows_of(read_records([folder]))
    assert (len(row.values), row.planned, row.verdict) == (9, 3, "reproduced")
    assert "| 9 | reproduced (within 0.3) |" in render([row])
    for seed in (1, 2):
        (folder / f"lr-0.1_seeds-{seed}" / "results.json").unlink()
    (row,) = rows_of(read_records([folder]))
    assert (len(row.values), row.planned, row.verdict) == (3, 3, "incomplete")
    assert "| 1 of 3 | incomplete (tolerance 0.3) |" in render([row])
    (line,) = csv.DictReader(render([row], "csv").splitlines())
    assert (line["n"], line["made"], line["planned"]) == ("3", "1", "3")


def test_the_same_run_twice_is_refused(tmp_path):
    paths = [put(tmp_path / name, Headline("error", 2.0), seed=0) for name in ("a.json", "b.json")]
    with pytest.raises(ValueError, match="a.json and .*b.json have the same parameters and seed"):
        rows_of(read_records(paths))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("again", r"record\.json and .*record\.json have the same parameters and seed: leave out one"),
        ("lr-0.1_seeds-0", r"record\.json holds no complete results: run 'lr-0\.1_seeds-0' is there twice"),
    ],
)
def test_the_same_run_twice_in_one_file_is_refused(tmp_path, name, message):
    plan = json.loads((sweep(tmp_path, {0.1: [2.0, 3.0]}) / "sweep.json").read_text())
    made = {run: json.loads((tmp_path / run / "results.json").read_text()) for run in plan["runs"]}
    runs = [{"run": run, "given": given} | made[run] for run, given in plan.pop("runs").items()]
    results.write_json(tmp_path / "record.json", {"settings": plan, "runs": runs})
    assert [row.values for row in rows_of(read_records([tmp_path / "record.json"]))] == [[2.0, 3.0]]
    results.write_json(tmp_path / "record.json", {"settings": plan, "runs": [*runs, runs[0] | {"run": name}]})
    with pytest.raises(ValueError, match=message):
        rows_of(read_records([tmp_path / "record.json"]))


def test_runs_are_found_below_a_folder_and_what_is_not_complete_is_left_out(tmp_path):
    sweep(tmp_path / "one", {0.1: [1.0, 2.0]})
    result = tmp_path / "one" / "lr-0.1_seeds-1" / "results.json"
    result.write_text(json.dumps(json.loads(result.read_text()) | {"seconds": None}))
    put(tmp_path / "04_obs" / "smoke" / "results.json", Headline("fails", 3), notebook="04_obs")
    rows = rows_of(read_records([tmp_path]))
    assert [(row.notebook, row.values) for row in rows] == [("02_snip", [1.0]), ("04_obs", [3])]
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="empty holds no complete results"):
        read_records([tmp_path / "empty"])


@pytest.mark.parametrize(
    "text", ["{", "[]", "3", '{"settings": {}}', '{"settings": 3}', '{"settings": {"seed_parameter": ""}}']
)
def test_a_file_that_holds_no_results_is_refused_by_name(tmp_path, text):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(ValueError, match=r"a\.json holds no complete results"):
        read_records([tmp_path / "a.json"])


def test_settings_and_plans_that_are_wrong_are_refused_in_one_line_that_says_where(tmp_path):
    settings = {"notebook": 2, "seed_parameter": "seeds", "expected": []}
    results.write_json(tmp_path / "record.json", {"settings": settings, "runs": []})
    with pytest.raises(ValueError) as caught:
        read_records([tmp_path / "record.json"])
    place = f"{tmp_path / 'record.json'} holds no complete results"
    assert str(caught.value) == f"{place}: notebook Input should be a valid string"
    (tmp_path / "sweep.json").write_text("{")
    with pytest.raises(ValueError, match=r"sweep\.json is no plan of a sweep: Invalid JSON: [^\n]*$"):
        read_records([tmp_path])


class Reader(HTMLParser):
    """Collects the texts of cells, links and tags of a page."""

    def __init__(self, text):
        super().__init__()
        self.cells, self.links, self.tags, self.open = [], [], [], False
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.links += [value for name, value in attributes if name == "href"]
        if tag == "td":
            self.cells.append("")
        self.open = tag == "td" or (self.open and tag == "a")

    def handle_endtag(self, tag):
        self.open = self.open and tag != "td"

    def handle_data(self, data):
        if self.open:
            self.cells[-1] += data


def test_html_shows_any_text_letter_by_letter_and_links_relative_to_the_page(tmp_path):
    path = put(tmp_path / "a b" / "results.json", Headline(NASTY, 2.5, "<s>", 2.0, NASTY))
    (tmp_path / "a b" / "02_snip.ipynb").touch()
    (tmp_path / "page").mkdir()
    text = render(rows_of(read_records([path])), "html", tmp_path / "page")
    reader = Reader(text)
    assert reader.cells == ["02_snip", NASTY, NASTY, "2 <s>", "2.5 <s>", "1", "different setting", "run"]
    assert reader.links == ["../a%20b/02_snip.ipynb"]
    assert "i" not in reader.tags and "s" not in reader.tags
    assert text.count('<th scope="col">') == text.count("<th>") + text.count("<th ") == 8


def test_markdown_keeps_any_text_within_its_cell(tmp_path):
    path = put(tmp_path / "a.json", Headline(NASTY, 2.5, "", 2.0, ""))
    line = render(rows_of(read_records([path])), "markdown", tmp_path).split("\n")[2]
    assert line.replace("\\|", "").count("|") == 9
    assert "a\\|b &lt;i&gt;\\*c\\*&lt;/i&gt; &amp; \"d\", 'e' \\[f\\](g) $x$" in line


def test_csv_has_numbers_in_full(tmp_path):
    values = [1 / 3, 2 / 3]
    rows = rows_of(read_records([sweep(tmp_path, {0.1: values}, [expectation(0.5)])]))
    (row,) = csv.DictReader(render(rows, "csv", tmp_path).splitlines())
    assert float(row["mean"]) == statistics.fmean(values)
    assert float(row["sd"]) == statistics.stdev(values)
    assert (row["paper"], row["n"], row["unit"], row["tolerance"]) == ("1.6", "2", "%", "0.5")
    assert (row["verdict"], row["runs"].split()[1]) == ("not reached", "lr-0.1_seeds-1/02_snip.html")


def test_below_the_table_stand_the_rule_and_what_the_numbers_were_made_with(tmp_path):
    text = render(rows_of(read_records([sweep(tmp_path, {0.1: [1.0, 2.0]})])), "markdown", tmp_path)
    assert "no further from its number than the tolerance" in text
    assert "- 02\\_snip: 2 runs, 3.0 min in all; on cpu, 1 thread; Python 3." in text


def test_the_command_writes_any_format_into_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sweep(tmp_path / "runs" / "one", {0.1: [1.0]})
    invoke = CliRunner().invoke
    assert "runs/one/lr-0.1\\_seeds" not in invoke(main, ["table", "runs/one"]).stdout  # an address is no text
    assert "(runs/one/lr-0.1_seeds-0/02_snip.html)" in invoke(main, ["table", "runs/one"]).stdout
    answer = invoke(main, ["table", "runs/one", "--format", "html", "--out", "runs/table.html"])
    assert (answer.exit_code, answer.output) == (0, "")
    assert 'href="one/lr-0.1_seeds-0/02_snip.html"' in Path("runs/table.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "a folder or file with results is missing"),
        (["--page", "--format", "csv"], "--page takes nothing else"),
        (["file.json"], "file.json holds no complete results"),
        (["good.json", "--out", "file.json/x.md"], "out is 'file.json/x.md', must be a file that can be written"),
    ],
)
def test_wrong_input_is_refused(tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    Path("file.json").write_text("{}")
    put(Path("good.json"), Headline("a", 1))
    answer = CliRunner().invoke(main, ["table", *arguments])
    assert (answer.exit_code, answer.stderr.count("\n")) == (2, 1)
    assert message in answer.stderr
