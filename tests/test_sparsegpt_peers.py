"""benchmarks/sparsegpt_peers.py beside a stand-in for llm-compressor: nothing of it is needed."""

import importlib.util
import json
import sys

import pytest
import torch
from textbook_sparsegpt import prune_weight

from pruning_lib.files import CHECKOUT

pytest.importorskip("transformers", reason="transformers is not installed (extra llm)")

BENCHMARKS = CHECKOUT / "benchmarks"
FILE = "modifiers/pruning/sparsegpt/sgpt_sparsify.py"
STAND_IN = f"""
import sys
sys.path.append({str(BENCHMARKS / "baselines")!r})
from textbook_sparsegpt import prune_weight

def sparsify_weight(module, hessians, sparsity, prune_n, prune_m, block_size, dampening_frac, preserve_sparsity_mask):
    H = hessians.pop(module)
    assert sys.getrefcount(H) == 2 and not hessians and not preserve_sparsity_mask  # handed over: none but H holds it
    target = {{"n_m": (prune_m - prune_n, prune_m)}} if prune_n else {{"sparsity": sparsity}}
    spare = H.new_ones(10, *H.shape)
    pruned, _ = prune_weight(module.weight, H, **target, block=block_size, damping=dampening_frac)
    H.fill_(float("nan"))  # as llm-compressor, which overwrites it
    return 0.0, pruned
"""


@pytest.fixture
def peer(tmp_path, monkeypatch):
    """The folder of the stand-in's package, which is on the path."""
    site = tmp_path / "site"
    file = site / "llmcompressor" / FILE
    file.parent.mkdir(parents=True)
    file.write_text(STAND_IN)
    (site / "llmcompressor" / "__init__.py").write_text("raise ImportError('what it requires is not there')")
    (site / "loguru.py").write_text("")
    (site / "llmcompressor-0.14.0.dist-info").mkdir()
    metadata = "Metadata-Version: 2.1\nName: llmcompressor\nVersion: 0.14.0\n"
    (site / "llmcompressor-0.14.0.dist-info" / "METADATA").write_text(metadata)
    monkeypatch.syspath_prepend(site)
    monkeypatch.setenv("PYTHONPATH", str(site), prepend=":")
    return site / "llmcompressor"


