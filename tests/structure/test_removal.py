"""The smaller model gives what the zeroed model gives; what would not is refused."""

import copy
import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from pruning_lib.structure.attention import FewerHeads
from pruning_lib.structure.masks import prunable
from pruning_lib.structure.removal import ClosedBlock, load_smaller, remove, save_smaller
from pruning_lib.structure.structured import choose_units, score_units, zero_units
from pruning_lib.structure.unstructured import keep_largest
from pruning_lib.workbench.models import build


def scramble_(model: nn.Module, seed: int = 0) -> nn.Module:
    """Random norms and biases, so that a forgotten shift or running mean shows."""
    generator = torch.Generator().manual_seed(seed)
    for module in model.modules():
        for key, t in [*module._parameters.items(), *module._buffers.items()]:
            if t is not None and t.is_floating_point() and (t.ndim == 1 or isinstance(module, nn.MultiheadAttention)):
                noise = torch.rand(t.shape, generator=generator, dtype=t.dtype) + 0.5
                t.data.copy_(noise if key in ("weight", "running_var") else noise - 1)
    return model.eval()


def outputs(model, inputs):
    with torch.no_grad():
        return (
            model(**inputs)
            if isinstance(inputs, dict)
            else model(*inputs)
            if isinstance(inputs, tuple)
            else model(inputs)
        )


def agree(model, inputs, units, tolerance=1e-5):
    """Remove, compare with the zeroed model, and return the smaller one."""
    before = copy.deepcopy(model.state_dict())
    smaller = remove(model, inputs, units)
    assert all(torch.equal(t, before[name]) for name, t in model.state_dict().items())
    zeroed = copy.deepcopy(model)
    zero_units(zeroed, units, inputs)
    dense, expected, got = (outputs(m, inputs) for m in (model, zeroed, smaller))
    assert (got - expected).abs().max() <= tolerance * expected.abs().max()
    assert (dense - expected).abs().max() > 100 * tolerance * expected.abs().max()  # else the test could not fail
    assert count(smaller) < count(model)
    return smaller


def count(model):
    return sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "vgg16_bn", "mobilenet_v2", "densenet121"])
def test_torchvision(name):
    models = pytest.importorskip("torchvision.models")
    torch.manual_seed(0)
    model = getattr(models, name)(num_classes=10)
    if name == "vgg16_bn":  # the classifier's 4096 × 4096 weights would only cost time
        model.avgpool, model.classifier = (
            nn.AdaptiveAvgPool2d(2),
            nn.Sequential(nn.Linear(512 * 4, 64), nn.ReLU(), nn.Linear(64, 10)),
        )
    scramble_(model)
    x = torch.randn(2, 3, 64, 64)
    units = choose_units(score_units(model, "channel", "l1", x), 0.3)
    assert len(units) > 10
    smaller = agree(model, x, units)
    assert type(smaller) is type(model)
    assert count(smaller) < 0.6 * count(model)


@pytest.mark.parametrize("scope", ["layer", "global"])
@pytest.mark.parametrize("name", ["lenet_300_100", "lenet5", "resnet"])
def test_workbench(name, scope):
    model = scramble_(build(name, (3, 16, 16), 10))
    x = torch.randn(3, 3, 16, 16)
    for unit in {"lenet_300_100": ["neuron"], "lenet5": ["filter", "neuron"], "resnet": ["filter", "block"]}[name]:
        model = agree(
            model, x, choose_units(score_units(model, unit, example_inputs=x), 0.3, scope)
        )  # one after another


