import copy
import json
import time
from contextlib import contextmanager

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import prune

from pruning_lib.acceleration import cost, two_four
from pruning_lib.structure import choose_units, keep_largest, prunable, remove, score_units
from pruning_lib.workbench import models


def count(model, *inputs):
    found = cost.macs(model, inputs)
    assert found.dense == sum(c.dense for c in found.by_module.values())
    assert found.nonzero == sum(c.nonzero for c in found.by_module.values())
    return found.dense, found.nonzero


@pytest.mark.parametrize(
    ("name", "published"), [("resnet50", 4.09e9), ("vgg16", 15.47e9), ("mobilenet_v2", 0.30e9), ("vit_b_16", 17.56e9)]
)
def test_macs_of_torchvisions_models_are_the_published_ones(name, published):
    from torchvision.models import get_model

    with torch.device("meta"):
        model = get_model(name)
    model.to_empty(device="cpu")  # drawing the weights would take longer than the count
    for tensor in [*model.parameters(), *model.buffers()]:
        tensor.data.fill_(1)
    found = cost.macs(model, torch.zeros(1, 3, 224, 224))
    assert found.dense == found.nonzero == pytest.approx(published, rel=0.01)


@pytest.mark.parametrize(
    ("model", "shape", "macs"),
    [
        (nn.Linear(6, 5), (4, 6), 4 * 30),
        (nn.Linear(6, 5, bias=False), (2, 3, 6), 6 * 30),
        (nn.Linear(6, 5), (6,), 30),
        (nn.Conv1d(4, 6, 3), (2, 4, 9), 2 * 7 * 6 * 4 * 3),
        (nn.Conv2d(4, 6, 3, stride=2, padding=1, groups=2), (2, 4, 8, 8), 2 * 16 * 6 * 2 * 9),
        (nn.Conv2d(3, 6, 3), (3, 8, 8), 36 * 6 * 27),
        (nn.ConvTranspose2d(4, 6, 3, stride=2), (2, 4, 5, 5), 2 * 25 * 4 * 6 * 9),
        (nn.Conv3d(2, 3, 2), (1, 2, 4, 4, 4), 27 * 3 * 2 * 8),
        (nn.GRU(6, 5), (7, 2, 6), 7 * 2 * 3 * 5 * (6 + 5)),
    ],
)
@pytest.mark.parametrize("inference", [False, True])
def test_macs_of_layers_by_hand(model, shape, macs, inference):
    with torch.inference_mode(inference):
        assert count(model, torch.ones(shape)) == (macs, macs)


@pytest.mark.parametrize("layer", [nn.Conv2d(4, 6, 3), nn.ConvTranspose2d(4, 6, 3), nn.Conv2d(4, 6, 3, groups=2)])
def test_zero_weights_are_not_counted_in_nonzero(layer):
    keep_largest({"weight": layer.weight.detach().abs()}, 0.75).zero_(layer)
    dense, nonzero = count(layer, torch.ones(2, 4, 8, 8))
    assert nonzero == dense / 4
    linear = nn.Linear(8, 6)
    with torch.no_grad():
        linear.weight.zero_()[0, :3] = 1
    assert count(linear, torch.ones(5, 8)) == (5 * 48, 5 * 3)


class Functional(nn.Module):
    """Products outside of any layer: a weight used as it is, a tied one, and activations with each other."""

    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(7, 4)
        self.mix = nn.Parameter(torch.tensor([[1.0, 0.0], [0.0, 1.0]]))

    def forward(self, tokens):
        x = self.table(tokens)  # (2, 3, 4)
        x = torch.einsum("ij,jtd->itd", self.mix, x)
        scores = x @ x.transpose(1, 2)
        return F.linear(scores @ x, self.table.weight)


