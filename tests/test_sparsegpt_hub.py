"""benchmarks/sparsegpt_hub.py on a tiny OPT in a folder; nothing is downloaded."""

import importlib.util
import json
import os
import sys

import pytest
import torch

from pruning_lib.files import CHECKOUT
from pruning_lib.workbench import huggingface

transformers = pytest.importorskip("transformers", reason="transformers is not installed (extra llm)")

SCRIPT = CHECKOUT / "benchmarks" / "sparsegpt_hub.py"
WORDS, CONTEXT = 50, 16
CASES = [("dense", "dense")] + [
    (pattern, method)
    for pattern in ("50 %", "2:4", "4:8")
    for method in ("magnitude", "wanda", "sparsegpt", "sparsegpt+refit")
]


@pytest.fixture
def bench():
    spec = importlib.util.spec_from_file_location("sparsegpt_hub", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A tiny OPT drawn at random, its tokenizer of words w0 … w49, and a text of them."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    place = tmp_path_factory.mktemp("opt")
    torch.manual_seed(0)
    config = transformers.OPTConfig(
        vocab_size=WORDS,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        ffn_dim=48,
        word_embed_proj_dim=16,
        max_position_embeddings=CONTEXT,
    )
    model = transformers.AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(std=0.3)  # so that the model has preferences
    plain = Tokenizer(models.WordLevel({f"w{i}": i for i in range(WORDS)}, unk_token="w0"))
    plain.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=plain, unk_token="w0")
    huggingface.save(huggingface.prepare_(model), place, tokenizer)
    drawn = torch.randint(10, WORDS, (1000,), generator=torch.Generator().manual_seed(1)).tolist()
    (place / "text.txt").write_text(" ".join(f"w{i}" for i in drawn))  # each word has four characters
    return place


@pytest.fixture
def arguments(folder, tmp_path):
    text, out = folder / "text.txt", tmp_path / "05_opt.json"
    return ["--model", str(folder), "--text", str(text), "--segments", "6", "--out", str(out)]


def recorded(arguments):
    with open(arguments[arguments.index("--out") + 1], encoding="utf-8") as file:
        return json.load(file)


def refusal(bench, arguments):
    """What is said, in one line, before the program ends."""
    with pytest.raises(SystemExit) as end:
        bench.main(arguments)
    assert isinstance(end.value.code, str) and "\n" not in end.value.code
    return end.value.code


def test_every_case_is_measured_on_the_end_of_the_text(bench, folder, arguments, capsys):
    bench.main(arguments)
    record = recorded(arguments)
    runs = {(run["pattern"], run["method"]): run for run in record["runs"]}
    assert list(runs) == CASES
    assert {run["sparsity"] for key, run in runs.items() if key[0] != "dense"} == {0.5}
    assert len({run["perplexity"] for run in runs.values()}) == len(CASES)
    assert {"versions", "commit", "date", "device"} <= record.keys()

    model, tokenizer = huggingface.load(folder)
    text = (folder / "text.txt").read_text()
    beginning, end = text[: int(0.9 * len(text))], text[int(0.9 * len(text)) :]
    calibration = huggingface.calibration(tokenizer, [beginning], 6, CONTEXT, progress=False)
    assert record["settings"]["calibration_sha256"] == bench.digest(calibration)
    dense = huggingface.wikitext_perplexity(model, tokenizer, end, progress=False)
    assert runs["dense", "dense"]["perplexity"] == pytest.approx(dense, rel=1e-6)
    with torch.no_grad():
        for name in huggingface.layers(model):
            weight = model.get_submodule(name).weight  # half of each layer goes, embeddings and head stay
            weight[weight.abs() < weight.abs().flatten().sort().values[weight.numel() // 2]] = 0
    magnitude = huggingface.wikitext_perplexity(model, tokenizer, end, progress=False)
    assert runs["50 %", "magnitude"]["perplexity"] == pytest.approx(magnitude, rel=1e-6)

    shown = capsys.readouterr()
    assert f"{runs['2:4', 'sparsegpt']['perplexity']:.2f}" in shown.out and "paper" not in shown.out
    assert "13 of 13: 4:8 sparsegpt+refit" in shown.err


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
    assert capsys.readouterr().err.count(" of 13: ") == 9
    monkeypatch.setattr(bench, "pruned", None)  # nothing is left to prune
    bench.main(arguments)
    assert recorded(arguments)["runs"] == after
    assert "must be" in refusal(bench, [*arguments, "--segments", "7"])  # other settings, same file
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
    arguments = ["--n-m", "--segments", str(segments), "--out", str(tmp_path / "out.json")]
    bench.main(arguments)
    record = recorded(arguments)
    assert record["settings"]["model"] == "facebook/opt-125m"
    paper = [27.66, 193, None, 36.85, None] if beside else [None] * 5
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
        (["--segments", "0"], "count is 0, must be at least 1"),
        (["--text", "no-such-file.txt"], "No such file or directory: 'no-such-file.txt'"),
    ],
)
def test_bad_input_is_refused(bench, arguments, wrong, message):
    assert message in refusal(bench, [*arguments, *wrong])
    assert not os.path.exists(arguments[arguments.index("--out") + 1])


def test_make_bench_leaves_it_out():
    """What needs a network is not run with the others."""
    (line,) = [line for line in (CHECKOUT / "Makefile").read_text().splitlines() if "wildcard benchmarks" in line]
    assert "benchmarks/sparsegpt_hub.py" in line and "filter-out" in line