def test_attributes_follow_the_shapes():
    model = nn.Sequential(nn.Conv2d(3, 8, 1), nn.GroupNorm(4, 8), nn.Conv2d(8, 16, 3, groups=4), nn.PReLU(16))
    model += nn.Sequential(
        nn.ConvTranspose2d(16, 6, 2), nn.InstanceNorm2d(6, affine=True), nn.Flatten(), nn.Linear(54, 2)
    )
    smaller = agree(scramble_(model), torch.randn(2, 3, 4, 4), {"0": [2, 3], "4": [5]})
    conv, norm, grouped, prelu, transposed, instance, _, linear = smaller
    assert (conv.out_channels, norm.num_groups, norm.num_channels) == (6, 3, 6)
    assert (grouped.in_channels, grouped.out_channels, grouped.groups) == (6, 12, 3)
    assert (prelu.num_parameters, transposed.in_channels, transposed.out_channels) == (12, 12, 5)
    assert (instance.num_features, linear.in_features) == (5, 45)


def test_copy_keeps_mode_types_gradients_and_hooks():
    model = scramble_(build("resnet", (3, 8, 8), 4, depth=8)).double()
    model.stage1.train()
    model.conv.weight.requires_grad_(False)
    calls = []
    model.conv.register_forward_hook(lambda *_: calls.append(1))
    x = torch.randn(2, 3, 8, 8, dtype=torch.float64)
    smaller = remove(model, x, {"conv": [1], "stage2.0.conv1": [0, 5]})
    assert not smaller.training and smaller.stage1.training and smaller.stage1[0].conv1.training
    assert [p.requires_grad for p in smaller.parameters()] == [p.requires_grad for p in model.parameters()]
    assert all(p.dtype == torch.float64 for p in smaller.parameters())
    calls.clear()
    smaller(x)
    assert calls == [1]
    smaller(x).sum().backward()
    assert smaller.stage2[0].conv1.weight.grad.shape == (30, 15, 3, 3)


class Mixed(nn.Module):
    """Additions, concatenation, flatten, depthwise and grouped convolutions, gates and scales, as `plan` says."""

    def __init__(self, plan, seed):
        super().__init__()
        torch.manual_seed(seed)
        width, self.plan, layers = 8, plan, []
        self.stem = nn.Conv2d(2, width, 3, padding=1)
        for step in plan:
            if step == "cat":
                layers.append(nn.Conv2d(width, 4, 3, padding=1))
                width += 4
            elif step == "gate":
                layers.append(nn.Conv2d(width, width, 1))
            elif step == "depthwise":
                layers.append(nn.Conv2d(width, width, 3, padding=1, groups=width))
            elif step == "grouped":
                layers.append(nn.Conv2d(width, width, 3, padding=1, groups=4))
            elif step == "glu":
                layers.append(nn.Conv2d(width, 16, 1))
                width = 8
            elif step == "norm":
                layers.append(nn.BatchNorm2d(width))
            elif step == "scale":
                layers.append(nn.Module())
                layers[-1].scale = nn.Parameter(torch.randn(width))
            else:
                layers.append(nn.Conv2d(width, width, 3, padding=1))
        self.layers = nn.ModuleList(layers)
        self.head = nn.Linear(width * 4, 3)

    def forward(self, x):
        x = self.stem(x)
        for step, layer in zip(self.plan, self.layers, strict=True):
            if step == "cat":
                x = torch.cat([x, layer(x)], dim=1)
            elif step == "gate":
                x = x * torch.sigmoid(layer(F.adaptive_avg_pool2d(x, 1)))
            elif step == "glu":
                a, b = layer(x).chunk(2, dim=1)
                x = a * b.sigmoid()
            elif step == "add":
                x = x + F.relu(layer(x))
            elif step == "scale":
                x = x * layer.scale.view(1, -1, 1, 1)
            else:
                x = F.silu(layer(x))
        return self.head(F.adaptive_max_pool2d(x, 2).view(x.size(0), -1))


STEPS = ["add", "cat", "conv", "depthwise", "gate", "glu", "grouped", "norm", "scale"]


