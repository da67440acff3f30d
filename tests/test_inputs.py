"""What counts as a batch, what is refused and how, and what is left of a batch without its padding."""

import collections

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from pruning_lib.acceleration import cost
from pruning_lib.inputs import (
    as_arguments,
    call,
    check_batches,
    inputs_and_targets,
    samples,
    with_targets,
    without_padding,
)
from pruning_lib.structure import remove, score_units


class One(nn.Module):
    def forward(self, x):
        return x


class Two(nn.Module):
    def forward(self, a, b):
        return a, b


class Optional(nn.Module):
    def forward(self, ids, scale=1.0, labels=None):
        return ids


class Text(nn.Module):
    def forward(self, input_ids, attention_mask=None, labels=None):
        return input_ids


class Anything(nn.Module):
    def forward(self, *args, **kwargs):
        return args


class Wrapped(nn.Module):
    def forward(*args, **kwargs):
        return One.forward(*args, **kwargs)


A, B, Y = torch.zeros(3, 2), torch.ones(3, 2), torch.tensor([0, 1, 0])
IMAGES = [A, B]
SIZES = [[3, 4], [5, 6], [7, 8]]
Pair = collections.namedtuple("Pair", "inputs targets")


@pytest.mark.parametrize(
    ("model", "batch", "args", "kwargs"),
    [
        (One(), A, [A], {}),
        (One(), (A,), [A], {}),
        (One(), [A], [A], {}),
        (One(), (A, Y), [A], {}),
        (One(), [A, Y], [A], {}),
        (One(), Pair(A, Y), [A], {}),
        (One(), (A, None), [A], {}),
        (One(), (A, Y.numpy()), [A], {}),
        (One(), (A, {"boxes": Y}), [A], {}),
        (One(), [[A], Y], [A], {}),
        (nn.Sequential(nn.Identity()), [A, Y], [A], {}),
        (torch.compile(One()), [A, Y], [A], {}),
        (Wrapped(), A, [A], {}),
        (Two(), (A, B), [A, B], {}),
        (Two(), [A, B], [A, B], {}),
        (Two(), ({"b": B, "a": A}, Y), [], {"b": B, "a": A}),
        (Two(), (A, SIZES), [A, SIZES], {}),  # numbers may be an argument, too
        (Two(), {"a": A, "b": SIZES}, [], {"a": A, "b": SIZES}),
        (Text(), {"input_ids": A, "labels": IMAGES}, [], {"input_ids": A, "labels": IMAGES}),
        (Optional(), (A, 0.5), [A, 0.5], {}),  # a tuple is arguments, where it can be
        (Optional(), (IMAGES, Y), [IMAGES, Y], {}),
        (Anything(), (A, Y), [A, Y], {}),
        (One(), {"x": A, "labels": Y}, [], {"x": A}),
        (One(), {"x": A, "target": Y}, [], {"x": A}),
        (One(), collections.UserDict(x=A), [], {"x": A}),
        (Optional(), {"ids": A, "labels": Y}, [], {"ids": A, "labels": Y}),
        (Anything(), {"x": A, "label": Y}, [], {"x": A, "label": Y}),
    ],
)
def test_what_a_batch_calls_the_model_with(model, batch, args, kwargs):
    found, named = as_arguments(model, batch)
    assert len(found) == len(args) and all(one is other for one, other in zip(found, args, strict=True))
    assert list(named) == list(kwargs) and all(named[name] is kwargs[name] for name in named)


