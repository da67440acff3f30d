"""The GPT that runs in the page gives PyTorch's numbers, and what the writer accepts and sends."""

import base64
import dataclasses
import math

import pytest
import torch
from node import computed
from packed_models import TINY, VARIANTS, packed

from pruning_lib.teaching.widgets.gpt_writer import GPTWriter
from pruning_lib.workbench import language, text
from pruning_lib.workbench.packed_gpt import PackedGPT

# Each variant reads a prompt byte by byte, then goes on with the likeliest bytes: the bytes and the logits before each.
GREEDY = """await (async () => {
  const get = networks(Buffer.from(given.content, "base64"), given.index);
  const read = {};
  for (const name of Object.keys(given.index.parts)) {
    const { feed } = reader(await get(name));
    const [bytes, logits] = [[...given.prompt], []];
    while (bytes.length < given.length) {
      logits.push([...feed(bytes[logits.length])]);
      if (logits.length === bytes.length) bytes.push(logits.at(-1).indexOf(Math.max(...logits.at(-1))));
    }
    read[name] = { bytes, logits };
  }
  return read;
})()"""
# A text grown to a length by one variant while the dense one judges it; twice, the second time from another prompt.
GROWN = """await (async () => {
  const get = networks(Buffer.from(given.content, "base64"), given.index);
  const [speaker, critic] = [remembering(reader(await get(given.name))), remembering(reader(await get("dense")))];
  return given.prompts.map((prompt) => {
    const text = growing(prompt, speaker, critic, given.temperature, given.seed);
    while (text.bytes.length < given.length) text.grow();
    return text;
  });
})()"""


def sent(model: PackedGPT, **others) -> dict:
    return {"content": base64.b64encode(model.content).decode(), "index": model.index} | others


def logits(model: torch.nn.Module, tokens: list[int]) -> torch.Tensor:
    with torch.no_grad():
        return model(torch.tensor([tokens]))[0].double()


def test_the_trained_gpt_and_all_that_ship_with_it_compute_and_write_what_pytorch_does(tmp_path):
    shipped = PackedGPT.load()
    prompt = text.encode("Größe: ").tolist()
    found = computed(tmp_path, "byte_gpt", "networks, reader", GREEDY, sent(shipped, prompt=prompt, length=40))
    assert list(found) == list(shipped.parts)
    for name, read in found.items():
        model = shipped.model(name)
        expected = logits(model, read["bytes"][:-1])
        assert (torch.tensor(read["logits"]) - expected).abs().max() < 1e-4, name
        assert expected[len(prompt) - 1 :].argmax(1).tolist() == read["bytes"][len(prompt) :], name
    written = language.generate(model, "Größe: ", 40 - len(prompt), temperature=0)
    assert bytes(read["bytes"]).decode(errors="replace") == written  # the last one's


def test_logits_of_small_models_up_to_the_end_of_their_context(tmp_path):
    given = sent(packed(), prompt=[0, 255, 10], length=TINY.context + 1)
    found = computed(tmp_path, "byte_gpt", "networks, reader", GREEDY, given)
    for name, read in found.items():
        difference = torch.tensor(read["logits"]) - logits(packed().model(name), read["bytes"][:-1])
        assert difference.abs().max() < 1e-5, name
    given["length"] += 2  # one byte more than it can read
    with pytest.raises(Exception, match="returned non-zero"):
        computed(tmp_path, "byte_gpt", "networks, reader", GREEDY, given)


def mulberry32(seed: int):
    """The generator of uniform numbers that the page has."""
    state = seed

    def times(one: int, other: int) -> int:
        return one * other & 0xFFFFFFFF

    while True:
        state = state + 0x6D2B79F5 & 0xFFFFFFFF
        t = times(state ^ state >> 15, state | 1)
        t ^= t + times(t ^ t >> 7, t | 61) & 0xFFFFFFFF
        yield (t ^ t >> 14) / 2**32


