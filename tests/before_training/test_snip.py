import copy
import functools
import math
import types

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from pruning_lib.before_training import snip
from pruning_lib.structure import prunable
from pruning_lib.workbench import models


def small_network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3)).double()


def batch(size=12, seed=1):
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(size, 5, generator=generator, dtype=torch.float64)
    return inputs, torch.randint(0, 3, (size,), generator=generator)


def loss_without(model, name, index, share, data):
    """L((1 − share·e_j) ⊙ w), by editing a copy of the model."""
    model = copy.deepcopy(model)
    with torch.no_grad():
        prunable(model)[name][index] *= 1 - share
        return F.cross_entropy(model(data[0]), data[1]).item()


def connections(model):
    for name, weight in prunable(model).items():
        for index in torch.cartesian_prod(*map(torch.arange, weight.shape)).tolist():
            yield name, tuple(index)


def test_exact_effect_is_a_difference_of_losses():
    """SNIP-2."""
    model, data = small_network(), batch()
    whole = F.cross_entropy(model(data[0]), data[1]).item()
    for name, index in connections(model):
        expected = whole - loss_without(model, name, index, 1, data)
        assert snip.exact_effect(model, data, name, index) == pytest.approx(expected, abs=1e-15)
    with torch.no_grad():
        model[0].weight.set_(model[0].weight.T.contiguous().T)  # another layout in memory, same entries
    flat = snip.exact_effect(model, data, "0.weight", 7)
    assert flat == snip.exact_effect(model, data, "0.weight", (1, 2))


def test_sensitivity_is_the_normalized_derivative_by_the_indicator():
    """SNIP-3 by central differences in float64, SNIP-4."""
    model, data = small_network(), batch()
    scores = snip.sensitivity(model, [data])
    delta = 1e-5
    derivative = {
        (name, index): (loss_without(model, name, index, -delta, data) - loss_without(model, name, index, delta, data))
        / (2 * delta)
        for name, index in connections(model)
    }
    total = sum(abs(value) for value in derivative.values())
    for (name, index), value in derivative.items():
        assert scores[name][index].item() == pytest.approx(abs(value) / total, rel=1e-6, abs=1e-9)
    assert sum(score.sum() for score in scores.values()).item() == pytest.approx(1, rel=1e-12)


def test_split_into_batches_does_not_matter():
    model, (inputs, targets) = small_network(), batch(size=12)
    whole = snip.sensitivity(model, [(inputs, targets)])
    parts = snip.sensitivity(model, [(inputs[:5], targets[:5]), (inputs[5:], targets[5:])])
    for name in whole:
        torch.testing.assert_close(parts[name], whole[name], rtol=1e-12, atol=0)


def test_model_is_unchanged():
    model = models.resnet((1, 8, 8), depth=8, width=4)
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    before = copy.deepcopy(model.state_dict())
    snip.prune(model, [(torch.randn(4, 1, 8, 8), torch.tensor([0, 1, 2, 3]))], 0.9)
    assert model.training
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name  # batch-norm statistics included
    assert all(parameter.grad is None and not parameter.requires_grad for parameter in model.parameters())


@pytest.mark.parametrize("sparsity", [0.0, 0.5, 0.9, 1.0])
def test_prune_keeps_the_most_sensitive(sparsity):
    """SNIP-5."""
    model, data = small_network(), batch()
    masks = snip.prune(model, [data], sparsity)
    assert masks.kept == round(32 * (1 - sparsity))
    scores = snip.sensitivity(model, [data])
    flat = torch.cat([score.flatten() for score in scores.values()])
    kept = torch.cat([mask.flatten() for mask in masks.values()])
    if 0 < masks.kept < 32:
        assert flat[kept].min() > flat[~kept].max()


class Sum(nn.Module):
    def __init__(self):
        super().__init__()
        self.left, self.right = nn.Linear(3, 2), nn.Linear(3, 2)

    def forward(self, left, right):
        return self.left(left) + self.right(right)


def test_inputs_as_tuple_or_dict_and_another_loss():
    torch.manual_seed(0)
    model, left, right, targets = Sum(), torch.randn(4, 3), torch.randn(4, 3), torch.randn(4, 2)
    by_place = snip.sensitivity(model, [((left, right), targets)], loss=F.mse_loss)
    by_name = snip.sensitivity(model, [({"right": right, "left": left}, targets)], loss=F.mse_loss)
    assert all(torch.equal(by_place[name], by_name[name]) for name in by_place)
    assert snip.exact_effect(model, ((left, right), targets), "left.weight", 0, loss=F.mse_loss) != 0