@settings(deadline=None, max_examples=50, derandomize=True)
@given(st.lists(st.sampled_from(STEPS), max_size=5), st.integers(0, 10_000), st.floats(0.1, 0.9))
def test_random_networks_in_double_precision(plan, seed, sparsity):
    model = scramble_(Mixed(plan, seed).double(), seed)
    x = torch.randn(2, 2, 6, 6, dtype=torch.float64)
    units = choose_units(score_units(model, "channel", example_inputs=x), sparsity)
    if units:
        agree(model, x, units, tolerance=1e-10)


@pytest.mark.parametrize("step", STEPS)
def test_each_step_can_be_pruned(step):
    model = scramble_(Mixed([step, "conv"], 0).double())
    x = torch.randn(2, 2, 6, 6, dtype=torch.float64)
    scores = score_units(model, example_inputs=x)
    assert "stem" in scores and "layers.1" in scores
    agree(model, x, choose_units(scores, 0.5), tolerance=1e-10)


@pytest.mark.parametrize("kind", ["tensor", "tuple", "dict"])
def test_inputs_come_in_three_forms(kind):
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.out = nn.Linear(3, 5), nn.Linear(3, 5), nn.Linear(5, 2)

        def forward(self, x, y=None):
            return self.out(torch.relu(self.a(x)) if y is None else torch.relu(self.a(x) + self.b(y)))

    x, y = torch.randn(2, 4, 3)
    inputs = {"tensor": x, "tuple": (x, y), "dict": {"x": x, "y": y}}[kind]
    model = scramble_(Two())
    smaller = remove(model, inputs, {"a": [0, 4]})
    assert (smaller.a.out_features, smaller.b.out_features) == ((3, 5) if kind == "tensor" else (3, 3))
    agree(model, inputs, {"a": [0, 4]})


class Attending(nn.Module):
    def __init__(self, **options):
        super().__init__()
        self.attention = nn.MultiheadAttention(12, 4, **options)
        self.asked = {"need_weights": False}

    def forward(self, q, k, v, **masks):
        return self.attention(q, k, v, **self.asked, **masks)[0]


@pytest.mark.parametrize("options", [{}, {"batch_first": True}, {"bias": False}, {"kdim": 5, "vdim": 7}])
@pytest.mark.parametrize("mask", ["none", "bool", "float", "padding", "both", "causal"])
@pytest.mark.parametrize("weights", [False, True])
def test_heads(options, mask, weights):
    model = scramble_(Attending(**options).double())
    model.asked["need_weights"] = weights
    shapes = [(3, 2, 12), (6, 2, options.get("kdim", 12)), (6, 2, options.get("vdim", 12))]
    q, k, v = (torch.randn(s, dtype=torch.float64) for s in shapes)
    if options.get("batch_first"):
        q, k, v = (t.transpose(0, 1) for t in (q, k, v))
    inputs = {"q": q, "k": k, "v": v}
    ahead = torch.ones(3, 6, dtype=torch.bool).triu(2)
    padding = torch.zeros(2, 6, dtype=torch.bool)
    padding[1, 4:] = True
    inputs |= {
        "none": {},
        "bool": {"attn_mask": ahead},
        "float": {"attn_mask": torch.randn(3, 6, dtype=torch.float64)},
        "padding": {"key_padding_mask": padding},
        "both": {"attn_mask": ahead, "key_padding_mask": padding},
        "causal": {"attn_mask": ahead, "is_causal": False},
    }[mask]
    smaller = agree(model, inputs, {"attention": [1, 2]}, tolerance=1e-10)
    assert isinstance(smaller.attention, FewerHeads) and smaller.attention.num_heads == 2
    again = agree(smaller, inputs, {"attention": [0]}, tolerance=1e-10)
    assert again.attention.num_heads == 1


def test_transformer_layers_take_no_fused_path():
    model = nn.TransformerEncoder(
        nn.TransformerEncoderLayer(12, 4, 16, batch_first=True), 2, enable_nested_tensor=False
    )
    x = torch.randn(2, 5, 12)
    units = {"layers.0.self_attn": [0, 3], "layers.1.linear1": [2, 7, 8]}
    smaller = agree(scramble_(model), x, units, tolerance=2e-6)
    assert smaller.layers[0].self_attn.out_proj.in_features == 6


