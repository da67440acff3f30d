import json
import re
import statistics

import pytest

from pruning_lib.comparison.advice import advise
from pruning_lib.files import CHECKOUT
from pruning_lib.reproduction import measured, results_page
from pruning_lib.reproduction.gather import Record, Row
from pruning_lib.reproduction.results import Headline, write
from pruning_lib.reproduction.results_page import renew, renewed
from pruning_lib.workbench.language import load_checkpoint
from pruning_lib.workbench.packed_gpt import PackedGPT
from pruning_lib.workbench.text import digest
from pruning_lib.workbench.text import load as load_text

PAGE = results_page.PAGE


@pytest.fixture
def page(tmp_path):
    """A page with a place for two files."""
    entries = [Headline("error", 2.0, "%", 1.6), Headline("speed", 3.0)]
    for name in ("a", "b"):
        write(tmp_path / "made" / f"{name}.json", f"0{name}", {}, entries, seconds=1.0)
    path = tmp_path / "results.md"
    path.write_text("before\n<!-- results: made/a.json made/b.json -->\nold\n<!-- end of results -->\nafter\n")
    return path


def test_tables_stand_between_the_comments_and_nothing_else_changes(page):
    renew(page)
    text = page.read_text(encoding="utf-8")
    assert text.startswith("before\n<!-- results: made/a.json made/b.json -->\n\n## [0a](../notebooks/0a.ipynb)\n")
    assert text.endswith("\n<!-- end of results -->\nafter\n")
    assert "| A | error | 1.6 % | 2 % | 1 | another setting: not compared |" in text
    assert "([run](made/a.json))" in text and "old" not in text and "speed" not in text
    renew(page)
    assert page.read_text(encoding="utf-8") == text
    assert text.count("\n## ") == 2


@pytest.mark.parametrize("count", [0, 2])
def test_there_must_be_one_place(page, count):
    page.write_text(count * page.read_text())
    with pytest.raises(ValueError, match=f"has {count} places for the results, must have one: <!-- results: FILE"):
        renewed(page)


def row(**given):
    known = {
        "notebook": "02",
        "quantity": "error",
        "unit": "%",
        "paper": 1.6,
        "tolerance": 0.3,
        "differs": "",
        "note": "",
    }
    others = [{"name": name, "value": value} for name, value in given.pop("others", [])]
    results = {"device": "cpu", "headline": others}
    record = Record(results, PAGE, {}, 0, {"error": None}, given.pop("late", False), (), given.pop("planned", 1))
    return Row(**known | {"parameters": {}, "values": [1.5], "records": [record]} | given)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "**reproduced**: −0.1 off, 0.3 allowed"),
        ({"late": True}, "**reproduced**: −0.1 off, 0.3 allowed; tolerance set after the runs"),
        ({"values": [2.5]}, "**not reached**: +0.9 off, 0.3 allowed"),
        ({"planned": 3}, "incomplete: 1 of 3 runs"),
        ({"tolerance": None}, "no claim"),
        ({"values": [0.0, 5.0], "tolerance": None}, "no claim; the mean says little: 0, 5"),
        (
            {"against": "dense", "difference": 0.5, "paper_difference": -0.1},
            "**value matched, conclusion not**: −0.1 off, 0.3 allowed, but +0.5 to *dense*, in the paper −0.1",
        ),
        ({"against": "dense", "difference": 0.1, "paper_difference": -0.1}, "**reproduced**: −0.1 off, 0.3 allowed"),
        (
            {"quantity": "test error, dense", "values": [0.5, 89.0, 0.7]},
            "**no verdict**: one of three dense runs did not train (89 %); the sound ones: 0.5, 0.7 %",
        ),
        (
            {
                "against": "test error, dense",
                "difference": -40.0,
                "paper_difference": -0.1,
                "others": [("test error, dense", 90.0), ("test error, dense", 1.0), ("test error", 99.0)],
            },
            "**no verdict**: one of two dense runs did not train (90 %); the sound ones: 1 %",
        ),
        ({"quantity": "test accuracy", "paper": 99.0, "values": [99.0]}, "**reproduced**: +0 off, 0.3 allowed"),
    ],
)
def test_verdicts_in_words(given, words):
    assert results_page.verdict(row(**given)) == words


