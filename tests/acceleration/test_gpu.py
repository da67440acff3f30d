import pytest
import torch
from torch import nn
from torch.nn.utils import prune

from pruning_lib.acceleration import two_four
from pruning_lib.acceleration.gpu import RULES


@pytest.mark.parametrize("backend", RULES)
def test_size_rules_are_torchs(backend):
    tensor_class = getattr(torch.sparse, f"SparseSemiStructuredTensor{backend.upper()}")
    theirs = getattr(tensor_class, "_DTYPE_SHAPE_CONSTRAINTS", None)  # private
    if theirs is None:
        pytest.skip("torch keeps its size rules elsewhere")
    for dtype, rule in RULES[backend].items():
        assert tuple(two_four.size_rules(dtype, backend)) == rule == tuple(theirs[dtype])


@pytest.mark.parametrize(("dtype", "backend"), [(torch.float64, "cutlass"), (torch.float32, "cusparselt")])
def test_a_dtype_without_kernels_is_an_error(dtype, backend):
    with pytest.raises(ValueError, match=f"dtype is {dtype}, must be one of torch.float16.* for {backend}"):
        two_four.size_rules(dtype, backend)


@pytest.fixture
def gpu(monkeypatch):
    """Pretend that a GPU of the given capability is there."""

    def pretend(capability, cusparselt=True):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda device=None: "a GPU")
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device=None: capability)
        monkeypatch.setattr(torch.backends.cusparselt, "is_available", lambda: cusparselt)

    return pretend


@pytest.mark.parametrize("backend", RULES)
def test_without_a_gpu_it_says_so(monkeypatch, backend):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match=r"capability 8.0 \(Ampere\) or newer: found no GPU"):
        two_four.require_gpu(backend)


def test_an_old_gpu_is_an_error(gpu):
    gpu((7, 5))
    for backend in RULES:
        with pytest.raises(ValueError, match=r"8.0 \(Ampere\) or newer: found a GPU, 7.5"):
            two_four.require_gpu(backend)


@pytest.mark.parametrize("capability", [(8, 0), (8, 6), (8, 9)])
def test_ampere_and_ada_do_both(gpu, capability):
    gpu(capability)
    assert {two_four.require_gpu(backend) for backend in RULES} == {"a GPU"}


def test_newer_gpus_have_no_cutlass_in_torch(gpu):
    gpu((9, 0))
    assert two_four.require_gpu("cusparselt") == "a GPU"
    with pytest.raises(ValueError, match="8.x, newer ones 'cusparselt': found a GPU, 9.0"):
        two_four.require_gpu("cutlass")


def test_a_torch_without_cusparselt_is_an_error(gpu):
    gpu((8, 0), cusparselt=False)
    with pytest.raises(ValueError, match="built with cuSPARSELt"):
        two_four.require_gpu("cusparselt")
    assert two_four.require_gpu("cutlass") == "a GPU"
    with pytest.raises(ValueError, match="backend is 'cublas'"):
        two_four.require_gpu("cublas")


@pytest.mark.parametrize(
    ("shape", "dtype", "backend", "message"),
    [
        ((64, 128), torch.float16, "cutlass", "is on cpu, must be on a GPU"),
        ((64, 128), torch.float16, "cusparselt", "is on cpu, must be on a GPU"),
        ((16, 64), torch.float16, "cutlass", "rows a multiple of 32 and columns of 64 for cutlass"),
        ((32, 96), torch.bfloat16, "cutlass", "columns of 64"),
        ((16, 24), torch.float16, "cusparselt", "rows a multiple of 16 and columns of 16"),
        ((16, 64), torch.int8, "cutlass", "columns of 128 for cutlass in torch.int8"),
        ((0, 64), torch.float16, "cutlass", "rows a multiple of 32"),
        ((32, 64), torch.float32, "cusparselt", "dtype is torch.float32"),
        ((32, 64, 1), torch.float16, "cutlass", "must be a matrix"),
    ],
)
def test_weights_that_cannot_be_multiplied_are_errors(shape, dtype, backend, message):
    with pytest.raises(ValueError, match=message):
        two_four.sparse_weight(torch.zeros(shape, dtype=dtype), backend)


@pytest.fixture
def on_gpu(monkeypatch, gpu):
    """Pretend that every tensor lies on an A100, and leave out torch's packing, which needs one; the rest is real."""
    gpu((8, 0))
    monkeypatch.setattr(torch.Tensor, "is_cuda", True)
    for name in ("CUTLASS", "CUSPARSELT"):
        tensor_class = getattr(torch.sparse, f"SparseSemiStructuredTensor{name}")
        monkeypatch.setattr(tensor_class, "from_dense", lambda weight, alg_id=0: weight + 0)


