import math
import sys

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from pruning_lib.workbench import language, text
from pruning_lib.workbench.gpt import GPT, Config

TINY = Config(width=16, depth=1, heads=2, context=16)
PROSE = text.encode("the quick brown fox jumps over the lazy dog. " * 30)


def state(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def equal(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


class Wrapped(nn.Module):
    """Gives its logits as Hugging Face models do."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, tokens):
        return type("Output", (), {"logits": self.model(tokens)})


@pytest.mark.parametrize("context", [2, 7, 16])
def test_perplexity_equals_one_token_at_a_time(context):
    gpt = GPT(TINY).double()
    with torch.no_grad():
        for parameter in gpt.parameters():
            parameter.mul_(3)  # so that the model has preferences
    tokens, total, count = PROSE[:100], 0.0, 0
    for start in range(0, len(tokens) - context + 1, context):
        for position in range(1, context):
            before = tokens[start : start + position].unsqueeze(0)
            total -= F.log_softmax(gpt(before)[0, -1], dim=0)[tokens[start + position]].item()
            count += 1
    for batch_size in (1, 4, 100):
        assert language.perplexity(gpt, tokens, context, batch_size) == pytest.approx(math.exp(total / count), rel=1e-9)
    wrapped = language.perplexity(Wrapped(gpt), tokens, context)
    assert wrapped == pytest.approx(math.exp(total / count), rel=1e-9)


def test_perplexity_of_a_model_that_knows_nothing_is_the_number_of_bytes():
    gpt = GPT(TINY)
    nn.init.zeros_(gpt.token.weight)
    assert language.perplexity(gpt, PROSE) == pytest.approx(256, rel=1e-6)


def test_bits_per_byte_do_not_depend_on_how_a_text_is_cut_into_tokens():
    """One text of 12 bytes at 24 bits: as 12 tokens of two bits, or as 3 of eight."""
    assert language.bits_per_byte(2**2) == language.bits_per_byte(2**8, tokens_per_byte=3 / 12) == 2.0


def test_perplexity_beyond_every_number_is_infinite():
    gpt = GPT(TINY)
    nn.init.constant_(gpt.norm.bias, 1e4)
    nn.init.zeros_(gpt.token.weight)
    gpt.token.weight.data[0] = 1
    assert language.perplexity(gpt, PROSE) == math.inf


def test_perplexity_refuses_bad_input():
    gpt = GPT(TINY)
    with pytest.raises(ValueError, match=r"tokens has shape \(15,\), must be \(count,\) with at least 16 tokens"):
        language.perplexity(gpt, PROSE[:15])
    with pytest.raises(ValueError, match="must be .* with 1 to 16 bytes"):
        language.perplexity(gpt, PROSE, context=17)
    with pytest.raises(ValueError, match="length is 1, must be at least 2"):
        language.perplexity(gpt, PROSE, context=1)
    with pytest.raises(ValueError, match="batch_size is 0"):
        language.perplexity(gpt, PROSE, batch_size=0)
    with pytest.raises(ValueError, match="context is None, must be given for a Wrapped"):
        language.perplexity(Wrapped(gpt), PROSE)


def test_training_learns_and_follows_the_seed():
    first, second, other = GPT(TINY), GPT(TINY), GPT(TINY)
    losses = language.train(first, PROSE, 60, lr=1e-2, progress=False)
    assert len(losses) == 60
    assert losses[0] == pytest.approx(math.log(256), rel=0.05)
    assert losses[-1] < 0.6 * losses[0]
    assert language.train(second, PROSE, 60, lr=1e-2, progress=False) == losses
    assert equal(state(first), state(second))
    assert language.train(other, PROSE, 60, lr=1e-2, seed=1, progress=False) != losses
    assert language.perplexity(first, PROSE) < 256**0.6


def test_learning_rate_rises_and_falls_to_a_tenth():
    factors = [language.warm_cosine(step, 1000) for step in range(1000)]
    peak = factors.index(max(factors))
    assert factors[0] < 0.03 and peak in (49, 50)
    assert factors[:peak] == sorted(factors[:peak])
    assert factors[peak:] == sorted(factors[peak:], reverse=True)
    assert factors[-1] == pytest.approx(0.1, abs=1e-4)


def test_a_run_interrupted_goes_on_to_the_same_weights(tmp_path, monkeypatch):
    monkeypatch.setattr(language, "SAVED_EVERY", 4)
    whole = GPT(TINY)
    losses = language.train(whole, PROSE, 15, progress=False)

    windows, drawn = text.windows, []

    def interrupted(*arguments):
        drawn.append(arguments)
        if len(drawn) == 11:
            raise KeyboardInterrupt
        return windows(*arguments)

    path = tmp_path / "run.training"
    with monkeypatch.context() as patch:
        patch.setattr(text, "windows", interrupted)
        with pytest.raises(KeyboardInterrupt):
            language.train(GPT(TINY), PROSE, 15, state=path, progress=False)
    drawn.clear()
    monkeypatch.setattr(text, "windows", lambda *arguments: drawn.append(arguments) or windows(*arguments))
    resumed = GPT(TINY, seed=9)  # its weights come from the file
    assert language.train(resumed, PROSE, 15, state=path, progress=False) == losses
    assert len(drawn) == 15 - 8
    assert equal(state(resumed), state(whole))


def test_the_state_of_another_run_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(language, "SAVED_EVERY", 2)
    path = tmp_path / "run.training"
    language.train(GPT(TINY), PROSE, 2, state=path, progress=False)
    model = GPT(TINY)
    before = state(model)
    with pytest.raises(ValueError, match=r"run.training holds a run with other arguments \(seed is 1, was 0\)"):
        language.train(model, PROSE, 2, state=path, seed=1, progress=False)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ValueError, match="run.training is not a whole file"):
        language.train(model, PROSE, 2, state=path, progress=False)
    assert equal(state(model), before)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": -1}, "steps is -1, must be at least 0"),
        ({"batch_size": 0}, "batch_size is 0, must be at least 1"),
        ({"lr": 0.0}, "lr is 0.0, must be positive"),
        ({"lr": float("nan")}, "lr is nan, must be positive"),
        ({"weight_decay": float("nan")}, "weight_decay is nan, must be at least 0"),
        ({"tokens": PROSE[:16]}, r"tokens has shape \(16,\), must be \(count,\) with at least 17 tokens"),
    ],
)
def test_training_refuses_bad_input(options, message):
    model = GPT(TINY)
    before = state(model)
    with pytest.raises(ValueError, match=message):
        language.train(model, **{"tokens": PROSE, "steps": 1, "progress": False, **options})
    assert equal(state(model), before)


def test_training_stops_where_the_loss_is_not_finite():
    model = GPT(TINY)
    nn.init.constant_(model.norm.weight, float("nan"))
    with pytest.raises(ValueError, match="loss is nan in step 1, must be finite: is lr = 0.002 too large"):
        language.train(model, PROSE, 3, progress=False)


def test_the_command_makes_a_checkpoint(tmp_path, monkeypatch, capsys):
    (tmp_path / "prose.txt").write_bytes(bytes(PROSE.tolist()) * 3)
    monkeypatch.setattr(GPT.__init__, "__defaults__", (TINY, 0))
    out = tmp_path / "gpt.safetensors"
    arguments = ["--out", str(out), "--text", str(tmp_path / "prose.txt"), "--steps", "3", "--seed", "4"]
    monkeypatch.setattr(sys, "argv", ["language", *arguments])
    language.main()
    model, about = language.load_checkpoint(out)
    source = text.load(tmp_path / "prose.txt")
    command = "python -m pruning_lib.workbench.language --out gpt.safetensors --text prose.txt --steps 3 --seed 4"
    assert about["command"] == command
    assert about["train_sha256"] == text.digest(source.train)
    assert about["perplexity"]["held_out"] == pytest.approx(language.perplexity(model, source.held_out))
    assert "perplexity per byte" in capsys.readouterr().out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["gpt.safetensors", "gpt.sha256", "prose.txt"]