def test_a_layer_that_is_not_used_scores_zero():
    model = nn.ModuleDict({"used": nn.Linear(3, 2), "unused": nn.Linear(3, 2)})
    model.forward = lambda inputs: model["used"](inputs)
    scores = snip.sensitivity(model, [(torch.randn(4, 3), torch.tensor([0, 1, 0, 1]))])
    assert (scores["unused.weight"] == 0).all()


def test_bad_input():
    model, data = small_network(), batch()
    with pytest.raises(ValueError, match="batches is empty"):
        snip.sensitivity(model, [])
    with pytest.raises(ValueError, match="no prunable weight"):
        snip.sensitivity(nn.BatchNorm1d(5), [data])
    with pytest.raises(ValueError, match=r"sum of .* is 0, must be positive"):
        snip.prune(model, [(torch.zeros_like(data[0]), data[1])], 0.5, loss=lambda outputs, targets: outputs.sum() * 0)
    with pytest.raises(ValueError, match=r"gradient of '0.weight' is not finite"):
        snip.prune(model, [(data[0] * math.nan, data[1])], 0.5)
    for sparsity in (-0.1, 1.5, math.nan):
        with pytest.raises(ValueError, match="sparsity is"):
            snip.prune(model, [data], sparsity)
    with pytest.raises(ValueError, match=r"name is 'bias', must be one of 0.weight, 2.weight"):
        snip.exact_effect(model, data, "bias", 0)
    for index in ((4, 0), (1,), (0, -1), 20, -1, [1, 2], 1.5, (1, 0.5), None, (1, [2])):
        with pytest.raises(ValueError, match=r"index is .*, must name one entry of '0.weight' of shape \(4, 5\)"):
            snip.exact_effect(model, data, "0.weight", index)
    with pytest.raises(ValueError, match="loss is nan"):
        snip.exact_effect(model, (data[0] * math.nan, data[1]), "0.weight", 0)
    with pytest.raises(ValueError, match="a batch has no samples"):
        snip.sensitivity(model, [data, (data[0][:0], data[1][:0])])
    with pytest.raises(ValueError, match=r"a batch has no targets \(all are -100\), must have at least one"):
        snip.sensitivity(model, [data, (data[0], torch.full_like(data[1], -100))])


def test_half_precision_and_no_grad():
    model, data = small_network(), batch()
    exact = snip.sensitivity(model, [data])
    with torch.no_grad():
        scores = snip.sensitivity(model.bfloat16(), [(data[0].bfloat16(), data[1])])
    assert sum(score.sum() for score in scores.values()).item() == pytest.approx(1, abs=1e-5)
    for name in exact:
        torch.testing.assert_close(scores[name].double(), exact[name], rtol=0.1, atol=0.01)


class Labeled(nn.Module):
    """Gives logits and, with labels, its loss, as models of a hub do."""

    def __init__(self, width=3):
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(5, width).double()

    def forward(self, x, labels=None):
        logits = self.layer(x)
        loss = None if labels is None else 2 * F.cross_entropy(logits, labels) + self.layer.weight.sum()
        return types.SimpleNamespace(logits=logits, loss=loss)


def assert_equal_scores(found, expected):
    assert found.keys() == expected.keys()
    for name in expected:
        torch.testing.assert_close(found[name], expected[name], rtol=1e-12, atol=0)


def test_labels_among_the_inputs_of_a_data_set():
    x, y = batch()
    model = small_network()
    expected = snip.sensitivity(model, [(x, y)])
    for given in ({"input": x, "labels": y}, {"input": x, "label": y.int()}, [x, y], ({"input": x}, y)):
        assert_equal_scores(snip.sensitivity(model, [given]), expected)
        assert snip.exact_effect(model, given, "0.weight", 3) == snip.exact_effect(model, (x, y), "0.weight", 3)
    loader = DataLoader(TensorDataset(x, y), batch_size=5)
    assert_equal_scores(snip.sensitivity(model, loader), expected)


def test_a_model_that_takes_labels_gives_its_own_loss_and_otherwise_its_logits_count():
    x, y = batch()
    model = Labeled()
    own = snip.sensitivity(model, [{"x": x, "labels": y}])
    weight = model.layer.weight
    (gradient,) = torch.autograd.grad(model(x, y).loss, weight)
    effect = (weight * gradient).abs().detach()
    assert_equal_scores(own, {"layer.weight": effect / effect.sum()})
    plain = snip.sensitivity(model.layer, [(x, y)])["weight"]
    for given in (({"x": x}, y), (x, y)):
        assert_equal_scores(snip.sensitivity(model, [given]), {"layer.weight": plain})
    by_hand = snip.sensitivity(
        model, [{"x": x, "labels": y}], loss=lambda outputs, t: F.cross_entropy(outputs.logits, t)
    )
    assert_equal_scores(by_hand, {"layer.weight": plain})


