"""benchmarks/two_four_language.py on a tiny LLaMA in a folder; nothing is downloaded."""

import importlib.util
import json

import pytest
import torch
from tiny_language import CONTEXT, WORDS, save_tiny

from pruning_lib.acceleration import two_four
from pruning_lib.files import CHECKOUT
from pruning_lib.workbench import huggingface
from pruning_lib.workbench.channels import free_channels

transformers = pytest.importorskip("transformers", reason="transformers is not installed (extra llm)")
pytest.importorskip("gguf", reason="gguf is not installed (extra llm)")

# Fewer inputs than columns.
pytestmark = pytest.mark.filterwarnings("ignore:.*hessian has no Cholesky factor")

SCRIPT = CHECKOUT / "benchmarks" / "two_four_language.py"


@pytest.fixture
def bench(monkeypatch):
    monkeypatch.syspath_prepend(SCRIPT.parent)  # it imports sparsegpt_hub
    spec = importlib.util.spec_from_file_location("two_four_language", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A tiny LLaMA drawn at random, wide enough for blocks of 32 kept weights, its tokenizer, and a text."""
    place = tmp_path_factory.mktemp("llama")
    config = transformers.LlamaConfig(
        vocab_size=WORDS,
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        intermediate_size=128,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,
    )
    return save_tiny(place, config)


@pytest.fixture
def arguments(folder, tmp_path):
    options = {"model": folder, "text": folder / "text.txt", "out": tmp_path / "06.json"}
    options |= {"context": CONTEXT, "segments": 4, "measured": 4, "threads": 1}
    return [part for name, value in options.items() for part in (f"--{name}", str(value))]


def recorded(arguments):
    with open(arguments[arguments.index("--out") + 1], encoding="utf-8") as file:
        return json.load(file)


def test_every_order_is_pruned_by_every_method_and_goes_on_where_it_stopped(bench, arguments, monkeypatch, capsys):
    bench.main([*arguments, "--orders", "as it is", "magnitude"])
    first = recorded(arguments)["runs"]
    bench.main(arguments)
    runs = recorded(arguments)["runs"]
    assert runs[: len(first)] == first
    found = {(run["order"], run["method"]): run for run in runs}
    assert set(found) == {("as it is", "dense")} | {(order, how) for order in bench.ORDERS for how in bench.METHODS}
    assert len({run["perplexity"] for run in runs}) == len(runs)
    kept = {run["order"]: run["kept"] for run in runs}
    for order in ("magnitude", "activations"):  # each keeps most of what it was found for
        assert max(kept, key=lambda name: kept[name][order]) == order
    assert all(run["sparsity"] == 0.5 for run in runs if run["method"] != "dense")
    assert "activations, sparsegpt+refit: perplexity" in capsys.readouterr().out


def test_scores_are_weights_times_the_size_of_their_inputs(bench, folder):
    model, _ = huggingface.load(folder)
    batch = torch.randint(WORDS, (1, CONTEXT), generator=torch.Generator().manual_seed(2))
    scores = bench.scores_of(model, [batch])
    layer, inputs = model.model.layers[1].mlp.down_proj, []
    handle = layer.register_forward_hook(lambda module, args, output: inputs.append(args[0]))
    with torch.no_grad():
        model(batch)
    handle.remove()
    size = inputs[0].flatten(0, 1).square().mean(0).sqrt()
    name = "model.layers.1.mlp.down_proj.weight"
    torch.testing.assert_close(scores["activations"][name], layer.weight.detach().abs() * size)
    assert torch.equal(scores["magnitude"][name], layer.weight)
    channels = free_channels(model)
    orders = [torch.arange(len(places[0][2])) for places in channels]
    weights = scores["magnitude"].values()
    share = sum(map(two_four.kept_magnitude, weights)) / sum(float(weight.abs().sum()) for weight in weights)
    assert bench.share_kept(channels, scores["magnitude"], orders) == pytest.approx(share, rel=1e-6)


def test_bytes_and_zeros_in_four_bits(bench, folder):
    dense, _ = huggingface.load(folder)
    layers = huggingface.layers(dense)
    in_layers = sum(dense.get_submodule(name).weight.numel() for name in layers)
    others = 34 * WORDS * 64 // 32 + 4 * 5 * 64  # embeddings in Q8_0: 34 bytes for 32 weights; five norms in float32
    rounded, size = bench.four_bits(dense)
    assert size == 20 * in_layers // 32 + others  # Q4_1: 16 bytes of codes, a minimum and a step for 32 weights
    weight = dense.get_submodule(layers[0]).weight
    blocks, found = weight.detach().view(-1, 32), rounded.get_submodule(layers[0]).weight.detach().view(-1, 32)
    step = (blocks.amax(1) - blocks.amin(1)) / 15
    assert ((found - blocks).abs().amax(1) <= 0.51 * step + 1e-3).all() and not torch.equal(found, blocks)
    again, _ = bench.four_bits(rounded)  # nothing is left to round
    torch.testing.assert_close(again.get_submodule(layers[0]).weight, rounded.get_submodule(layers[0]).weight)

    masks = two_four.best_masks(dense, layers)
    masks.zero_(dense)
    pruned, size = bench.four_bits(dense)
    assert size == 14 * in_layers // 32 + others  # half of the 20 bytes, and 32 indices of 2 bits for 64 weights
    for name in layers:
        weight = pruned.get_submodule(name).weight
        assert (weight[~masks[f"{name}.weight"]] == 0).all() and weight.any()


def test_wrong_input_is_told_in_a_line(bench, arguments, folder):
    for more, message in [
        (["--segments", "0"], "segments is 0"),
        (["--measured", "9999"], "measured is 9999"),
        (["--text", "nowhere.txt"], "nowhere.txt"),
    ]:
        with pytest.raises(SystemExit) as end:
            bench.main([*arguments, *more])
        assert message in end.value.code and "\n" not in end.value.code
    bench.main([*arguments, "--orders", "as it is", "--only", "magnitude"])
    with pytest.raises(SystemExit, match="holds runs with settings"):
        bench.main([*arguments, "--seed", "1"])