def test_vision_transformer_heads():
    transformer = pytest.importorskip("torchvision.models.vision_transformer")
    model = scramble_(transformer.VisionTransformer(32, 8, 2, 4, 24, 48))
    nn.init.normal_(model.heads.head.weight)
    x = torch.randn(2, 3, 32, 32)
    agree(model, x, choose_units(score_units(model, "head", example_inputs=x), 0.5))


def test_block_leaves_its_shortcut_and_activation():
    model = scramble_(build("resnet", (3, 8, 8), 4, depth=14))
    x = torch.randn(2, 3, 8, 8)
    smaller = agree(model, x, {"stage2.1": torch.tensor([0]), "stage1.0": [0], "conv": [3]})
    assert isinstance(smaller.stage2[1], ClosedBlock) and list(smaller.stage2[1]._modules) == ["relu"]
    r = torch.randn(1, 15, 3, 3)
    assert torch.equal(smaller.stage1[0](r), r.relu())


def test_closed_block_keeps_its_hooks():
    model = scramble_(build("resnet", (3, 8, 8), 4, depth=8))
    calls = []
    model.stage1[0].register_forward_hook(lambda *_: calls.append(1))
    x = torch.randn(2, 3, 8, 8)
    smaller = remove(model, x, {"stage1.0": [0]})
    calls.clear()
    smaller(x)
    assert calls == [1]


def test_hooks_that_change_what_passes_are_followed_and_kept():
    model = scramble_(build("resnet", (3, 8, 8), 4, depth=8))
    model.register_forward_pre_hook(lambda m, args, kwargs: ((args[0] * 2,), kwargs), with_kwargs=True)
    model.register_forward_hook(lambda m, args, out: out.exp())
    model.stage1[0].register_forward_pre_hook(lambda m, args: (args[0] * 3,))
    model.stage2[0].conv1.register_forward_hook(lambda m, args, out: out.tanh())
    smaller = agree(model, torch.randn(2, 3, 8, 8), {"conv": [1], "stage1.0": [0], "stage2.0.conv1": [0, 5]})
    assert isinstance(smaller.stage1[0], ClosedBlock)


@pytest.mark.parametrize("inplace", [False, True])
def test_steps_after_the_addition_are_found_by_what_they_are(inplace):
    relu = nn.ReLU(inplace)

    class Block(nn.Module):
        """Shares its activation with the rest of the model, and keeps others in a list."""

        def __init__(self, after):
            super().__init__()
            self.a, self.act, self.more, self.after = nn.Linear(4, 4), relu, nn.ModuleList([nn.Tanh()]), after

        def forward(self, r):
            return self.after(self, r + self.a(r))

    x = torch.randn(2, 3)
    for after in (lambda block, y: block.act(y), lambda block, y: F.relu(y)):
        model = scramble_(nn.Sequential(nn.Linear(3, 4), relu, Block(after), Block(after), nn.Linear(4, 2)))
        smaller = agree(model, x, {"3": [0], "2": [0]})
        assert [type(m) for m in smaller[3]] == [nn.ReLU]
    model = nn.Sequential(nn.Linear(3, 4), Block(lambda block, y: block.more[0](y)), nn.Linear(4, 2))
    with pytest.raises(ValueError, match="more than activations"):
        remove(model, x, {"1": [0]})


def test_bias_computed_on_the_way_stays():
    class Scaled(nn.Linear):
        def forward(self, x):
            return F.linear(x, self.weight, 2 * self.bias + 1)

    with pytest.raises(ValueError, match="followed through linear in '2'"):
        remove(nn.Sequential(nn.Linear(3, 6), nn.Linear(6, 4), Scaled(4, 4)), torch.randn(2, 3), {"1": [0]})


