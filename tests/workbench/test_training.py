import copy
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from pruning_lib.workbench import models, training
from pruning_lib.workbench.data import Data, batches, load


@pytest.fixture(scope="module")
def digits():
    return load("digits")


def blobs(count=60):
    generator = torch.Generator().manual_seed(0)
    targets = torch.arange(count) % 3
    inputs = torch.randn(count, 1, 2, 2, generator=generator) + 3 * F.one_hot(targets, 4).view(-1, 1, 2, 2)
    return Data("blobs", (inputs, targets), (inputs[:30], targets[:30]), ("a", "b", "c"))


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_digits_are_learned(digits, optimizer):
    model = models.lenet_300_100(digits.shape)
    lr = 0.05 if optimizer == "sgd" else 0.001
    losses = training.fit(model, digits, 6, optimizer=optimizer, lr=lr, progress=False)
    accuracy, loss = training.evaluate(model, digits.test)
    assert len(losses) == 6
    assert losses[-1] < losses[0]
    assert accuracy > 0.93
    assert loss < 0.3


def test_same_seed_same_weights():
    results = []
    for seed in (0, 0, 1):
        model = models.lenet_300_100((1, 2, 2), 3)
        training.fit(model, blobs(), 3, seed=seed, batch_size=7, progress=False)
        results.append(model.fc1.weight.detach())
    assert torch.equal(results[0], results[1])
    assert not torch.equal(results[0], results[2])


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("constant", [1.0] * 8),
        ("step", [1.0] * 4 + [0.1] * 2 + [0.01] * 2),
        ("cosine", [1.0, 0.9619, 0.8536, 0.6913, 0.5, 0.3087, 0.1464, 0.0381]),
    ],
)
def test_schedules(schedule, expected):
    factor = training.learning_rate_factor(schedule, (0.5, 0.75), 8)
    assert [factor(t) for t in range(8)] == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("schedule", ["constant", "step", "cosine"])
def test_no_epochs_change_nothing(schedule):
    model = models.lenet_300_100((1, 2, 2), 3)
    before = model.fc1.weight.detach().clone()
    assert training.fit(model, blobs(), 0, schedule=schedule, progress=False) == []
    assert torch.equal(model.fc1.weight, before)


def test_fit_is_sgd_written_out():
    data = blobs()
    model = models.lenet_300_100((1, 2, 2), 3).double()
    data = Data("blobs", (data.train[0].double(), data.train[1]), data.test, data.classes)
    weights = [parameter.detach().clone().requires_grad_() for parameter in model.parameters()]
    velocity = [torch.zeros_like(weight) for weight in weights]
    names = [name for name, _ in model.named_parameters()]
    training.fit(model, data, 2, lr=0.1, schedule="constant", batch_size=25, seed=3, progress=False)
    for epoch in range(2):
        for inputs, targets in batches(data.train, 25, 3 * 1_000_003 + epoch):
            outputs = torch.func.functional_call(model, dict(zip(names, weights, strict=True)), inputs)
            gradients = torch.autograd.grad(F.cross_entropy(outputs, targets), weights)
            for weight, v, gradient in zip(weights, velocity, gradients, strict=True):
                v.mul_(0.9).add_(gradient + 5e-4 * weight.detach())
                weight.data.sub_(0.1 * v)
    for parameter, weight in zip(model.parameters(), weights, strict=True):
        torch.testing.assert_close(parameter, weight, rtol=1e-10, atol=1e-12)


def test_the_model_can_be_looked_at_after_each_epoch():
    plain, seen = models.lenet_300_100((1, 2, 2), 3), []
    losses = training.fit(plain, blobs(), 3, progress=False)
    model = models.lenet_300_100((1, 2, 2), 3)

    def look(epoch):
        seen.append((epoch, model.training, training.evaluate(model, blobs().train)[1]))

    assert training.fit(model, blobs(), 3, after_epoch=look, progress=False) == losses
    assert torch.equal(model.fc1.weight, plain.fc1.weight)  # looking changes nothing
    assert [epoch for epoch, _, _ in seen] == [1, 2, 3] and all(mode for _, mode, _ in seen)
    assert seen[0][2] > seen[1][2] > seen[2][2] == training.evaluate(plain, blobs().train)[1]


def test_shifted_moves_and_repeats_the_border():
    images = torch.arange(2 * 1 * 4 * 5, dtype=torch.float32).view(2, 1, 4, 5)
    for down, right in [(0, 0), (1, 0), (-1, 2), (2, -2)]:
        moved = training.shifted(images, down, right)
        assert moved.shape == images.shape
        for row in range(4):
            for column in range(5):
                source = images[:, :, min(max(row - down, 0), 3), min(max(column - right, 0), 4)]
                assert torch.equal(moved[:, :, row, column], source)