@pytest.mark.parametrize(
    ("model", "batch", "message"),
    [
        (One(), "a text", "batch is 'a text', must be a tensor, .*: it is none of these"),
        (One(), None, "batch is None"),
        (One(), 3.0, "batch is 3.0"),
        (One(), A.numpy(), r"batch is a NumPy array of shape \(3, 2\)"),
        (One(), nn.Sequential(nn.Linear(2, 2)), r"batch is Sequential\( \(0\): Linear\(in_f"),
        (One(), iter([A]), "batch is <list_iterator"),
        (One(), {"x": A.numpy()}, r"a NumPy array of shape \(3, 2\) in it is no tensor"),
        (One(), ["a", "b", "c"], "batch is a list of 3, .*: 'a' in it is no tensor"),
        (Text(), {"input_ids": [[1, 2]]}, "input_ids, a list of 1, is no tensor .*return_tensors='pt'"),
        (Text(), {"input_ids": B, "attention_mask": [1, 1]}, "attention_mask, a list of 2, is no tensor"),
        (Text(), {"input_ids": B, "labels": [0, 1]}, "labels, a list of 2, is no tensor$"),
        (Text(), [[1, 2], [3, 4]], "batch is a list of 2, .*: its lists hold numbers, no tensors"),
        (One(), [], r"batch is a list of 0, .* that One.forward\(x\) takes: missing a required argument: 'x'"),
        (One(), (A, A, A), "batch is a tuple of 3, .*: too many positional arguments"),
        (One(), ([A, B], Y), "batch is a tuple of 2, .*: too many positional arguments"),
        (One(), {"z": A}, "batch is a dict of 'z', .*: missing a required argument: 'x'"),
        (One(), {"x": A, "index": Y}, "got an unexpected keyword argument 'index'"),
        (Two(), A, r"batch is a tensor of shape \(3, 2\), .*: missing a required argument: 'b'"),
        (Two(), ((A, B), Y), "it may be two arguments, or one with its targets"),
        (Two(), [[A, B], Y], "it may be two arguments, or one with its targets"),
        (Optional(), [A, Y], "batch is a list of 2, .* it may be two arguments, or one with its targets"),
        (Anything(), [A, Y], "it may be two arguments, or one with its targets"),
    ],
)
def test_what_is_no_batch_is_said_in_one_line(model, batch, message):
    with pytest.raises(ValueError, match=message) as caught:
        call(model, batch)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("batches", "message"),
    [
        (A, r"batches is a tensor of shape \(3, 2\), must be an iterable of batches: \[batch\] for a single one"),
        (A.numpy(), "batches is a NumPy array"),
        ({"x": A}, "batches is a dict of 'x'"),
        ("abc", "batches is 'abc'"),
        (None, "batches is None"),
        (7, "batches is 7"),
        ([], "batches is empty"),
        (iter([]), "batches is empty, .* nothing is left after one use"),
    ],
)
def test_what_is_no_iterable_of_batches_is_said(batches, message):
    with pytest.raises(ValueError, match=message):
        list(check_batches(batches))


def test_targets_come_in_a_pair_or_under_their_name():
    x = {"x": A, "labels": Y}
    for batch, inputs in [((A, Y), A), ([A, Y], A), (Pair(A, Y), A), (({"x": A}, Y), {"x": A}), (x, x)]:
        found, targets = inputs_and_targets(batch)
        assert targets is Y and (found is inputs or found == inputs)
    loader = DataLoader(TensorDataset(A, Y), batch_size=2)
    assert [(x.tolist(), y.tolist()) for x, y in with_targets(loader)] == [([[0, 0]] * 2, [0, 1]), ([[0, 0]], [0])]


@pytest.mark.parametrize(
    ("targets", "count"),
    [(Y, 3), ([Y, Y], 3), ((A, Y), 3), ({"boxes": A}, 3), ([{"boxes": A}] * 5, 5), (Y[:0], 0), ([], 0)],
)
def test_how_many_samples_there_are(targets, count):
    assert samples(targets) == count


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        (A, r"batch is a tensor of shape \(3, 2\), must be a pair \(inputs, targets\) or a dict with one of labels, "),
        ((A, Y, Y), "batch is a tuple of 3"),
        ("ab", "batch is 'ab'"),
        ({"x": A}, "batch is a dict of 'x'"),
        ({"x": A, "label": Y, "labels": Y}, "batch is a dict of 'x', 'label', 'labels'"),
        ((A, None), "targets is None, must be a tensor with an entry for each sample"),
        ((A, Y[0]), r"targets is a tensor of shape \(\)"),
        ((A, 1), "targets is 1"),
        ((A, Y.numpy()), r"targets is a NumPy array of shape \(3,\)"),
        ((A, np.int64(1)), "targets is "),
        ((A, {}), "targets is a dict of nothing"),
    ],
)
def test_what_has_no_targets_is_said(batch, message):
    with pytest.raises(ValueError, match=message):
        inputs_and_targets(batch)


def test_example_inputs_may_bring_their_targets():
    torch.manual_seed(0)
    model, x, y = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2)), torch.randn(5, 4), torch.zeros(5)
    assert cost.macs(model, [x, y]) == cost.macs(model, x)
    measured = cost.measure(model, (x, y), repeats=1, warmup=0)
    assert measured.macs == cost.macs(model, x) and measured.latency.repeats == 1
    scores = score_units(model, "neuron", example_inputs=x)
    assert {k: v.tolist() for k, v in score_units(model, "neuron", example_inputs=(x, y)).items()} == {
        k: v.tolist() for k, v in scores.items()
    }
    units = {"0": torch.tensor([1, 4])}
    torch.testing.assert_close(remove(model, [x, y], units)(x), remove(model, x, units)(x), rtol=0, atol=0)


# Padding


class Reader(nn.Module):
    def forward(self, input_ids, attention_mask=None, position_ids=None, length=None, labels=None):
        return input_ids