@pytest.fixture
def bench(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    spec = importlib.util.spec_from_file_location("sparsegpt_peers", BENCHMARKS / "sparsegpt_peers.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "in_a_process", lambda *command: [2.5e6, 1e6])
    return module


@pytest.fixture
def arguments(tmp_path):
    return ["--sizes", "24x16", "8x32", "--rounds", "2", "--out", str(tmp_path / "05_peers.json")]


def recorded(arguments):
    with open(arguments[-1], encoding="utf-8") as file:
        return json.load(file)


def refusal(bench, arguments):
    with pytest.raises(SystemExit) as end:
        bench.main(arguments)
    assert isinstance(end.value.code, str) and "\n" not in end.value.code
    return end.value.code


def test_both_prune_the_same_layers(peer, bench, arguments, monkeypatch, capsys):
    monkeypatch.setitem(bench.GOALS, "1:4", {"n_m": (1, 4)})
    bench.main(arguments)
    record = recorded(arguments)
    assert record["settings"]["peer"] == "llmcompressor 0.14.0" and record["threads"] == 1
    cases = [((run["rows"], run["columns"]), run["goal"]) for run in record["runs"]]
    assert cases == [(shape, goal) for shape in ((24, 16), (8, 32)) for goal in ("50 %", "2:4", "1:4")]
    for run in record["runs"]:
        W, H = bench.layer(run["rows"], run["columns"])
        pruned, keep = prune_weight(W, H, **bench.GOALS[run["goal"]])
        D, W, H = (part.double() for part in (W - pruned, W, H))
        expected = ((D @ H * D).sum() / (W @ H * W).sum()).item()
        assert run["errors"] == pytest.approx({"ours": expected, "theirs": expected}, rel=1e-5)
        assert run["zeros"] == dict.fromkeys(("ours", "theirs"), int((~keep).sum())) and run["same_mask"] == 1
        assert min(run["processor_seconds"].values()) > 0
        assert run["ratios"][0] <= run["ratio"] <= run["ratios"][1]
        assert run["peak"] == ({"ours": 2.5, "theirs": 2.5} if sys.platform == "linux" else None)
    assert capsys.readouterr().out.count("masks 100.000% the same") == 6


def test_layers_of_a_language_model_come_with_a_text(peer, bench, arguments, tmp_path, monkeypatch):
    text, asked = tmp_path / "text.txt", []

    def hessians(*what):
        asked.append(what)
        return {"q_proj": bench.layer(8, 16)}

    monkeypatch.setattr(bench, "hessians", hessians)
    arguments = ["--text", str(text), "--sizes", "--rounds", "1", *arguments[-2:]]
    text.write_text("one")
    bench.main(arguments)
    bench.main(arguments)
    runs = recorded(arguments)["runs"]
    assert [(run["layer"], run["goal"]) for run in runs] == [("q_proj", "50 %"), ("q_proj", "2:4")]
    assert asked[0] == ("smollm2", bench.LAYERS, "one", 16, 512)
    text.write_text("another")  # other calibration data are another case
    bench.main(arguments)
    assert recorded(arguments)["runs"][:2] == runs and len(recorded(arguments)["runs"]) == 4


def test_an_interrupted_run_goes_on_and_repeats_nothing(peer, bench, arguments, monkeypatch):
    whole, made = bench.compared, []

    def counted(both, weight, hessian, goal, rounds):
        if len(made) == 3:
            raise KeyboardInterrupt
        made.append(goal)
        return whole(both, weight, hessian, goal, rounds)

    with monkeypatch.context() as change:
        change.setattr(bench, "compared", counted)
        with pytest.raises(KeyboardInterrupt):
            bench.main(arguments)
    before = recorded(arguments)["runs"]
    assert len(before) == 3
    bench.main(arguments)
    after = recorded(arguments)["runs"]
    assert after[:3] == before and len(after) == 4
    monkeypatch.setattr(bench, "compared", None)  # nothing is left to prune
    bench.main(arguments)
    assert recorded(arguments)["runs"] == after
    assert "holds runs with settings" in refusal(bench, ["--rounds", "3", *arguments[-2:]])


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_peak_is_that_of_the_method_asked_for(peer, bench):
    from sparsegpt import in_a_process

    command = str(BENCHMARKS / "sparsegpt_peers.py"), "--peak-of", "64x512", "2:4", "theirs"
    peak, least = in_a_process(*command)
    assert least == 4 * 512 * (64 + 512)
    assert 11 < peak / (4 * 512 * 512) < 20  # the stand-in takes ten Hessians besides its own


@pytest.mark.parametrize(
    ("package", "command"),
    [
        ("llmcompressor", "--no-deps --target build/peers llmcompressor loguru (and then PYTHONPATH=build/peers)"),
        ("loguru", "--no-deps --target build/peers llmcompressor loguru (and then PYTHONPATH=build/peers)"),
        ("transformers", "pip install -e .[llm]"),
    ],
)
def test_without_a_package_one_line_says_how_to_get_it(peer, bench, arguments, monkeypatch, capsys, package, command):
    """And `make bench` goes on with the next file."""
    monkeypatch.setitem(sys.modules, package, None)  # as if it were not installed
    bench.main(arguments)
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith(f"{package} is not installed, so nothing is compared: ") and line.endswith(command)
    assert not list(peer.parent.parent.glob("*.json")) and not list(peer.parent.parent.glob(".*.lock"))


def test_another_version_without_the_file_is_refused(peer, bench, arguments):
    (peer / FILE).unlink()
    assert refusal(bench, arguments) == f"llmcompressor 0.14.0 has no {FILE}, must have it, as 0.14 does"


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (["--rounds", "0"], "rounds is 0, must be at least 1"),
        (["--sizes", "8x8", "768"], "sizes has '768', must be rows and columns such as 768x768"),
        (["--sizes", "8x8", "0x8"], "sizes has '0x8', must be rows and columns"),
        (["--sizes", "8x8", "8x6"], "sizes has '8x6', must be rows and columns such as 768x768, columns a multiple"),
        (["--text", "no-such-file.txt"], "No such file or directory: 'no-such-file.txt'"),
        (["--text", sys.executable], "must be UTF-8"),
    ],
)
def test_bad_input_is_refused_before_anything_is_made(peer, bench, arguments, tmp_path, wrong, message):
    out = tmp_path / "05_peers.json"
    assert message in refusal(bench, [*wrong, "--out", str(out)])
    assert not out.exists()


def test_what_is_pruned_stays_as_it_was(peer, bench):
    weight, hessian = bench.layer(8, 16)
    before = weight.clone(), hessian.clone()
    bench.compared(bench.methods(), weight, hessian, "50 %", 2)
    assert torch.equal(weight, before[0]) and torch.equal(hessian, before[1])