def test_shift_is_seeded_and_leaves_the_data_alone():
    results, data = [], blobs()
    before = data.train[0].clone()
    for shift in (0, 1, 1):
        model = models.lenet_300_100((1, 2, 2), 3)
        training.fit(model, data, 2, shift=shift, batch_size=7, progress=False)
        results.append(model.fc1.weight.detach())
    assert torch.equal(results[1], results[2])
    assert not torch.equal(results[0], results[1])
    assert torch.equal(data.train[0], before)


def test_evaluate_counts_and_restores_the_mode():
    data = blobs()
    model = nn.Sequential(nn.Dropout(0.9), nn.Flatten(), nn.Linear(4, 3))
    model.train()
    accuracy, loss = training.evaluate(model, data.test, batch_size=7)
    assert model.training
    with torch.no_grad():
        outputs = model[2](data.test[0].flatten(1))
    assert accuracy == (outputs.argmax(1) == data.test[1]).double().mean().item()
    assert loss == pytest.approx(F.cross_entropy(outputs, data.test[1]).item(), rel=1e-5)
    model[0].eval()
    training.evaluate(model, data.test)
    assert [module.training for module in model] == [False, True, True]
    with pytest.raises(ValueError, match="pair is empty"):
        training.evaluate(model, (data.test[0][:0], data.test[1][:0]))


def test_bad_options():
    model, data = models.lenet_300_100((1, 2, 2), 3), blobs()
    for options, message in [
        ({"optimizer": "lbfgs"}, "optimizer is 'lbfgs'"),
        ({"schedule": "linear"}, "schedule is 'linear'"),
        ({"lr": 0.0}, "lr is 0.0, must be positive"),
        ({"lr": float("nan")}, "lr is nan"),
        ({"batch_size": 0}, "batch_size is 0"),
    ]:
        with pytest.raises(ValueError, match=message):
            training.fit(model, data, 1, progress=False, **options)
    with pytest.raises(ValueError, match="epochs is -1"):
        training.fit(model, data, -1, progress=False)


def test_divergence_is_an_error():
    with pytest.raises(ValueError, match="loss is nan in epoch .* is lr = 1e\\+20 too large"):
        training.fit(models.lenet_300_100((1, 2, 2), 3), blobs(), 5, lr=1e20, progress=False)


def test_layout_comes_back_after_an_error():
    model = models.lenet5((1, 8, 8))
    model.conv2.to(memory_format=torch.channels_last)
    with pytest.raises(RuntimeError, match="stop"), training.channels_last(model):
        assert model.conv1.weight.is_contiguous(memory_format=torch.channels_last)
        raise RuntimeError("stop")
    assert model.conv1.weight.is_contiguous()
    assert model.conv2.weight.is_contiguous(memory_format=torch.channels_last)  # it was before


def test_layout_changes_no_training(digits):
    plain, faster = (models.lenet5(digits.shape) for _ in range(2))
    few = replace(digits, train=tuple(part[:200] for part in digits.train))
    training.fit(plain, few, 1, lr=0.05, progress=False)
    with training.channels_last(faster):
        training.fit(faster, few, 1, lr=0.05, progress=False)
        assert faster.conv2.weight.is_contiguous(memory_format=torch.channels_last)
    for one, other in zip(plain.parameters(), faster.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
        assert other.is_contiguous() and other.grad.is_contiguous()


@pytest.mark.parametrize(
    ("channels", "stride", "kernel"), [(1, 2, 1), (4, 2, 1), (15, 2, 1), (16, 2, 1), (4, 1, 1), (4, 2, 3)]
)
def test_layout_stays_where_its_gradient_overruns_memory(channels, stride, kernel):
    """A narrow, strided 1 × 1 convolution (a shortcut of a pruned ResNet): the process ended, or went on with noise."""
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Conv2d(3, channels, 3, padding=1), nn.Conv2d(channels, 8, kernel, stride))
    faster, layouts = copy.deepcopy(plain), []
    inputs = torch.randn(32, 3, 8, 8)
    plain(inputs).square().mean().backward()
    with training.channels_last(faster):
        watching = faster[1].register_forward_hook(lambda _, given, out: layouts.append(given[0].stride(1) == 1))
        faster(inputs).square().mean().backward()
        watching.remove()
    assert layouts == [channels == 16 or stride == 1 or kernel == 3]
    for one, other in zip(plain.parameters(), faster.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad)
        assert other.grad.is_contiguous()
    assert not faster[1]._forward_pre_hooks


def test_a_network_that_views_is_trained_as_it_is(digits):
    class Views(nn.Sequential):
        def forward(self, x):
            return self[2](self[1](self[0](x)).view(len(x), -1))

    model = Views(nn.Conv2d(1, 4, 3), nn.Conv2d(4, 4, 3), nn.Linear(64, 10))
    few = replace(digits, train=tuple(part[:50] for part in digits.train))
    assert len(training.fit(model, few, 1, progress=False)) == 1
    assert 0 <= training.evaluate(model, few.train)[0] <= 1