def test_padding_is_cut_off_with_all_that_belongs_to_it():
    ids = torch.tensor([[0, 0, 1, 2], [3, 4, 5, 6], [7, 8, 0, 0], [0, 0, 9, 1], [0, 0, 0, 0]])
    mask = (ids != 0).long()
    batch = {"input_ids": ids, "attention_mask": mask, "position_ids": torch.arange(4)[None], "length": mask.sum(1)}
    for given in (batch, (ids, mask, torch.arange(4)[None], mask.sum(1)), (batch | {"labels": Y}, Y)):
        parts = without_padding(Reader(), given)
        assert [part["input_ids"].tolist() for part in parts] == [[[1, 2], [9, 1]], [[7, 8]], [[3, 4, 5, 6]]]
        assert [part["position_ids"].tolist() for part in parts] == [[[2, 3]], [[0, 1]], [[0, 1, 2, 3]]]
        assert [part["length"].tolist() for part in parts] == [[2, 2], [2], [4]]
        assert all(part["attention_mask"].eq(1).all() for part in parts)


def test_a_batch_without_padding_stays_as_it_is():
    ids = torch.ones(2, 3, dtype=torch.long)
    for batch in (ids, (ids,), {"input_ids": ids}, {"input_ids": ids, "attention_mask": torch.ones(2, 1, 3, 3)}):
        assert without_padding(Reader(), batch) == [batch]
    causal = {"input_ids": ids, "attention_mask": torch.ones(3, 3).tril()}  # which position sees which
    (part,) = without_padding(Reader(), causal)
    assert part["attention_mask"] is causal["attention_mask"] and part["input_ids"] is ids


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (torch.tensor([[1, 0, 1], [1, 1, 1]]), "attention_mask leaves out positions between others"),
        (torch.tensor([[0.0, -torch.inf, 0], [0, 0, 0]]), "attention_mask has -inf, must be 1 where"),
        (torch.tensor([[1, 0], [1, 1], [1, 1]]), r"attention_mask has shape \(3, 2\), must begin as"),
    ],
)
def test_padding_that_cannot_be_cut_off_is_said(mask, message):
    with pytest.raises(ValueError, match=message):
        without_padding(Reader(), {"input_ids": torch.ones(2, 3), "attention_mask": mask})


def test_encoder_and_decoder_have_masks_of_their_own():
    class Translator(nn.Module):
        def forward(self, input_ids, attention_mask, decoder_input_ids=None, decoder_attention_mask=None, labels=None):
            return input_ids

    ids, other = torch.tensor([[1, 2, 0], [3, 4, 5]]), torch.tensor([[6, 7, 8], [9, 0, 0]])
    parts = without_padding(
        Translator(),
        {
            "input_ids": ids,
            "attention_mask": ids != 0,
            "decoder_input_ids": other,
            "decoder_attention_mask": other != 0,
            "labels": other,
        },
    )
    for name, expected in {"input_ids": [[[1, 2]], [[3, 4, 5]]], "decoder_input_ids": [[[6, 7, 8]], [[9]]]}.items():
        assert [part[name].tolist() for part in parts] == expected
    assert [part["labels"].tolist() for part in parts] == [[[6, 7, 8]], [[9]]]
    (one, two) = without_padding(Translator(), {"input_ids": ids, "attention_mask": ids != 0, "labels": other})
    assert one["labels"].tolist() == [[6, 7, 8]] and two["labels"].tolist() == [[9, 0, 0]]


@pytest.mark.parametrize("kind", [torch.bool, torch.float32])
def test_masks_of_torch_layers_say_what_is_left_out(kind):
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    x, out = torch.randn(2, 3, 8), torch.tensor([[False, False, True], [False, False, False]])
    mask = out if kind is torch.bool else torch.zeros(2, 3).masked_fill(out, -torch.inf)
    parts = without_padding(layer, {"src": x, "src_key_padding_mask": mask})
    assert [part["src"].tolist() for part in parts] == [x[:1, :2].tolist(), x[1:].tolist()]
    assert [part["src_key_padding_mask"] for part in parts] == [None, None]
    layer = nn.TransformerEncoderLayer(8, 2, 16)
    with pytest.raises(ValueError, match="src_key_padding_mask leaves out .* only with batch_first"):
        without_padding(layer, {"src": x.transpose(0, 1), "src_key_padding_mask": mask})