def test_what_is_the_same_is_said_once(tmp_path):
    files = []
    for name, epochs, note in (("a", 5, "mnist, small"), ("b", 9, "mnist, large")):
        files.append(tmp_path / f"{name}.json")
        write(files[-1], "02_snip", {"epochs": epochs, "lr": 1}, [Headline("error", 2.0, "%", 1.6, note=note)], 1.0)
    lines = results_page.tables(files, tmp_path).split("\n")
    assert "All: mnist." in lines
    assert lines.count("- **A**: small, epochs 5 ([run](a.json))") == 1
    assert lines.count("- **B**: large, epochs 9 ([run](b.json))") == 1
    assert "| A, B | error | 1.6 % | 2 % | 1 | another setting: not compared |" in lines


README = (CHECKOUT / "README.md").read_text(encoding="utf-8")


def results_in_readme():
    table = README.split("## Results, with the misses")[1].split("\n## ")[0]
    return [line.strip("| ").split(" | ")[1:] for line in table.split("\n") if line.startswith("| ")][1:]


def recorded(setting, quantity):
    """Paper, ours, n and verdict of a row of the results page."""
    rows = [line.strip("| ").split(" | ") for line in PAGE.read_text(encoding="utf-8").split("\n")]
    return next(row[2:] for row in rows if row[:2] == [setting, quantity])


def test_snip_in_readme_stands_beside_its_dense_network():
    dense = recorded("A", "test error, dense")
    for row, sparsity in zip(results_in_readme()[:2], ("95%", "98%"), strict=True):
        paper, ours, n, words = recorded("A", f"test error, SNIP at {sparsity}")
        assert row[:3] == [
            f"{dense[0].removesuffix(' %')} → {paper}",
            f"{dense[1].split(' ')[0]} → {ours}",
            "–",
        ]
        assert row[3] == n and words.startswith("**value matched, conclusion not**") and row[4].startswith("no: ")


@pytest.mark.parametrize(("place", "setting"), [(2, "A"), (3, "B"), (4, "C")])
def test_obs_in_readme_is_recorded_as_left_and_retrained(place, setting):
    left, retrained = (
        recorded(setting, f"MONK{place - 1}, test accuracy, obs, {way}, published")
        for way in ("the others follow", "retrained")
    )
    row = results_in_readme()[place]
    assert row[:4] == [left[0], left[1], retrained[1], left[2]] and (left[0], left[2]) == (retrained[0], retrained[2])
    verdicts = {
        (False, True): "only if retrained after each deletion",
        (False, False): "no",
        (True, True): 'yes, if an output of exactly 0 means "no"; 77.8 % if it means "yes"',
    }
    assert row[4] == verdicts["**reproduced**" in left[3], "**reproduced**" in retrained[3]]


def test_what_obs_gives_where_0_means_yes_is_in_the_record():
    found = {
        run["test_right_if_0_is_yes"][-4] / 432
        for run in measured.read_record("04_monks.json")["runs"]
        if (run["cases"], run["problem"], run["select"]) == ("published", 3, "obs") and run["then"] != "stay"
    }
    assert {f"{share:.1%}" for share in found} == {"77.8%"}


def test_minima_in_readme_are_recorded():
    minima = re.findall(r"published training cases, 10 seeds in (\d) minim", PAGE.read_text(encoding="utf-8"))
    assert minima == [row[3] for row in results_in_readme()[2:5]]
    assert f"end in {minima[0]}, {minima[1]} and {minima[2]} minima" in " ".join(README.split())


def smollm2():
    """Perplexity of SmolLM2 by method, dense and with half of its weights, a list of seeds each."""
    runs = json.loads((CHECKOUT / "figures/measured/05_smollm2.json").read_text(encoding="utf-8"))["runs"]
    values = {}
    for run in runs:
        if run["pattern"] in ("dense", "50 %") and run["segments"] in (0, 16) and run["calibrated_on"] == "its start":
            values.setdefault(run["method"], []).append(run["perplexity"])
    return values


def test_smollm2_in_readme_is_recorded():
    values, theirs, methods = smollm2(), measured.paper_values("05b_sparsegpt_model"), ("magnitude", "sparsegpt")
    ours = [statistics.fmean(values[method]) / values["dense"][0] for method in methods]
    paper = [
        theirs[f"OPT-125M, {kind} 50 %"]["value"] / theirs["OPT-125M, dense"]["value"]
        for kind in ("magnitude", "SparseGPT")
    ]
    assert results_in_readme()[5][:4] == [
        f"OPT-125M: {paper[0]:.1f}; {paper[1]:.2f}",
        f"SmolLM2-135M: {ours[0]:.1f}; {ours[1]:.2f}",
        "–",
        "; ".join(str(len(values[method])) for method in methods),
    ]
    dense, pruned = values["dense"][0], statistics.fmean(values["sparsegpt"])
    assert f"{dense:.1f} → {pruned:.1f}, {ours[1]:.2f}-fold (the paper's OPT-125M {paper[1]:.2f}-fold)" in README