@pytest.mark.parametrize(
    ("forward", "why"),
    [
        (lambda self, r: self.b(torch.relu(self.a(r))) * 2 + r * 2, "not the identity"),
        (lambda self, r: (r + self.a(r)) * torch.sigmoid(self.b(r)), "more than activations"),
        (lambda self, r: (r + self.a(r)).mul_(torch.sigmoid(self.b(r))), "more than activations"),
        (lambda self, r: r + torch.softmax(self.a(r), 1), "does not end in a layer or norm"),
        (lambda self, r: r[:, :1] + self.a(r), "not the identity"),
    ],
)
def test_other_blocks_are_refused(forward, why):
    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 4)

        def forward(self, r):
            return forward(self, r)

    with pytest.raises(ValueError, match=why):
        remove(nn.Sequential(nn.Linear(3, 4), Block(), nn.Linear(4, 2)), torch.randn(2, 3), {"1": [0]})


def test_block_that_widens_by_broadcasting_is_refused():
    class Wider(nn.Module):
        def __init__(self):
            super().__init__()
            self.a = nn.Linear(1, 4)

        def forward(self, r):
            return r + self.a(r)

    with pytest.raises(ValueError, match="changes the shape"):
        remove(nn.Sequential(nn.Linear(3, 1), Wider(), nn.Linear(4, 2)), torch.randn(2, 3), {"1": [0]})


def test_two_additions_are_one_block():
    class PreNorm(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm, self.a, self.b = nn.LayerNorm(4), nn.Linear(4, 4), nn.Linear(4, 4)

        def forward(self, r):
            r = r + self.a(self.norm(r))
            return r + self.b(torch.relu(r))

    model = scramble_(nn.Sequential(nn.Linear(3, 4), PreNorm(), nn.Linear(4, 2)))
    smaller = agree(model, torch.randn(2, 3), {"1": [0]})
    assert count(smaller[1]) == 0


def test_size_fixed_in_code_is_refused():
    class Fixed(nn.Module):
        def __init__(self, keep):
            super().__init__()
            self.a, self.b, self.keep = nn.Linear(3, 8), nn.Linear(8, 2), keep

        def forward(self, x):
            h = self.a(x)
            if self.keep:
                assert h.shape[-1] == 8, "must be 8 wide"
                return self.b(h)
            return self.b(h) * len(self.a.weight)

    with pytest.raises(ValueError, match="must be 8 wide"):
        remove(Fixed(True), torch.randn(2, 3), {"a": [0]})
    with pytest.raises(ValueError, match=r"outputs differ|cannot be followed"):
        remove(Fixed(False), torch.randn(2, 3), {"a": [0]})


def test_held_weight_is_refused_and_others_go():
    model = scramble_(build("lenet5", (1, 16, 16), 4))
    x = torch.randn(2, 1, 16, 16)
    handle = keep_largest({"fc2.weight": prunable(model)["fc2.weight"].abs()}, 0.5).hold(model)
    agree(model, x, {"conv1": [3]})
    with pytest.raises(ValueError, match=r"'fc2.weight' is held by a mask"):
        remove(model, x, {"fc1": [3]})
    handle.remove()
    agree(model, x, {"fc1": [3]})


def test_saved_model_is_whole_in_another_process(tmp_path):
    model = scramble_(build("resnet", (3, 8, 8), 4, depth=14))
    x = torch.randn(2, 3, 8, 8)
    smaller = remove(model, x, {"stage1.1": [0], "stage1.0.conv1": [1, 2], "conv": [0]})
    path = tmp_path / "small.safetensors"
    save_smaller(smaller, path)
    code = (
        "import torch; from pruning_lib.structure.removal import load_smaller as load\n"
        "from pruning_lib.workbench.models import build\n"
        f"model = load({str(path)!r}, lambda: build('resnet', (3, 8, 8), 4, depth=14)).eval()\n"
        f"torch.save(model(torch.load({str(tmp_path / 'x')!r})), {str(tmp_path / 'y')!r})"
    )
    torch.save(x, tmp_path / "x")
    subprocess.run([sys.executable, "-c", code], check=True)
    assert torch.allclose(torch.load(tmp_path / "y"), outputs(smaller, x), atol=1e-6)


def test_saved_heads_and_groups_come_back(tmp_path):
    path = tmp_path / "a.safetensors"
    model = scramble_(Attending())
    q = torch.randn(3, 2, 12)
    smaller = remove(model, (q, q, q), {"attention": [0]})
    save_smaller(smaller, path)
    again = load_smaller(path, Attending).eval()
    assert again.attention.num_heads == 3 and torch.equal(outputs(again, (q, q, q)), outputs(smaller, (q, q, q)))

    def grouped():
        return nn.Sequential(nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 1, groups=4), nn.Conv2d(8, 2, 1))

    x = torch.randn(1, 3, 2, 2)
    save_smaller(remove(grouped(), x, {"0": [6, 7]}), path)
    assert load_smaller(path, grouped)[1].groups == 3