@pytest.mark.parametrize(("temperature", "seed"), [(0, 1), (0.7, 7), (1.5, 9999)])
def test_drawn_bytes_bars_and_surprise(tmp_path, temperature, seed):
    prompts = [[84, 104, 101], [84, 104, 97, 110]]  # the second begins as the first: that much is not read again
    given = sent(packed(), name="b, 50 %", prompts=prompts, length=30, temperature=temperature, seed=seed)
    speaker, critic = packed().model("b, 50 %"), packed().model("dense")
    names = "networks, reader, remembering, growing"
    for prompt, grown in zip(prompts, computed(tmp_path, "gpt_writer", names, GROWN, given), strict=True):
        tokens, random, surprise = list(prompt), mulberry32(seed), 0.0
        while len(tokens) < 30:
            own, judged = logits(speaker, tokens)[-1], logits(critic, tokens)[-1].softmax(0)
            shares = own.softmax(0)
            bars = grown["tops"][len(tokens) - len(prompt)]
            best = shares.sort(descending=True, stable=True).indices[: len(bars)].tolist()
            assert [byte for byte, _, _ in bars] == best
            assert [share for _, share, _ in bars] == pytest.approx(shares[best].tolist(), rel=1e-4)
            assert [share for _, _, share in bars] == pytest.approx(judged[best].tolist(), rel=1e-4)
            u = next(random)
            if temperature:
                tokens.append(((own / temperature).softmax(0).cumsum(0) > u).nonzero()[0].item())
            else:
                tokens.append(own.argmax().item())
            surprise -= math.log2(judged[tokens[-1]])
            assert grown["surprise"][len(tokens) - len(prompt)] == pytest.approx(surprise, rel=1e-4)
        assert grown["bytes"] == tokens


def test_what_is_read_of_a_prompt(tmp_path):
    prompts = ["", "a", "é", "x" * 15 + "y", "x" * 100 + "y" * 16, "é" * 9, "x" + "é" * 9, "\U0001f600" * 5]
    found = computed(tmp_path, "gpt_writer", "usedBytes", "given.map((prompt) => usedBytes(prompt, 80))", prompts)
    assert [one["total"] for one in found] == [len(prompt.encode()) for prompt in prompts]
    used = [bytes(one["bytes"]).decode() for one in found]
    assert used == ["", "a", "é", "x" * 15 + "y", "y" * 16, "é" * 8, "é" * 8, "\U0001f600" * 4]


def test_state_holds_the_models_and_the_first_pruned_one_is_shown():
    writer = GPTWriter(packed(), prompt="Größe", sparsity=0.5, written=79)
    assert (writer.method, writer.sparsity, writer.temperature, writer.seed) == ("a", 0.5, 0.5, 2)
    assert (writer.content, writer.index, writer.variants) == (packed().content, packed().index, VARIANTS)
    writer.method = "b"
    assert writer.method == "b"


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("prompt", "", "prompt is '', must have at least one byte"),
        ("method", "wanda", "method is 'wanda', must be one of 'a', 'b'"),
        ("sparsity", 0.6, "sparsity is 0.6, must be one of 0.5"),
        ("temperature", -0.1, "temperature is -0.1, must be from 0 to 1.5"),
        ("temperature", math.nan, "temperature is nan"),
        ("seed", 10000, "seed is 10000, must be from 0 to 9999"),
        ("written", 80, "written is 80, must be from 0 to 79"),
    ],
)
def test_what_does_not_exist_is_refused_at_the_start_and_later(name, value, message):
    with pytest.raises(ValueError, match=message):
        GPTWriter(packed(), **{name: value})
    writer = GPTWriter(packed())
    before = getattr(writer, name)
    with pytest.raises(ValueError, match=message):
        setattr(writer, name, value)
    assert getattr(writer, name) == before


@pytest.mark.parametrize(
    ("variants", "message"),
    [
        (VARIANTS[:2], r"variants are \['dense', 'a, 50 %'\], must be the parts"),
        ([*VARIANTS[:2], VARIANTS[2] | {"sparsity": 0.6}], "must be every method at every sparsity"),
        ([*VARIANTS[:2], VARIANTS[2] | {"method": "a"}], "must be every method at every sparsity, each once"),
        ([*VARIANTS[:2], VARIANTS[2] | {"perplexity": math.inf}], "b, 50 %: perplexity is inf"),
    ],
)
def test_variants_that_lack_something_are_refused(variants, message):
    with pytest.raises(ValueError, match=message):
        GPTWriter(dataclasses.replace(packed(), about={"variants": variants}))