def test_the_writer_in_readme_is_recorded():
    model, about = load_checkpoint()
    at70 = {v["method"]: v["perplexity"] for v in PackedGPT.load().about["variants"] if v["sparsity"] in (0.0, 0.7)}
    caption = " ".join(README.split("capture.webp)\n\n")[1].split("\n\n")[0].split())
    assert f"{sum(p.numel() for p in model.parameters()) / 1e6:.1f} million weights, trained on 333 kB" in caption
    dense, magnitude, sparsegpt = (at70[name] for name in ("dense", "magnitude", "sparsegpt"))
    assert f"dense {dense:.2f}, magnitude {magnitude:.1f}, SparseGPT {sparsegpt:.2f}." in caption
    text = load_text(about["text"]).train
    if digest(text) == about["train_sha256"]:  # the manual of another Python is another text
        assert round(len(text) / 1000) == 333


def test_the_advice_in_readme_is_recorded():
    timed, language = (measured.read_record(name) for name in ("07_latency.json", "05_language.json"))
    (seconds,) = (advice for advice in advise(timed, language) if advice.when == "You want seconds on a CPU")
    faster = re.search("90 % removed, times as fast as dense: (.*) for 1 image", seconds.also)[1]
    runs = [run for run in measured.read_record("07_comparison.json")["runs"] if "failed" not in run]

    def of(variant, setting):
        found = [run for run in runs if (run["variant"], run["setting"]) == (variant, setting)]
        size = found[0]["bytes"]["csr"] / found[0]["bytes"]["dense"]
        return f"{100 * statistics.fmean(run['accuracy'] for run in found):.2f}", f"{100 * size:.0f} %"

    (dense, _), (filters, _), (weights, size) = of("dense", 0.0), of("filters", 0.9), of("magnitude", 0.98)
    bert = measured.paper_values("06b_two_four_pays")["BERT, batch 16, speed-up"]["value"]
    for words in (
        f"with 90 % removed: {faster} times as fast for one image, accuracy {dense} → {filters} %",
        f"with 98 % removed: {size} of the bytes, {dense} → {weights} %",
        f"LeNet-5: {dense} → {of('n_of_m', [2, 4])[0]} %; speed, published",
        f"at best {bert:g} times for BERT",
    ):
        assert words in README


def test_all_records_were_made_on_a_cpu():
    assert "all recorded runs are CPU runs" in " ".join(README.split())
    texts = [path.read_text(encoding="utf-8") for path in measured.FOLDER.glob("*.json")]
    assert {device for text in texts for device in re.findall(r'"device": "(\w+)', text)} == {"cpu"}


def test_readme_holds_no_placeholder():
    assert re.findall("@[A-Z]+@|RESULTS", README) == []


def test_page_is_up_to_date_and_every_number_is_in_a_committed_file():
    text = PAGE.read_text(encoding="utf-8")
    assert renewed(PAGE) == text, "python -m pruning_lib table --page"
    files = [PAGE.parent / name for name in results_page.PLACE.search(text)[2].split()]
    known = set()
    for path in files:  # read apart from the code that made the table
        content = json.loads(path.read_text(encoding="utf-8"))
        by_name = {}
        for run in content.get("runs", [content]):
            for entry in run["headline"]:
                known |= {f"{entry[key]:.4g}" for key in ("value", "paper") if entry[key] is not None}
                setting = {name: value for name, value in run.get("given", {}).items() if not name.startswith("seed")}
                of_seeds = entry.get("values") or [entry["value"]]
                by_name.setdefault((entry["name"], json.dumps(setting)), []).extend(of_seeds)
        for values in by_name.values():
            known.add(f"{statistics.fmean(values):.4g}")
            known |= {f"{statistics.stdev(values):.2g}"} if len(values) > 1 else set()
    rows = [line.split(" | ") for line in text.split("\n") if re.match(r"\| [A-Z]", line)]
    assert len(rows) > 20
    for row in rows:
        for number in re.findall(r"-?\d[\d.e+-]*", f"{row[2]} {row[3]}"):
            assert number in known, f"{number} of {' | '.join(row)}"