@pytest.mark.parametrize("samples", [3, 5])
def test_padding_leaves_both_dimensions_of_a_causal_mask(samples):
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True).double()
    x, out = torch.randn(samples, 5, 8).double(), torch.zeros(samples, 5, dtype=torch.bool)
    out[0, :2] = out[1:, 4:] = True
    for heads in (1, samples * 2):
        causal = torch.full((5, 5), -torch.inf).double().triu(1).expand(heads, 5, 5).squeeze(0)
        parts = without_padding(layer, {"src": x, "src_mask": causal, "src_key_padding_mask": out})
        for part, rows, kept in zip(parts, (slice(1), slice(1, None)), (slice(2, 5), slice(4)), strict=True):
            own = causal[..., kept, kept]
            own = own if heads == 1 else own[rows.start and 2 : rows.stop and 2]
            torch.testing.assert_close(part["src"], x[rows, kept], rtol=0, atol=0)
            torch.testing.assert_close(part["src_mask"], own, rtol=0, atol=0)
            torch.testing.assert_close(call(layer, part), layer(x, causal, out)[rows, kept])


def test_source_and_target_of_a_transformer_have_padding_of_their_own():
    torch.manual_seed(0)
    model = nn.Transformer(8, 2, 1, 1, 16, dropout=0.0, batch_first=True).double()
    src, tgt = torch.randn(2, 3, 4, 8).double().unbind()
    tgt = torch.cat([tgt, tgt[:, :1]], 1)  # 5 positions
    source, target = torch.zeros(3, 4, dtype=torch.bool), torch.zeros(3, 5, dtype=torch.bool)
    source[0, 2:] = target[1, 3:] = True
    batch = {"src": src, "tgt": tgt, "src_key_padding_mask": source, "memory_key_padding_mask": source}
    parts = without_padding(model, batch | {"tgt": tgt[:, :4]})  # as many positions as the source
    assert [part["tgt"].tolist() for part in parts] == [tgt[:1, :4].tolist(), tgt[1:, :4].tolist()]
    assert [part["src"].tolist() for part in parts] == [src[:1, :2].tolist(), src[1:].tolist()]
    batch |= {"tgt_key_padding_mask": target, "tgt_mask": nn.Transformer.generate_square_subsequent_mask(5).double()}
    batch["memory_mask"] = torch.randn(5, 4).double()
    expected = model(**batch)
    parts = without_padding(model, batch)
    whole = [(slice(0, 1), 2, 5), (slice(1, 2), 4, 3), (slice(2, 3), 4, 5)]  # samples, positions of source and target
    assert len(parts) == 3
    for part in parts:
        rows, s, t = next(w for w in whole if torch.equal(src[w[0], : w[1]], part["src"]))
        assert torch.equal(part["tgt"], tgt[rows, :t]) and torch.equal(
            part["memory_mask"], batch["memory_mask"][:t, :s]
        )
        torch.testing.assert_close(call(model, part), expected[rows, :t])
    decoder = nn.TransformerDecoderLayer(8, 2, 16, batch_first=True)
    parts = without_padding(decoder, {"tgt": tgt[:, :4], "memory": src, "memory_key_padding_mask": source})
    assert [(*part["tgt"].shape, *part["memory"].shape) for part in parts] == [(1, 4, 8, 1, 2, 8), (2, 4, 8, 2, 4, 8)]


def test_padding_of_keys_leaves_other_queries():
    layer = nn.MultiheadAttention(8, 2, batch_first=True)
    x, out = torch.randn(2, 3, 8), torch.tensor([[False, False, True], [False, False, False]])
    batch = {"query": x, "key": x, "value": x, "key_padding_mask": out, "attn_mask": torch.zeros(3, 3)}
    for query, length in ((x, 2), (x + 1, 3)):
        part, _ = without_padding(layer, batch | {"query": query})
        assert (part["query"].shape[1], part["key"].shape[1]) == (length, 2) and part["attn_mask"].shape == (length, 2)


def test_a_vector_of_positions_is_cut_unless_it_may_be_of_samples():
    batch = {"input_ids": torch.ones(2, 3), "attention_mask": torch.tensor([[1, 1, 0], [1, 1, 1]])}
    one, two = without_padding(Reader(), batch | {"position_ids": torch.arange(3), "length": torch.tensor([2, 3])})
    assert one["position_ids"].tolist() == [0, 1] and two["position_ids"].tolist() == [0, 1, 2]
    assert [one["length"].tolist(), two["length"].tolist()] == [[2], [3]]
    batch = {"input_ids": torch.ones(3, 3), "position_ids": torch.arange(3), "labels": torch.arange(3)}
    mask = torch.tensor([[1, 1, 0], [1, 1, 1], [1, 1, 1]])
    with pytest.raises(ValueError, match=r"position_ids has shape \(3,\), which may be samples or positions"):
        without_padding(Reader(), batch | {"attention_mask": mask})
    (part,) = without_padding(Reader(), batch | {"attention_mask": torch.ones(3, 3)})
    assert part["position_ids"].tolist() == [0, 1, 2]
    one, two = without_padding(
        Reader(), {k: v for k, v in batch.items() if k != "position_ids"} | {"attention_mask": mask}
    )
    assert one["labels"].tolist() == [0] and two["labels"].tolist() == [1, 2]