@pytest.mark.parametrize("backend", RULES)
def test_gpu_and_pattern_are_checked_before_packing(on_gpu, gpu, backend):
    weight = torch.zeros(64, 64).half()
    weight[:, ::2] = 1
    assert torch.equal(two_four.sparse_weight(weight, backend), weight)
    with pytest.raises(ValueError, match="not 2:4: row 0, columns 0 to 3"):
        two_four.sparse_weight(torch.ones(64, 64).half(), backend)
    gpu((7, 5))
    with pytest.raises(ValueError, match="found a GPU, 7.5"):
        two_four.sparse_weight(weight, backend)


def test_float32_must_be_one_of_two(on_gpu):
    weight = torch.zeros(32, 32)
    weight[:, ::4] = weight[:, 1::4] = 1
    with pytest.raises(ValueError, match="not 1:2: row 0, columns 0 and 1"):
        two_four.sparse_weight(weight, "cutlass")


def network():
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.Linear(64, 10)).half()
    two_four.best_masks(model, ["0", "3"]).zero_(model)
    return model


def test_a_model_is_converted_where_it_can_and_the_rest_is_told(on_gpu):
    model = network()
    before = [model[i].weight for i in (0, 2, 3)]
    left = two_four.convert_(model, "cutlass")
    assert set(left) == {"2", "3"}
    assert "not 2:4" in left["2"] and "rows a multiple of 32" in left["3"]
    assert model[0].weight is not before[0] and not model[0].weight.requires_grad
    assert model[2].weight is before[1] and model[3].weight is before[2]


def test_a_named_layer_that_cannot_be_converted_is_an_error_that_changes_nothing(on_gpu):
    model = network()
    before = model[0].weight
    with pytest.raises(ValueError, match="layer '2' cannot be converted: dense is not 2:4"):
        two_four.convert_(model, "cutlass", ["0", "2"])
    with pytest.raises(ValueError, match="'1', which is no Linear"):
        two_four.convert_(model, "cutlass", ["0", "1"])
    assert model[0].weight is before
    assert two_four.convert_(model, "cutlass", ["0"]) == {"2": "not in layers", "3": "not in layers"}


def test_what_is_packed_already_is_an_error(on_gpu):
    model = nn.Sequential(nn.Linear(64, 64)).half()
    two_four.best_masks(model).zero_(model)
    packed, meta = two_four.compress(model[0].weight.detach())
    sparse = torch.sparse.SparseSemiStructuredTensorCUTLASS((64, 64), packed, meta, None, None, None)
    model[0].weight = nn.Parameter(sparse, requires_grad=False)
    with pytest.raises(ValueError, match="packed as 2:4 already"):
        two_four.convert_(model, "cutlass")


def test_only_plain_linear_layers_are_converted(on_gpu):
    layer = nn.TransformerEncoderLayer(64, 2, 64, batch_first=True)
    parametrized = nn.utils.parametrizations.weight_norm(nn.Linear(64, 64))
    model = nn.Sequential(nn.Linear(64, 64), layer, parametrized, prune.identity(nn.Linear(64, 64), "weight"))
    model.half()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    before = {name: parameter for name, parameter in model.named_parameters() if name != "0.weight"}
    left = two_four.convert_(model, "cutlass")
    assert set(left) == {"1.self_attn.out_proj", "1.linear1", "1.linear2", "2", "3"}
    assert all("not a plain nn.Linear" in reason for reason in left.values())
    assert all(dict(model.named_parameters())[name] is parameter for name, parameter in before.items())
    with pytest.raises(ValueError, match="layer '2' cannot be converted: it is not a plain"):
        two_four.convert_(model, "cutlass", ["0", "2"])


def test_held_weights_are_not_converted(on_gpu):
    model = network()
    handle = two_four.best_masks(model, ["3"]).hold(model)
    before = model[0].weight
    with pytest.raises(ValueError, match="'3.weight' is held by a mask"):
        two_four.convert_(model, "cutlass")
    assert model[0].weight is before
    handle.remove()
    assert "0" not in two_four.convert_(model, "cutlass")


def test_a_model_on_the_cpu_cannot_be_converted():
    model = network()
    with pytest.raises(ValueError, match="no layer of the model can be converted to 2:4: '0': weight is on cpu"):
        two_four.convert_(model, "cutlass")
    with pytest.raises(ValueError, match="no Linear layer"):
        two_four.convert_(nn.ReLU(), "cutlass")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
@pytest.mark.parametrize("backend", RULES)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_the_gpu_product_is_the_dense_one(backend, dtype):
    try:
        two_four.require_gpu(backend)
    except ValueError as error:
        pytest.skip(str(error))
    torch.manual_seed(0)
    linear = nn.Linear(256, 128).to("cuda", dtype)
    two_four.best_masks(linear).zero_(linear)
    x = torch.randn(5, 3, 256, device="cuda", dtype=dtype)
    with torch.no_grad():
        expected = linear(x)
        assert two_four.convert_(linear, backend) == {}
        torch.testing.assert_close(linear(x), expected, rtol=0.02, atol=0.02)