def test_products_outside_of_layers_count_with_the_weights_they_use():
    model = Functional()
    model.table.weight.data.fill_(1)[0] = 0
    mix, attention, head = 2 * 2 * 12, 2 * 2 * 3 * 3 * 4, 6 * 4 * 7
    found = cost.macs(model, torch.ones(2, 3, dtype=torch.long))
    assert (found.dense, found.nonzero) == (mix + attention + head, mix // 2 + attention + 6 * 4 * 6)
    assert set(found.by_module) == {""}


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("values", [4, 6])
def test_macs_of_scaled_dot_products(causal, values):
    class Attention(nn.Module):
        def forward(self, q, k, v):
            return F.scaled_dot_product_attention(q, k, v, is_causal=causal)

    q, k, v = torch.ones(2, 3, 5, 4), torch.ones(2, 3, 5, 4), torch.ones(2, 3, 5, values)
    assert count(Attention(), q, k, v)[0] == 2 * 3 * 5 * 5 * (4 + values)


@pytest.mark.parametrize("need_weights", [False, True])
@pytest.mark.parametrize("inference", [False, True])
def test_macs_of_multihead_attention_by_hand(need_weights, inference):
    batch, queries, keys, width = 2, 5, 7, 8
    attention = nn.MultiheadAttention(width, 2, batch_first=True).eval()
    query, memory = torch.ones(batch, queries, width), torch.ones(batch, keys, width)
    inputs = {"query": query, "key": memory, "value": memory, "need_weights": need_weights}
    projections = batch * width * width * (2 * queries + 2 * keys)
    products = batch * queries * keys * 2 * width
    with torch.inference_mode(inference):
        found = cost.macs(attention, inputs)
    assert found.dense == found.nonzero == projections + products
    attention.in_proj_weight.data[:width] = 0  # the query projection
    assert cost.macs(attention, inputs).nonzero == found.dense - batch * queries * width * width
    assert torch.backends.mha.get_fastpath_enabled()


def test_macs_of_an_encoder_layer_are_told_by_module():
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True).eval()
    found = cost.macs(nn.ModuleDict({"layer": layer})["layer"], torch.ones(2, 5, 8))
    rows = 2 * 5
    assert {name: c.dense for name, c in found.by_module.items()} == {
        "self_attn": rows * 4 * 64 + 2 * 25 * 2 * 8,
        "linear1": rows * 8 * 16,
        "linear2": rows * 8 * 16,
    }


@pytest.mark.parametrize(
    ("function", "shapes", "macs"),
    [
        (torch.addbmm, [(3, 5), (2, 3, 4), (2, 4, 5)], 2 * 3 * 4 * 5),
        (torch.vdot, [(7,), (7,)], 7),
        (torch._addmm_activation, [(5,), (3, 4), (4, 5)], 60),
        (lambda a, b: torch.sparse.mm(a.to_sparse(), b), [(3, 4), (4, 5)], 60),
    ],
)
def test_rarer_products_are_counted(function, shapes, macs):
    class Product(nn.Module):
        def forward(self, *inputs):
            return function(*inputs)

    assert count(Product(), *(torch.ones(shape) for shape in shapes))[0] == macs


def test_an_unknown_product_is_an_error():
    class Product(nn.Module):
        def forward(self, a):
            return torch.sparse.mm(a.to_sparse(), a.to_sparse())

    with pytest.raises(ValueError, match="_sparse_sparse_matmul in '' cannot be counted: unknown product"):
        cost.macs(Product(), torch.ones(3, 3))


def test_a_fused_kernel_is_an_error_and_nothing_is_left_behind():
    model = nn.Sequential(nn.Linear(4, 4), nn.LSTM(4, 4)).train()
    with pytest.raises(ValueError, match="in '1' cannot be counted: one fused kernel"):
        cost.macs(model, torch.ones(3, 4))
    assert model.training and model[1].training
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def pruned_lenet():
    model = models.lenet_300_100()
    two_four.best_masks(model).zero_(model)
    return model


def test_measure_changes_nothing_and_says_all_four():
    model = models.resnet(depth=8, width=4).train()
    keep_largest({"conv.weight": model.conv.weight.detach().abs()}, 0.5).zero_(model)
    before = copy.deepcopy(model.state_dict())
    found = cost.measure(model, torch.rand(2, 3, 32, 32), repeats=2, warmup=0)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert all(module.training for module in model.modules())
    assert found.parameters == sum(p.numel() for p in model.parameters())
    # masked ones, and the biases and shifts that a fresh network starts with
    assert found.zeros == sum(int((p == 0).sum()) for p in model.parameters()) > model.conv.weight.numel() // 2
    assert found.macs.nonzero == found.macs.dense - 2 * 32 * 32 * 4 * 27 // 2 < found.macs.dense
    assert found.latency.repeats == 2 and found.latency.threads == torch.get_num_threads()
    assert 0 < found.latency.fastest <= found.latency.seconds <= found.latency.slowest
    assert found.latency.device == "cpu"
    json.dumps(found)


def test_bytes_are_those_of_the_tensors():
    model = pruned_lenet().half()
    found = cost.stored(model)
    weights = [model.fc1.weight, model.fc2.weight, model.fc3.weight]
    biases = 2 * (300 + 100 + 10)
    total = sum(w.numel() for w in weights)
    assert found["dense"].tensors == 2 * total + biases
    assert found["two_four"].tensors == 2 * total * 0.5625 + biases
    nonzero = sum(int(w.count_nonzero()) for w in weights)
    assert found["csr"].tensors == nonzero * (2 + 4) + 4 * (300 + 100 + 10 + 3) + biases


