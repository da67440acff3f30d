import json
import re
import statistics

import pytest

from pruning_lib.files import CHECKOUT
from pruning_lib.reproduction.results import Headline, write
from pruning_lib.reproduction.table import PLACE, readme_table, renew, renewed

README = CHECKOUT / "README.md"


@pytest.fixture
def readme(tmp_path):
    """A README with a place for two files."""
    entries = [Headline("error", 2.0, "%", 1.6), Headline("speed", 3.0)]
    for name in ("a", "b"):
        write(tmp_path / "made" / f"{name}.json", f"0{name}", {}, entries, seconds=1.0)
    path = tmp_path / "README.md"
    path.write_text("before\n<!-- results: made/a.json made/b.json -->\nold\n<!-- end of results -->\nafter\n")
    return path


def test_the_table_stands_between_its_comments_and_nothing_else_changes(readme):
    renew(readme)
    text = readme.read_text(encoding="utf-8")
    assert text.startswith("before\n<!-- results: made/a.json made/b.json -->\n| notebook |")
    assert text.endswith("\n<!-- end of results -->\nafter\n")
    assert "| 0a | error |  | 1.6 % | 2 % | 1 | different setting | [run](made/a.json) |" in text
    assert "old" not in text and "speed" not in text
    renew(readme)
    assert readme.read_text(encoding="utf-8") == text
    assert readme_table([readme.parent / "made" / "a.json"], readme.parent).count("[run]") == 1


@pytest.mark.parametrize("count", [0, 2])
def test_there_must_be_one_place(readme, count):
    readme.write_text(count * readme.read_text())
    with pytest.raises(ValueError, match=f"has {count} places for the results, must have one: <!-- results: FILE"):
        renewed(readme)


def test_readme_holds_no_placeholder():
    assert re.findall("@[A-Z]+@", README.read_text(encoding="utf-8")) == []


def test_readme_is_up_to_date_and_every_number_is_in_a_committed_file():
    text = README.read_text(encoding="utf-8")
    assert renewed(README) == text, "python -m pruning_lib table --readme"
    files = [CHECKOUT / name for name in PLACE.search(text)[2].split()]
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
    rows = [line.split(" | ") for line in PLACE.search(text)[0].split("\n") if line.startswith("| 0")]
    assert rows
    for row in rows:
        for number in re.findall(r"-?\d[\d.e+-]*", f"{row[3]} {row[4]}"):
            assert number in known, f"{number} of {' | '.join(row)}"