def test_saved_block_whose_activation_is_a_function_comes_back(tmp_path):
    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(4, 4, 3, padding=1)

        def forward(self, x):
            return F.relu(x + self.conv(x))

    def make():
        return nn.Sequential(nn.Conv2d(3, 4, 1), Block(), nn.Conv2d(4, 2, 1))

    x = torch.randn(2, 3, 5, 5)
    smaller = remove(make(), x, {"1": [0]})
    save_smaller(smaller, tmp_path / "a.safetensors")
    again = load_smaller(tmp_path / "a.safetensors", make)
    assert list(again[1]._modules) == ["relu"] and torch.equal(again(x), smaller(x))


def test_bad_files_are_named(tmp_path):
    path = tmp_path / "a.safetensors"
    save_smaller(build("lenet5", (1, 16, 16), 4), path)
    cases = {
        "not a whole file": path.read_bytes()[:-100],
        "not a whole": b"",
    }
    for message, content in cases.items():
        broken = tmp_path / "broken.safetensors"
        broken.write_bytes(content)
        with pytest.raises(ValueError, match=f"broken.safetensors is {message}"):
            load_smaller(broken, lambda: build("lenet5", (1, 16, 16), 4))
    masks = keep_largest({"w": torch.rand(4)}, 0.5)
    masks.save(broken)
    with pytest.raises(ValueError, match=r"broken\.safetensors was not written by"):
        load_smaller(broken, lambda: build("lenet5", (1, 16, 16), 4))
    with pytest.raises(ValueError, match=r"a\.safetensors does not fit the model built: .* only in one"):
        load_smaller(path, lambda: build("lenet_300_100", (1, 16, 16), 4))
    with pytest.raises(ValueError, match=r"a\.safetensors does not fit .* must be at most"):
        load_smaller(path, lambda: build("lenet5", (1, 16, 16), 3))


@pytest.mark.parametrize(
    ("units", "message"),
    [
        ({"fc2": [0]}, "unit 0 of 'fc2' cannot be removed: it feeds the model's output"),
        ({"fc1": [500]}, "holds 500"),
        ({"relu1": [0]}, "'relu1' has no units"),
        ({"conv9": [0]}, "no module"),
        ({"conv1": range(20)}, "all 20 units"),
        ({"conv1": "a"}, r"units\['conv1'\] is 'a', must be a list of indices"),
        ({"conv1": [None]}, r"units\['conv1'\] is a list of 1, must be a list of indices"),
        (["conv1"], "units is a list of 1, must be a dict"),
    ],
)
def test_bad_units(units, message):
    with pytest.raises(ValueError, match=message):
        remove(build("lenet5", (1, 16, 16), 4), torch.randn(1, 1, 16, 16), units)