def test_files_hold_the_tensors_and_a_header(tmp_path):
    model = models.lenet5()
    found = cost.stored(model)
    save_file(model.state_dict(), tmp_path / "dense.safetensors")
    assert found["dense"].file == (tmp_path / "dense.safetensors").stat().st_size
    for form in cost.FORMS:
        assert 0 < found[form].file - found[form].tensors < 4000
    assert found["two_four"] == found["dense"]  # no weight is 2:4
    assert found["csr"].tensors > 1.9 * found["dense"].tensors  # no weight is zero


def test_shared_weights_are_stored_once_and_models_without_weights_too():
    linear = nn.Linear(8, 8)
    assert cost.stored(nn.Sequential(linear, linear)) == cost.stored(nn.Sequential(linear))
    assert cost.stored(nn.LayerNorm(4))["csr"].tensors == 32


def test_a_smaller_model_is_smaller_in_bytes_and_macs():
    model, x = models.lenet5(), torch.rand(1, 1, 28, 28)
    smaller = remove(model, x, choose_units(score_units(model, example_inputs=x), 0.5))
    found = cost.compare({"whole": model, "smaller": smaller}, x, repeats=1, warmup=0)
    for one, other in zip(found["smaller"][1:4], found["whole"][1:4], strict=True):
        if isinstance(one, dict):
            one, other = one["dense"].tensors, other["dense"].tensors
        elif isinstance(one, tuple):
            one, other = one.dense, other.dense
        assert 0 < one < 0.7 * other


@pytest.mark.parametrize("sparsity", [0.0, 0.5, 0.95, 1.0])
def test_csr_is_the_matrix_with_32_bit_indices(sparsity):
    matrix = torch.randn(7, 9, generator=torch.Generator().manual_seed(0))
    matrix *= torch.rand(7, 9, generator=torch.Generator().manual_seed(1)) >= sparsity
    found = cost.csr(matrix)
    assert found.col_indices().dtype == found.crow_indices().dtype == torch.int32
    assert torch.equal(found.to_dense(), matrix)
    with pytest.raises(ValueError, match="shape \\(2, 3, 4\\)"):
        cost.csr(torch.zeros(2, 3, 4))


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(8,), (1, 8), (5, 8), (2, 3, 8), (0, 8)])
def test_a_csr_layer_gives_the_dense_ones_outputs(shape, bias):
    linear = nn.Linear(8, 6, bias=bias).double()
    keep_largest({"weight": linear.weight.detach().abs()}, 0.6).zero_(linear)
    x = torch.randn(shape, dtype=torch.float64)
    torch.testing.assert_close(cost.CSRLinear(linear)(x), linear(x).detach(), rtol=0, atol=1e-12)


def test_a_model_as_csr_agrees_and_costs_its_non_zeros():
    model = pruned_lenet().eval()
    before = copy.deepcopy(model.state_dict())
    converted = cost.as_csr(model)
    x = torch.rand(3, 1, 28, 28)
    torch.testing.assert_close(converted(x), model(x).detach(), rtol=0, atol=1e-5)
    assert cost.stored(converted)["dense"].tensors == cost.stored(model)["csr"].tensors
    assert cost.macs(converted, x).nonzero == cost.macs(model, x).nonzero == cost.macs(model, x).dense / 2
    assert cost.macs(converted, x[:1]).nonzero == cost.macs(model, x[:1]).nonzero == cost.macs(model, x).nonzero / 3
    again = cost.as_csr(model)
    again.load_state_dict(converted.state_dict())
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    shared = nn.Linear(4, 4)
    both = cost.as_csr(nn.Sequential(shared, nn.Sequential(shared)))
    assert both[0] is both[1][0] and isinstance(both[0], cost.CSRLinear)
    with pytest.raises(ValueError, match="no Linear layer"):
        cost.as_csr(nn.Conv2d(3, 4, 3))
    with pytest.raises(ValueError, match="'0' is an nn.TransformerEncoderLayer"):
        cost.as_csr(nn.Sequential(nn.TransformerEncoderLayer(8, 2, 16)))
    with pytest.raises(ValueError, match="weight is torch.float16, must be float32"):
        cost.as_csr(nn.Linear(4, 4).half())


