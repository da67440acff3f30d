"""benchmarks/sparsegpt_hub.py on a tiny OPT in a folder; nothing is downloaded."""

import copy
import importlib.util
import json
import math
import os
import sys

import pytest
import torch
from tiny_language import CONTEXT, WORDS, save_tiny

from pruning_lib.after_training import wanda
from pruning_lib.files import CHECKOUT
from pruning_lib.workbench import huggingface

transformers = pytest.importorskip("transformers", reason="transformers is not installed (extra llm)")

# The embeddings of the tiny model are half as wide as its layers, so the first inputs span half of the columns only.
pytestmark = pytest.mark.filterwarnings("ignore:.*hessian has no Cholesky factor")

SCRIPT = CHECKOUT / "benchmarks" / "sparsegpt_hub.py"
METHODS = ("magnitude", "wanda", "sparsegpt", "sparsegpt+refit", "wanda+refit", "magnitude+refit", "swaps")
CASES = [("dense", "dense")] + [(pattern, method) for method in METHODS for pattern in ("50 %", "2:4", "4:8")]


@pytest.fixture
def bench():
    spec = importlib.util.spec_from_file_location("sparsegpt_hub", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A tiny OPT drawn at random, its tokenizer of words w0 … w49, and a text of them."""
    place = tmp_path_factory.mktemp("opt")
    config = transformers.OPTConfig(
        vocab_size=WORDS,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        ffn_dim=48,
        word_embed_proj_dim=16,
        max_position_embeddings=CONTEXT,
    )
    return save_tiny(place, config)


@pytest.fixture
def arguments(folder, tmp_path):
    text, out = folder / "text.txt", tmp_path / "05_opt.json"
    return ["--model", str(folder), "--text", str(text), "--segments", "6", "--threads", "1", "--out", str(out)]


def recorded(arguments):
    with open(arguments[arguments.index("--out") + 1], encoding="utf-8") as file:
        return json.load(file)


def refusal(bench, arguments):
    """What is said, in one line, before the program ends."""
    with pytest.raises(SystemExit) as end:
        bench.main(arguments)
    assert isinstance(end.value.code, str) and "\n" not in end.value.code
    return end.value.code


def test_every_case_is_measured_on_the_second_half_of_the_text(bench, folder, arguments, capsys):
    bench.main(arguments)
    record = recorded(arguments)
    runs = {(run["pattern"], run["method"]): run for run in record["runs"]}
    assert list(runs) == CASES
    assert {run["sparsity"] for key, run in runs.items() if key[0] != "dense"} == {0.5}
    assert len({run["perplexity"] for run in runs.values()}) == len(CASES)
    assert {"versions", "commit", "date", "device"} <= record.keys()

    model, tokenizer = huggingface.load(folder)
    text = (folder / "text.txt").read_text()
    beginning, end = text[: len(text) // 2], text[len(text) // 2 :]
    calibration = huggingface.calibration(tokenizer, [beginning], 6, CONTEXT, progress=False)
    assert runs["50 %", "wanda"]["calibration_sha256"] == bench.digest(calibration)
    dense = huggingface.wikitext_perplexity(model, tokenizer, end, progress=False)
    assert runs["dense", "dense"]["perplexity"] == pytest.approx(dense, rel=1e-6)
    with torch.no_grad():
        for name in huggingface.layers(model):
            weight = model.get_submodule(name).weight  # half of each layer goes, embeddings and head stay
            weight[weight.abs() < weight.abs().flatten().sort().values[weight.numel() // 2]] = 0
    magnitude = huggingface.wikitext_perplexity(model, tokenizer, end, progress=False)
    assert runs["50 %", "magnitude"]["perplexity"] == pytest.approx(magnitude, rel=1e-6)
    for key, run in runs.items():
        assert run["continued"].startswith("w") and run["processor_seconds"] >= 0
        assert key[0] == "dense" or (len(run["layer_errors"]) == 12 and 0 < run["pruning"]["seconds"] <= run["seconds"])

    shown = capsys.readouterr()
    assert f"perplexity {runs['2:4', 'sparsegpt']['perplexity']:.2f}, " in shown.out and "paper" not in shown.out
    assert "22 of 22: 4:8 swaps" in shown.err


def test_controls_of_the_mask_keep_the_same_number_in_each_row(bench):
    weight = torch.randn(6, 8, generator=torch.Generator().manual_seed(0))
    _, magnitude = bench.magnitude_per_row(weight, torch.eye(8), sparsity=0.75)
    assert torch.equal(magnitude, weight.abs() >= weight.abs().topk(2).values[:, -1:])
    found, drawn = bench.at_random(weight, torch.eye(8), sparsity=0.75)
    assert drawn.sum(1).tolist() == [2] * 6 and torch.equal(found, weight * drawn)
    assert torch.equal(drawn, bench.at_random(weight, torch.eye(8), sparsity=0.75)[1])
    assert not torch.equal(drawn, bench.at_random(weight + 1, torch.eye(8), sparsity=0.75)[1])
    assert not torch.equal(drawn, magnitude)
    for choose in (bench.magnitude_per_row, bench.at_random):
        _, keep = choose(weight, torch.eye(8), n_m=(2, 4))
        assert (keep.view(6, 2, 4).sum(2) == 2).all()


def test_what_needs_no_data_is_run_once_and_with_a_refit_for_every_seed(bench, arguments):
    chosen = ["magnitude per row", "random", "random+refit"]
    bench.main([*arguments, "--sparsity", "0.5", "--n-m", "--seeds", "0", "1", "--only", *chosen])
    made = [(run["method"], run["seed"]) for run in recorded(arguments)["runs"]]
    assert made == [("dense", 0), *((name, 0) for name in chosen), ("random+refit", 1)]


def inputs_of(model, names, batches):
    """What each layer gets, batch by batch."""
    probe, seen = copy.deepcopy(model), {name: [] for name in names}
    for name in names:
        probe.get_submodule(name).register_forward_pre_hook(lambda _, args, into=seen[name]: into.append(args[0]))
    with torch.no_grad():
        for batch in batches:
            probe(batch)
    return seen


def test_layer_errors_are_those_on_the_layers_own_inputs(bench, folder, arguments):
    """The second block's inputs come from the first one as it is pruned, or from the dense one."""
    bench.main([*arguments, "--n-m", "--only", "wanda", "sparsegpt", "--dense-inputs", "50%"])
    record = recorded(arguments)
    runs = {(run["method"], run["inputs"]): run for run in record["runs"]}
    own = [("dense", "own"), ("wanda", "own"), ("sparsegpt", "own")]
    assert list(runs) == [*own, ("wanda", "dense"), ("sparsegpt", "dense")]
    model, tokenizer = huggingface.load(folder)
    names = huggingface.layers(model)
    assert record["settings"]["layers"] == names
    text = (folder / "text.txt").read_text()
    batches = huggingface.calibration(tokenizer, [text[: len(text) // 2]], 6, CONTEXT, progress=False)
    walked = copy.deepcopy(model)
    wanda.prune_model(walked, batches, sparsity=0.5, layers=names, progress=False)
    for inputs, source in (("own", walked), ("dense", model)):
        seen = inputs_of(source, names, batches)
        for name, recorded_error in zip(names, runs["wanda", inputs]["layer_errors"], strict=True):
            # In a block all layers are calibrated before one is pruned: only its first ones see what `walked` computes.
            if inputs == "own" and name.split(".")[-1] not in ("q_proj", "k_proj", "v_proj"):
                continue
            X = torch.cat([part.flatten(0, -2) for part in seen[name]]).double()
            W = model.get_submodule(name).weight.double()
            hessian = (2 / len(X)) * X.T @ X
            pruned, _ = wanda.prune_weight(W, hessian, sparsity=0.5)
            expected = ((W - pruned) @ X.T).square().sum() / (W @ X.T).square().sum()
            assert recorded_error == pytest.approx(expected.item(), rel=2e-3)
    assert runs["sparsegpt", "dense"]["layer_errors"] != runs["sparsegpt", "own"]["layer_errors"]
    assert sum(runs["sparsegpt", "dense"]["layer_errors"]) < sum(runs["wanda", "dense"]["layer_errors"])


def test_bits_per_byte_are_of_the_bytes_that_are_predicted(bench, folder, arguments):
    bench.main([*arguments, "--n-m", "--sparsity", "--measured", "5"])
    record = recorded(arguments)
    (run,) = record["runs"]
    model, tokenizer = huggingface.load(folder)
    text = (folder / "text.txt").read_text()
    words = text[len(text) // 2 :].split()
    assert len(words) >= 31 * CONTEXT
    rows = [words[start * CONTEXT : (start + 1) * CONTEXT] for start in (0, 6, 12, 18, 24)]  # of 31
    size = sum(len(" ".join(["", *row[1:]]).encode()) for row in rows)
    assert record["settings"]["measured"]["bytes"] == size
    assert record["settings"]["measured"]["tokens"] == 5 * (CONTEXT - 1)
    nats = 0.0
    for row in rows:
        ids = torch.tensor([tokenizer(" ".join(row))["input_ids"]])
        nats += model(input_ids=ids, labels=ids).loss.item() * (CONTEXT - 1)
    assert run["bits_per_byte"] == pytest.approx(nats / math.log(2) / size, rel=1e-5)
    assert run["perplexity"] == pytest.approx(math.exp(nats / (5 * (CONTEXT - 1))), rel=1e-5)


def test_seeds_counts_and_texts_come_in_an_order_that_leaves_whole_pictures(bench, arguments, tmp_path):
    other = tmp_path / "other.txt"
    other.write_text(" ".join(f"w{i % 7}" for i in range(100)))
    arguments += ["--n-m", "--only", "magnitude", "sparsegpt", "--seeds", "3", "4"]
    bench.main([*arguments, "--counts", "2", "6", "--calibrate-on", "topics", str(other)])
    runs = recorded(arguments)["runs"]
    first = [("dense", 0, 0, bench.START), ("magnitude", 3, 6, bench.START), ("sparsegpt", 3, 6, bench.START)]
    besides = [("sparsegpt", 3, 6, "topics"), ("sparsegpt", 3, 6, "other.txt"), ("sparsegpt", 3, 2, bench.START)]
    found = [(run["method"], run["seed"], run["segments"], run["calibrated_on"]) for run in runs]
    assert found == first + besides + [("sparsegpt", 4, 6, bench.START)]  # magnitude needs no data
    assert len({run["perplexity"] for run in runs}) == len(runs)


def test_processes_share_the_work_and_their_records_are_joined(bench, arguments, tmp_path, monkeypatch):
    arguments += ["--n-m", "--only", "sparsegpt"]
    theirs = [*arguments, "--out", str(tmp_path / "theirs.json")]
    bench.main([*theirs, "--seeds", "1"])
    bench.main(arguments)
    own = recorded(arguments)["runs"]
    monkeypatch.setattr(bench, "pruned", None)
    everything = ["--seeds", "0", "1", "--add", str(tmp_path / "theirs.json")]
    bench.main([*arguments, *everything])
    assert recorded(arguments)["runs"] == [*own, json.loads((tmp_path / "theirs.json").read_text())["runs"][1]]
    assert "must be a record: there is none" in refusal(bench, [*arguments, "--add", str(tmp_path / "no.json")])


def test_an_interrupted_run_goes_on_and_repeats_nothing(bench, arguments, monkeypatch, capsys):
    made, whole = [], bench.pruned

    def counted(dense, method, target, batches):
        if len(made) == 3:
            raise KeyboardInterrupt
        made.append((method, *target.values()))
        return whole(dense, method, target, batches)

    with monkeypatch.context() as change:
        change.setattr(bench, "pruned", counted)
        with pytest.raises(KeyboardInterrupt):
            bench.main(arguments)
    before = recorded(arguments)["runs"]
    assert [(run["pattern"], run["method"]) for run in before] == CASES[:4]
    capsys.readouterr()
    bench.main(arguments)
    after = recorded(arguments)["runs"]
    assert after[:4] == before and [(run["pattern"], run["method"]) for run in after] == CASES
    assert capsys.readouterr().err.count(" of 22: ") == 18
    monkeypatch.setattr(bench, "pruned", None)  # nothing is left to prune
    bench.main(arguments)
    assert recorded(arguments)["runs"] == after
    assert "must be" in refusal(bench, [*arguments, "--context", "8"])  # other settings, same file
    assert recorded(arguments)["runs"] == after


@pytest.mark.parametrize(("segments", "beside"), [(128, True), (8, False)])
def test_the_papers_numbers_stand_beside_its_own_setting_only(
    bench, folder, tmp_path, monkeypatch, capsys, segments, beside
):
    tiny = huggingface.load(folder)
    monkeypatch.setattr(huggingface, "load", lambda name, dtype, device: tiny)
    text = (folder / "text.txt").read_text()
    monkeypatch.setattr(huggingface, "c4", lambda: [text])
    monkeypatch.setattr(huggingface, "wikitext", lambda: text)
    monkeypatch.setitem(sys.modules, "datasets", sys)  # any module: it is only asked whether it is there
    monkeypatch.setattr(huggingface, "PAPER_CONTEXT", CONTEXT)
    arguments = ["--n-m", "--segments", str(segments), "--out", str(tmp_path / "out.json")]
    bench.main(arguments)
    record = recorded(arguments)
    assert record["settings"]["model"] == "facebook/opt-125m"
    paper = [27.66, 193, None, 36.85, None, None, None, None] if beside else [None] * 8
    assert [run["paper"] and run["paper"]["value"] for run in record["runs"]] == paper
    assert ("paper 36.85 [R]" in capsys.readouterr().out) == beside


@pytest.mark.parametrize(
    ("model", "pattern", "method", "value"),
    [
        ("facebook/opt-2.7b", "4:8", "sparsegpt", 14.98),
        ("facebook/opt-6.7b", "2:4", "sparsegpt", 14.20),
        ("facebook/opt-1.3b", "50 %", "magnitude", 1.7e4),
    ],
)
def test_the_papers_numbers_are_found_by_model_and_pattern(bench, model, pattern, method, value):
    assert bench.paper_value(model, pattern, method) == {
        "value": value, "unit": "perplexity", "source": "Frantar and Alistarh 2023", "mark": "R",
    }  # fmt: skip


def test_without_a_network_one_line_says_so(bench, arguments, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    message = refusal(bench, [*arguments, "--model", "nobody/no-such-model"])
    assert message.startswith("OSError: ") and "offline" in message
    assert not os.path.exists(arguments[-1])


@pytest.mark.parametrize("package", ["transformers", "datasets"])
def test_without_the_extra_one_line_says_how_to_get_it(bench, package, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "datasets", sys)
    monkeypatch.setitem(sys.modules, package, None)  # as if it were not installed
    message = refusal(bench, ["--out", str(tmp_path / "out.json")])
    assert message.startswith(f"{package} is not installed") and message.endswith("pip install -e .[llm]")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (["--n-m", "2:x"], "n-m is '2:x', must be two whole numbers"),
        (["--n-m", "2:4:8"], "n-m is '2:4:8', must be two whole numbers"),
        (["--n-m", "5:4"], r"n_m is (5, 4), must be"),
        (["--sparsity", "nan"], "sparsity is nan, must be a number in [0, 1]"),
        (["--segments", "0"], "segments is 0, must be at least 1"),
        (["--counts", "4", "0"], "counts is 0, must be at least 1"),
        (["--threads", "0"], "threads is 0, must be at least 1"),
        (["--measured", "0"], "measured is 0, must be at least 1 and at most 31"),
        (["--measured", "32"], "measured is 32, must be at least 1 and at most 31"),
        (["--context", "1"], "context is 1, must be at least 2 and at most 16"),
        (["--context", "17"], "context is 17, must be at least 2 and at most 16"),
        (["--dense-inputs", "60%"], "dense-inputs is '60 %', must be one of '50 %', '2:4', '4:8'"),
        (["--text", "no-such-file.txt"], "No such file or directory: 'no-such-file.txt'"),
    ],
)
def test_bad_input_is_refused(bench, arguments, wrong, message):
    assert message in refusal(bench, [*arguments, *wrong])
    assert not os.path.exists(arguments[arguments.index("--out") + 1])


def test_texts_that_cannot_be_used_are_refused_before_anything_is_made(bench, arguments, tmp_path):
    place, text = arguments.index("--text") + 1, tmp_path / "text.txt"
    arguments[place] = str(text)
    text.write_text("w1 w2 w3")
    assert "text to calibrate on (its start) has 2 tokens, must have context = 16" in refusal(bench, arguments)
    text.write_text(f"w1{' ' * 200}" + " ".join("w2" for _ in range(40)))  # the words are in the second half
    assert "text to calibrate on (its start) has" in refusal(bench, arguments)
    text.write_text(" ".join("w2" for _ in range(40)) + " " * 200 + "w1")
    assert "text to measure on has" in refusal(bench, arguments)
    text.write_bytes("w1 déjà".encode("latin-1"))
    assert f"text {str(text)!r} has byte 0xe9 at 4, must be UTF-8: convert it first" in refusal(bench, arguments)
    text.write_text("w1 w2", encoding="utf-16")
    assert "has byte 0xff at 0, must be UTF-8" in refusal(bench, arguments)
    other = tmp_path / "other.txt"
    other.write_text("w1 w2")
    text.write_text(" ".join("w2" for _ in range(80)))
    message = refusal(bench, [*arguments, "--calibrate-on", str(other)])
    assert "text to calibrate on (other.txt) has 2 tokens" in message
    assert not os.path.exists(arguments[-1])