def test_probabilities_and_ignored_classes_are_targets():
    x, y = batch()
    model = small_network()
    assert_equal_scores(snip.sensitivity(model, [(x, F.one_hot(y, 3).double())]), snip.sensitivity(model, [(x, y)]))
    some = torch.where(torch.arange(12) < 5, y, -100)
    alone = snip.sensitivity(model, [(x[:5], y[:5])])
    for parts in ([(x, some)], [(x[:3], some[:3]), (x[3:], some[3:])]):  # however they are split
        for loss in (F.cross_entropy, nn.CrossEntropyLoss(), functools.partial(F.cross_entropy, ignore_index=-100)):
            assert_equal_scores(snip.sensitivity(model, parts, loss), alone)


@pytest.mark.parametrize("shift", [0, 1])
def test_split_does_not_matter_to_a_models_own_loss_over_the_labels_it_predicts(shift):
    class Language(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.embedding, self.head = nn.Embedding(7, 5), nn.Linear(5, 7)

        def forward(self, ids, labels):
            logits = self.head(self.embedding(ids))
            predicting = logits[:, : logits.shape[1] - shift].flatten(0, 1)
            return types.SimpleNamespace(logits=logits, loss=F.cross_entropy(predicting, labels[:, shift:].flatten()))

    model = Language().double()
    ids = torch.randint(0, 7, (4, 6), generator=torch.Generator().manual_seed(1))
    labels = ids.masked_fill(torch.arange(6) >= torch.tensor([[3], [2], [6], [6]]), -100)
    labels[3, 0] = -100
    whole = snip.sensitivity(model, [{"ids": ids, "labels": labels}])
    parts = [{"ids": ids[i : i + 1], "labels": labels[i : i + 1]} for i in range(4)]
    assert_equal_scores(snip.sensitivity(model, parts), whole)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            lambda x, y: x,
            r"batch is a tensor of shape \(12, 5\), must be a pair \(inputs, targets\) or a dict with one of",
        ),
        (lambda x, y: {"input": x}, "batch is a dict of 'input', must be a pair"),
        (lambda x, y: (x, y, y), "batch is a tuple of 3, must be a pair"),
        (lambda x, y: (x, None), "targets is None, must be a tensor with an entry for each sample"),
        (lambda x, y: (x, y[0]), r"targets is a tensor of shape \(\)"),
        (lambda x, y: (x, y.numpy()), r"targets is a NumPy array of shape \(12,\)"),
        (lambda x, y: (x.numpy(), y), "batch is a NumPy array"),
        (lambda x, y: ("text", y), "batch is 'text'"),
        (lambda x, y: (x, y + 1), "targets hold 3, must be from 0 to 2: the model has 3 outputs"),
        (lambda x, y: (x, y - 1), "targets hold -1, must be from 0 to 2"),
        (
            lambda x, y: (x, y[:7]),
            r"targets are torch.int64 \(7,\), must be classes .* \(12,\) or prob.* \(12, 3\)",
        ),
        (lambda x, y: (x, y.double()), r"targets are torch.float64 \(12,\), must be"),
        (lambda x, y: (x, [y, y]), "targets a list of 2, must be tensors"),
    ],
)
def test_a_batch_without_usable_targets_is_said(given, message):
    model, data = small_network(), batch()
    for call in (
        lambda bad: snip.sensitivity(model, [bad]),
        lambda bad: snip.prune(model, [data, bad], 0.5),
        lambda bad: snip.exact_effect(model, bad, "0.weight", 0),
    ):
        with pytest.raises(ValueError, match=message) as caught:
            call(given(*data))
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("batches", [None, batch()[0], {"input": batch()[0], "labels": batch()[1]}, "ab", iter([])])
def test_what_is_no_iterable_of_batches_is_said(batches):
    with pytest.raises(ValueError, match="batches is "):
        snip.sensitivity(small_network(), batches)


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (
            lambda outputs, targets: F.cross_entropy(outputs, targets, reduction="none"),
            r"loss is a tensor of shape \(12,\)",
        ),
        (lambda outputs, targets: 0.5, "loss is 0.5, must be a scalar tensor: the mean over the batch"),
        (lambda outputs, targets: None, "loss is None"),
        (lambda outputs, targets: outputs.sum().detach(), "loss has no gradient"),
    ],
)
def test_a_loss_that_is_no_scalar_is_said(loss, message):
    with pytest.raises(ValueError, match=message):
        snip.sensitivity(small_network(), [batch()], loss)
    one = lambda outputs, targets: F.cross_entropy(outputs, targets)[None]  # noqa: E731
    assert_equal_scores(snip.sensitivity(small_network(), [batch()], one), snip.sensitivity(small_network(), [batch()]))
