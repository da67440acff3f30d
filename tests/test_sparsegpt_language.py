"""benchmarks/sparsegpt_language.py with a tiny GPT."""

import importlib.util
import json
import sys

import pytest
import torch

from pruning_lib.files import CHECKOUT
from pruning_lib.reproduction import measured
from pruning_lib.workbench import language, text

SCRIPT = CHECKOUT / "benchmarks" / "sparsegpt_language.py"


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(SCRIPT.parent)  # it imports sparsegpt_hub
    spec = importlib.util.spec_from_file_location("sparsegpt_language", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def sweep(script, monkeypatch):
    torch.manual_seed(0)
    tiny = language.GPT(language.Config(width=16, depth=2, heads=2, context=16)).eval()
    drawn = torch.randint(256, (400,), generator=torch.Generator().manual_seed(1))
    monkeypatch.setattr(script, "material", lambda: (tiny, text.Text("drawn", drawn[:300], drawn[300:]), {}))
    monkeypatch.setattr(script, "CALIBRATION", {"segments": 4, "length": 16, "batch": 2, "seed": 0})
    monkeypatch.setattr(script, "PATTERNS", {name: script.PATTERNS[name] for name in ("70 %", "2:4")})
    return script


def run(sweep, monkeypatch, out, *more):
    monkeypatch.setattr(sys, "argv", [SCRIPT.name, "--out", str(out), *more])
    sweep.main()
    return json.loads(out.read_text(encoding="utf-8"))["runs"]


def test_started_again_it_makes_the_missing_runs_only(sweep, monkeypatch, tmp_path):
    out, pruned, made = tmp_path / "05.json", sweep.pruned, []
    monkeypatch.setattr(
        sweep, "pruned", lambda dense, method, *more: made.append(method) or pruned(dense, method, *more)
    )
    every = sweep.cases([])
    monkeypatch.setattr(sweep, "cases", lambda draws: every[:3])
    first = run(sweep, monkeypatch, out)
    monkeypatch.setattr(sweep, "cases", lambda draws: every[:2] + every[-2:] + every[2:4])
    runs = run(sweep, monkeypatch, out)
    assert runs[: len(first)] == first and made == [method for _, _, method in every[:3] + every[-2:] + every[3:4]]
    assert [(each["pattern"], each["method"]) for each in runs[-3:-1]] == [("70 %", method) for method in sweep.BLOCK_8]


def test_a_method_is_made_again(sweep, monkeypatch, tmp_path):
    out, made = tmp_path / "05.json", []
    every, pruned = [(0, "70 %", method) for method in ("magnitude", "sparsegpt+refit")], sweep.pruned
    monkeypatch.setattr(sweep, "cases", lambda draws: every)
    first = run(sweep, monkeypatch, out)
    monkeypatch.setattr(
        sweep, "pruned", lambda dense, method, *more: made.append(method) or pruned(dense, method, *more)
    )
    runs = run(sweep, monkeypatch, out, "--again", "sparsegpt+refit")
    assert made == ["sparsegpt+refit"] and runs[:-1] == first[:-1] and runs[-1]["method"] == first[-1]["method"]


def test_draws_differ_and_say_which_they_are(sweep, monkeypatch, tmp_path):
    every = [(draw, "70 %", "sparsegpt, block 8") for draw in (1, 2)]
    monkeypatch.setattr(sweep, "cases", lambda draws: every)
    _, one, other = run(sweep, monkeypatch, tmp_path / "05.json", "--draws", "1", "2")
    assert (one["draw"], other["draw"]) == (1, 2) and one["perplexity"] != other["perplexity"]


def test_blocks_of_8_where_the_mask_is_free_and_draws_of_their_own(sweep):
    cases = sweep.cases([])
    assert {case[1] for case in cases if case[2] in sweep.BLOCK_8} == {"70 %"}  # of n:m the block is the group
    assert len(cases) == len(set(cases)) and {draw for draw, *_ in cases} == {0}
    assert {(draw, pattern) for draw, pattern, _ in sweep.cases([1, 2])} == {(1, "70 %"), (2, "70 %")}


def test_the_record_holds_the_cases(script):
    runs = measured.read_record("05_language.json")["runs"]
    assert {(0, run["pattern"], run["method"]) for run in runs} == {(0, "dense", "dense"), *script.cases([])}
    assert not any(run["dirty"] for run in runs)