def test_a_model_as_csr_keeps_its_hooks_and_mode():
    x = torch.randn(5, 4).double()
    linear = nn.Linear(4, 6).double().eval()
    for model, get in ((linear, lambda made: made), (nn.Sequential(linear).eval(), lambda made: made[0])):
        with (
            linear.register_forward_hook(lambda module, args, out: out * 2),
            linear.register_forward_pre_hook(lambda module, args, kwargs: ((args[0] + 1,), kwargs), with_kwargs=True),
        ):
            made, expected = cost.as_csr(model), model(x).detach()
        assert isinstance(get(made), cost.CSRLinear) and not get(made).training
        torch.testing.assert_close(made(x), expected)
        assert not torch.allclose(made(x), model(x))  # the hooks are its own
        masks = keep_largest({name: weight.detach().abs() for name, weight in prunable(model).items()}, 0.5)
        handle = masks.hold(model)
        torch.testing.assert_close(cost.as_csr(model)(x), model(x).detach())
        handle.remove()


def test_what_computes_otherwise_than_a_linear_stays_as_it_is():
    class Twice(nn.Linear):
        def forward(self, x):
            return 2 * super().forward(x)

    def patched():
        layer = nn.Linear(4, 4)
        layer.forward = lambda x: x + 1
        return layer

    x = torch.randn(5, 4).double()
    for make in (
        lambda: Twice(4, 4),
        lambda: prune.l1_unstructured(nn.Linear(4, 4), "weight", 0.5),
        lambda: torch.nn.utils.weight_norm(nn.Linear(4, 4)),
        lambda: torch.nn.utils.parametrizations.weight_norm(nn.Linear(4, 4)),
        patched,
    ):
        layer = make().double().requires_grad_(False)
        layer(x)  # else the computed weight cannot be copied
        for parameter in layer.parameters():
            parameter.mul_(3)  # what a hook computes from them is stale until the next call
        with pytest.raises(ValueError, match="has no Linear layer with a weight of its own"):
            cost.as_csr(layer)
        made = cost.as_csr(nn.Sequential(layer, nn.Linear(4, 2).double()))
        torch.testing.assert_close(made[0](x), layer(x), rtol=0, atol=0)
        assert type(made[0]) is type(layer) and isinstance(made[1], cost.CSRLinear)


def test_times_are_medians_of_runs_in_turns(monkeypatch):
    clock, calls = [0.0], []
    monkeypatch.setattr(time, "perf_counter", lambda: clock[0])
    costs = {"a": iter([9, 9, 1, 5, 2]), "b": iter([9, 9, 3, 3, 3])}

    def run(name):
        calls.append(name)
        clock[0] += next(costs[name])

    before = torch.get_num_threads()
    times = cost.time_in_turns({name: lambda name=name: run(name) for name in costs}, 3, 2, threads=2)
    assert calls == ["a", "b"] * 5
    assert times["a"] == (2, 1, 5, 3, 2, "cpu") and times["b"].seconds == 3
    assert torch.get_num_threads() == before


def test_events_are_recorded_on_the_device_that_computes(monkeypatch):
    current = [0]

    @contextmanager
    def on(device):
        current.append(device.index)
        yield
        current.pop()

    class Event:
        def __init__(self, enable_timing):
            pass

        def record(self):
            self.device = current[-1]

        def synchronize(self):
            pass

        def elapsed_time(self, other):
            return 1000.0 * self.device * other.device

    monkeypatch.setattr(torch.cuda, "device", on)
    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: f"GPU {device.index}")
    assert cost.time_in_turns({"a": int}, 1, 0, device="cuda:1")["a"][::5] == (1.0, "GPU 1")
    assert current == [0]


def test_threads_are_given_back_after_an_error():
    before = torch.get_num_threads()
    with pytest.raises(RuntimeError, match="inside"):
        cost.time_in_turns({"a": lambda: (_ for _ in ()).throw(RuntimeError("inside"))}, threads=before + 1)
    assert torch.get_num_threads() == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"runs": {}}, "runs is empty"),
        ({"repeats": 0}, "repeats is 0"),
        ({"warmup": -1}, "warmup is -1"),
        ({"threads": 0}, "threads is 0"),
        ({"device": "meta"}, "device is meta"),
    ],
)
def test_bad_settings_are_errors(change, message):
    with pytest.raises(ValueError, match=message):
        cost.time_in_turns(**{"runs": {"a": int}, **change})


def test_models_on_two_devices_are_an_error():
    both = {"a": nn.Linear(2, 2), "b": nn.Linear(2, 2, device="meta")}
    with pytest.raises(ValueError, match="models are on cpu, meta, must be on one device"):
        cost.latencies(both, torch.zeros(1, 2), 1, 0, None)
