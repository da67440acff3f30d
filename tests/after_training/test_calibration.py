"""The walk through a model: the inputs of each layer, how often blocks run, what an error leaves behind."""

import copy
import warnings

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from pruning_lib.after_training import sparsegpt, wanda
from pruning_lib.after_training.calibration import Unfinished, prune_in_order
from pruning_lib.after_training.layers import as_matrices, unfolded
from pruning_lib.after_training.reconstruction import Hessian
from pruning_lib.structure import Masks, prunable
from pruning_lib.workbench import huggingface

F64 = torch.float64


class Block(nn.Module):
    """A transformer block in little: two layers one after the other, a residual, an argument that all blocks get."""

    def __init__(self, width=8, out=tuple):
        super().__init__()
        self.norm, self.up, self.down = nn.LayerNorm(width), nn.Linear(width, 12), nn.Linear(12, width)
        self.out, self.runs = out, 0

    def forward(self, hidden, scale=None):
        self.runs += 1
        hidden = hidden + self.down(F.dropout(self.up(self.norm(hidden)).relu_(), 0.5, self.training)) * scale
        return (hidden, None) if self.out is tuple else hidden


class Net(nn.Module):
    """Embedding, blocks in a list, a head; takes a dict of keywords."""

    def __init__(self, depth=3, out=tuple):
        super().__init__()
        torch.manual_seed(0)
        self.embedding = nn.Embedding(30, 8)
        self.blocks = nn.ModuleList(Block(out=out) for _ in range(depth))
        self.head = nn.Linear(8, 30)
        self.double()

    def forward(self, ids, scale=1.0):
        hidden = self.embedding(ids)
        for block in self.blocks:
            hidden = block(hidden, scale=torch.tensor(scale))
            hidden = hidden[0] if isinstance(hidden, tuple) else hidden
        return self.head(hidden)


class Backwards(Net):
    """The blocks are fed something else than one another's outputs."""

    def forward(self, ids, scale=1.0):
        hidden = self.embedding(ids)
        for block in self.blocks:
            hidden = 0.9 * block(hidden, scale=torch.tensor(scale))[0]
        return self.head(hidden)


def batches(count=4):
    generator = torch.Generator().manual_seed(1)
    return [{"ids": torch.randint(0, 30, (2 + i, 9), generator=generator), "scale": 0.5 + i} for i in range(count)]


def by_hand(model, given, blocks, **options):
    """Prune with one pass of the whole model for the layers of each entry of `blocks`: slow and plain."""
    keeps = {}
    for names in blocks:
        layers = {name: model.get_submodule(name) for name in names}
        hessians = {name: Hessian(layer.in_features, F64) for name, layer in layers.items()}
        hooks = [
            layer.register_forward_pre_hook(lambda _, args, gathered=hessians[name]: gathered.add(args[0]) and None)
            for name, layer in layers.items()
        ]
        for batch in given:
            model(**batch)
        for hook in hooks:
            hook.remove()
        for name, layer in layers.items():
            weight, keeps[f"{name}.weight"] = sparsegpt.prune_weight(layer.weight, hessians[name].matrix, **options)
            layer.weight.data.copy_(weight)
    return Masks(keeps)


def assert_same(model, other):
    for (name, one), two in zip(model.named_parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(one, two, rtol=0, atol=1e-9, msg=lambda text, name=name: f"{name}: {text}")


def blocks_of(depth=3):
    return [[f"blocks.{i}.up", f"blocks.{i}.down"] for i in range(depth)] + [["head"]]


@pytest.mark.parametrize("out", [tuple, torch.Tensor])
def test_blocks_are_calibrated_on_the_pruned_blocks_before(out):
    model, expected = Net(out=out), Net(out=out).eval()
    model.train()
    model.blocks[1].eval()
    masks = sparsegpt.prune_model(model, batches(), sparsity=0.5, progress=False)
    assert masks == by_hand(expected, batches(), blocks_of(), sparsity=0.5)
    assert_same(model, expected)
    assert model.training and not model.blocks[1].training and model.blocks[2].norm.training
    assert not any(module._forward_pre_hooks or module._forward_hooks for module in model.modules())
    assert not any("forward" in module.__dict__ for module in model.modules())
    assert all(weight.requires_grad and weight.grad is None for weight in model.parameters())


@pytest.mark.parametrize("depth", [2, 6])
def test_every_block_runs_as_often_whatever_the_depth(depth):
    model = Net(depth)
    sparsegpt.prune_model(model, batches(4), sparsity=0.5, progress=False)
    # Twice for every batch in the walk, once for every batch for the head, and the first batch 4 times: order of the
    # layers, proof of the chain (once whole, twice block by block).
    assert {block.runs for block in model.blocks} == {2 * 4 + 4 + 4}


def test_blocks_that_are_no_chain_are_pruned_layer_by_layer():
    model, expected = Backwards(), Backwards().eval()
    with pytest.warns(UserWarning, match="blocks are not walked one by one: .* output of the one before"):
        masks = sparsegpt.prune_model(model, batches(), sparsity=0.5, progress=False)
    single = [[name] for names in blocks_of() for name in names]
    assert masks == by_hand(expected, batches(), single, sparsity=0.5)
    assert_same(model, expected)


def test_blocks_that_change_when_run_again_are_no_chain():
    class Growing(Block):
        def forward(self, hidden, scale=None):
            return super().forward(hidden, scale * (1 + self.runs))

    model = Net()
    model.blocks[1] = Growing().double()
    with pytest.warns(UserWarning, match="put out something else"):
        sparsegpt.prune_model(model, batches(), sparsity=0.5, progress=False)


@pytest.mark.parametrize("size", [1.0, 1e-6])
def test_blocks_that_also_get_the_output_of_the_first_are_no_chain_however_small_it_is(size):
    class Skipping(nn.Module):
        def forward(self, hidden):
            first = None
            for block in self.blocks:
                hidden = block(hidden, first)
                first = hidden if first is None else first
            return hidden

    class Step(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(6, 6, bias=False)

        def forward(self, hidden, first):
            return self.layer(hidden if first is None else hidden + first)

    torch.manual_seed(0)
    model = Skipping()
    model.blocks = nn.ModuleList(Step() for _ in range(3))
    expected = copy.deepcopy(model)
    given = size * torch.randn(30, 6)
    with pytest.warns(UserWarning, match="put out something else"):
        wanda.prune_model(model, [given], 0.5, progress=False)
        for place in range(3):
            wanda.prune_model(expected, [given], 0.5, layers=[f"blocks.{place}.layer"], progress=False)
    assert all(torch.equal(one, two) for one, two in zip(model.parameters(), expected.parameters(), strict=True))


@pytest.mark.parametrize(
    "layer",
    [
        nn.Linear(6, 4),
        nn.Conv1d(6, 4, 3, stride=2, padding=1),
        nn.Conv2d(6, 4, (3, 2), stride=(1, 2), padding=(2, 1), dilation=2),
        nn.Conv2d(6, 4, 3, padding="same", padding_mode="reflect", groups=2),
        nn.Conv2d(6, 6, 3, groups=6, padding_mode="circular", padding=1),
        nn.Conv3d(6, 4, 2, groups=2),
    ],
    ids=lambda layer: type(layer).__name__,
)
@pytest.mark.parametrize("chunk", [2**26, 1])
def test_a_layer_is_its_matrices_times_its_unfolded_inputs(layer, chunk, monkeypatch):
    monkeypatch.setattr("pruning_lib.after_training.layers.CHUNK", chunk)
    spatial = len(getattr(layer, "kernel_size", ()))
    x = torch.randn(3, 5, 6) if spatial == 0 else torch.randn(3, 6, *[7, 8, 5][:spatial])
    parts = {}
    for group, inputs in unfolded(layer, x):
        parts.setdefault(group, []).append(inputs)
    matrices = as_matrices(layer, layer.weight)
    found = torch.cat([torch.cat(parts[group]) @ matrix.T for group, matrix in enumerate(matrices)], 1) + layer.bias
    expected = layer(x) if spatial == 0 else layer(x).movedim(1, -1)
    torch.testing.assert_close(found, expected.flatten(0, -2), rtol=1e-4, atol=1e-5)


def test_convolutions_are_pruned_group_by_group():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(inplace=True), nn.Conv2d(8, 4, 3, groups=2), nn.Flatten())
    model = nn.Sequential(model, nn.Linear(64, 5)).double()
    images = [torch.randn(6, 3, 8, 8, dtype=F64) for _ in range(2)]
    masks = sparsegpt.prune_model(model, images, sparsity=0.5, progress=False)
    assert masks.keys() == prunable(model).keys()
    for part in masks["0.2.weight"].flatten(1).chunk(2):
        assert part.sum() == part.numel() / 2
    assert masks["0.0.weight"].sum() == 8 * 27 / 2
    assert all((weight[~masks[name]] == 0).all() for name, weight in prunable(model).items())
    assert model[0][0](images[0]).shape == (6, 8, 6, 6)


def test_a_layer_used_twice_sees_both_inputs():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(6, 6).double(), nn.Linear(6, 6).double()
            self.b.weight = self.a.weight

        def forward(self, x):
            return self.b(self.a(x).relu())

    torch.manual_seed(0)
    model = Twice()
    x = torch.randn(40, 6, dtype=F64)
    hessian = Hessian(6, F64).add(x).add(model.a(x).relu()).matrix
    weight, keep = sparsegpt.prune_weight(model.a.weight, hessian, sparsity=0.5)
    masks = sparsegpt.prune_model(model, [x], sparsity=0.5, progress=False)
    assert masks == Masks({"a.weight": keep})
    torch.testing.assert_close(model.b.weight.detach(), weight, rtol=0, atol=1e-9)


@pytest.mark.parametrize("failing", range(7))
def test_after_a_failure_what_is_done_is_said_and_the_rest_can_follow(failing):
    model, expected = Net(), Net()
    reference = sparsegpt.prune_model(expected, batches(), sparsity=0.5, progress=False)
    before = copy.deepcopy(model.state_dict())
    count = 0

    def prune_layer(weight, hessian):
        nonlocal count
        count += 1
        if count == failing + 1:
            raise ValueError("hessian is bad")
        return sparsegpt.prune_weight(weight, hessian, sparsity=0.5)

    order = [name for names in blocks_of() for name in names]
    with pytest.raises(Unfinished, match=f"^{order[failing]}: hessian is bad") as caught:
        prune_in_order(model, batches(), prune_layer, Hessian, progress=False)
    done = failing // 2 * 2
    assert caught.value.left == order[done:]
    assert list(caught.value.masks or ()) == [f"{name}.weight" for name in order[:done]]
    for name, weight in model.state_dict().items():
        assert (name in (caught.value.masks or ())) != torch.equal(weight, before[name])
    assert not any(module._forward_pre_hooks for module in model.modules())
    rest = sparsegpt.prune_model(model, batches(), sparsity=0.5, layers=caught.value.left, progress=False)
    assert Masks({**(caught.value.masks or {}), **rest}) == reference
    assert_same(model, expected)


def test_bad_calibration_names_the_layer_and_changes_nothing():
    model = Net()
    model.blocks[0].norm.weight.data[3] = torch.nan
    before = copy.deepcopy(model.state_dict())
    with warnings.catch_warnings(), pytest.raises(Unfinished, match="^blocks.0.up: hessian .* must be finite"):
        warnings.simplefilter("error")
        sparsegpt.prune_model(model, batches(), sparsity=0.5, progress=False)
    for name, weight in model.state_dict().items():
        torch.testing.assert_close(weight, before[name], rtol=0, atol=0, equal_nan=True)


def test_an_error_in_the_model_leaves_no_hooks_and_the_mode():
    model = Net().train()
    with pytest.raises(IndexError):
        sparsegpt.prune_model(model, [{"ids": torch.tensor([[99]])}], sparsity=0.5, progress=False)
    with pytest.raises(Unfinished, match="none") as caught:
        sparsegpt.prune_model(model, [*batches(), {"ids": torch.tensor([[99]])}], sparsity=0.5, progress=False)
    assert caught.value.masks is None and isinstance(caught.value.__cause__, IndexError)
    assert model.training and not any(module._forward_pre_hooks for module in model.modules())
    assert not any("forward" in module.__dict__ for module in model.modules())


def test_bad_input_is_an_error():
    class Unused(Net):
        def forward(self, ids, scale=1.0):
            self.head, head = nn.Identity(), self.head
            try:
                return super().forward(ids, scale)
            finally:
                self.head = head

    def prune(model, given, **options):
        return sparsegpt.prune_model(model, given, progress=False, **{"sparsity": 0.5, **options})

    held = Net()
    masks = Masks({"head.weight": torch.ones(30, 8, dtype=torch.bool)})
    masks.hold(held)
    for model, call, message in [
        (Net(), lambda m: prune(m, []), "batches is empty"),
        (Unused(), lambda m: prune(m, batches()), "calibration never reaches head"),
        (Net(), lambda m: prune(m, batches(), layers=["blocks.9"]), "layers has 'blocks.9'"),
        (Net(), lambda m: prune(m, batches(), layers=["embedding"]), "layers has 'embedding'"),
        (Net(), lambda m: prune(m, batches(), layers=[]), "layers is empty"),
        (Net(), lambda m: prune(m, batches(), sparsity=None, n_m=(2, 8)), "blocks.0.down has 12 columns"),
        (held, lambda m: prune(m, batches()), "'head.weight' is held by a mask"),
        (nn.ReLU(), lambda m: prune(m, [torch.ones(2)]), "no prunable weight"),
    ]:
        before = copy.deepcopy(model.state_dict())
        with pytest.raises(ValueError, match=message) as caught:
            call(model)
        assert not isinstance(caught.value, Unfinished)
        assert all(torch.equal(weight, before[name]) for name, weight in model.state_dict().items())


def test_only_the_layers_named_are_pruned_and_the_bar_counts_them(capsys):
    model, before = Net(), Net()
    masks = sparsegpt.prune_model(model, batches(), n_m=(2, 4), layers=["head", "blocks.1.up"])
    assert list(masks) == ["head.weight", "blocks.1.up.weight"]
    changed = [
        n for (n, one), two in zip(model.named_parameters(), before.parameters(), strict=True) if (one != two).any()
    ]
    assert changed == ["blocks.1.up.weight", "head.weight"]
    assert "2/2" in capsys.readouterr().err


def interrupting(after):
    count = 0

    def prune_layer(weight, hessian):
        nonlocal count
        count += 1
        if count > after:
            raise KeyboardInterrupt
        return sparsegpt.prune_weight(weight, hessian, sparsity=0.5)

    return prune_layer


def test_after_an_interrupt_what_is_done_is_said_and_the_rest_can_follow():
    model, expected = Net(), Net()
    reference = sparsegpt.prune_model(expected, batches(), sparsity=0.5, progress=False)
    with pytest.raises(KeyboardInterrupt) as caught:
        prune_in_order(model, batches(), interrupting(3), Hessian, progress=False)
    assert list(caught.value.masks) == ["blocks.0.up.weight", "blocks.0.down.weight"]
    assert caught.value.left == [name for names in blocks_of()[1:] for name in names]
    assert "Pruned: blocks.0.up.weight, blocks.0.down.weight; unchanged: blocks.1.up" in caught.value.__notes__[0]
    rest = sparsegpt.prune_model(model, batches(), sparsity=0.5, layers=caught.value.left, progress=False)
    assert Masks({**caught.value.masks, **rest}) == reference
    assert_same(model, expected)


def test_an_interrupt_while_a_block_is_written_leaves_it_unwritten():
    class Writing(nn.Parameter):
        def copy_(self, other):
            super().copy_(other)
            if not stopped:
                stopped.append(True)
                raise KeyboardInterrupt

    stopped = []
    model = Net()
    model.blocks[1].down.weight.__class__ = Writing
    before = copy.deepcopy(Net().state_dict())
    with pytest.raises(KeyboardInterrupt) as caught:
        sparsegpt.prune_model(model, batches(), sparsity=0.5, progress=False)
    assert stopped and list(caught.value.masks) == ["blocks.0.up.weight", "blocks.0.down.weight"]
    for name, weight in model.state_dict().items():
        assert (name in caught.value.masks) != torch.equal(weight, before[name])


def test_the_rest_is_walked_alike_in_nested_containers():
    class Residual(nn.Module):
        def __init__(self):
            super().__init__()
            self.up, self.down = nn.Linear(8, 12), nn.Linear(12, 8)

        def forward(self, x):
            return x + self.down(self.up(x).relu())

    def made():
        torch.manual_seed(0)
        return nn.Sequential(nn.Sequential(*(nn.Linear(8, 8) for _ in range(4))), Residual(), nn.Linear(8, 3)).double()

    model, expected, given = made(), made(), [torch.randn(50, 8, dtype=F64)]
    reference = sparsegpt.prune_model(expected, given, sparsity=0.5, progress=False)
    with pytest.raises(KeyboardInterrupt) as caught:
        prune_in_order(model, given, interrupting(4), Hessian, progress=False)
    assert caught.value.left == ["1.up", "1.down", "2"]
    rest = sparsegpt.prune_model(model, given, sparsity=0.5, layers=caught.value.left, progress=False)
    assert Masks({**caught.value.masks, **rest}) == reference
    assert_same(model, expected)


def test_a_block_may_work_on_its_input_in_place():
    class InPlace(Block):
        def forward(self, hidden, scale=None):
            return super().forward(hidden.mul_(0.5), scale)

    def made():
        model = Net()
        model.blocks[1] = InPlace()
        torch.manual_seed(1)
        for weight in model.blocks[1].parameters():
            nn.init.normal_(weight)
        return model.double().eval()

    model, expected = made(), made()
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("error")
        masks = sparsegpt.prune_model(model, batches(), sparsity=0.5, progress=False)
        assert masks == by_hand(expected, batches(), blocks_of(), sparsity=0.5)
    assert_same(model, expected)


def test_blocks_that_cannot_be_called_alone_are_no_chain():
    class Counted(Net):
        def forward(self, ids, scale=1.0):
            self.now = True
            try:
                return super().forward(ids, scale)
            finally:
                del self.now

    class Needy(Block):
        def forward(self, hidden, scale=None):
            assert net[0].now
            return super().forward(hidden, scale)

    model = Counted()
    net = [model]
    model.blocks[1] = Needy().double()
    with pytest.warns(UserWarning, match="blocks are not walked one by one: run one by one they fail: .*'now'"):
        sparsegpt.prune_model(model, batches(), sparsity=0.5, progress=False)


def test_a_later_batch_that_runs_otherwise_is_said_with_the_container():
    class Fickle(Net):
        def forward(self, ids, scale=1.0):
            return Backwards.forward(self, ids, scale) if scale > 2 else super().forward(ids, scale)

    with pytest.raises(Unfinished, match="^the elements of blocks run otherwise in a later batch: one is not given"):
        sparsegpt.prune_model(Fickle(), batches(), sparsity=0.5, progress=False)


@pytest.mark.parametrize(("layer", "empty"), [(nn.Linear(6, 2), (0, 6)), (nn.Conv2d(6, 2, 1), (0, 6, 3, 3))])
def test_batches_without_samples_are_said(layer, empty):
    with pytest.raises(Unfinished, match="^the model itself: calibration gives it no inputs"):
        sparsegpt.prune_model(layer, [torch.ones(empty)], sparsity=0.5, progress=False)


# Padding and targets


def language_model(family):
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    if family == "llama":
        config = transformers.LlamaConfig(
            vocab_size=50,
            hidden_size=16,
            intermediate_size=24,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=1,
        )
        return transformers.LlamaForCausalLM(config).double()
    if family == "opt":
        config = transformers.OPTConfig(
            vocab_size=50,
            hidden_size=16,
            ffn_dim=24,
            num_hidden_layers=2,
            num_attention_heads=2,
            max_position_embeddings=32,
            word_embed_proj_dim=16,
        )
        return transformers.OPTForCausalLM(config).double()
    config = transformers.GPT2Config(
        vocab_size=50, n_positions=32, n_embd=16, n_layer=2, n_head=2, bos_token_id=0, eos_token_id=0
    )
    return huggingface.to_linear_(transformers.GPT2LMHeadModel(config)).double()


TEXTS = [torch.randint(1, 50, (n,), generator=torch.Generator().manual_seed(n)) for n in (5, 9, 7, 9, 12, 3)]


def tokenized(texts, side, position_ids=False):
    """What a tokenizer gives for texts of unequal length."""
    batch = {
        "input_ids": nn.utils.rnn.pad_sequence(texts, batch_first=True, padding_side=side),
        "attention_mask": nn.utils.rnn.pad_sequence(
            [torch.ones_like(text) for text in texts], batch_first=True, padding_side=side
        ),
    }
    if position_ids:
        batch["position_ids"] = (batch["attention_mask"].cumsum(1) - 1).clamp(min=0)
    return batch


@pytest.mark.parametrize("walked", [True, False], ids=["block by block", "layer by layer"])
@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("family", ["llama", "gpt2", "opt"])
def test_padding_does_not_count(family, side, walked, monkeypatch):
    if not walked:
        monkeypatch.setattr("pruning_lib.after_training.calibration.containers", lambda model: [])
    for method in (sparsegpt, wanda):
        model, expected = language_model(family), language_model(family)
        every = [name.removesuffix(".weight") for name in prunable(model)]
        layers = None if walked else every[2:5]  # each takes passes of the whole model
        options = {"sparsity": 0.5, "layers": layers, "progress": False}
        reference = method.prune_model(expected, [{"input_ids": text[None]} for text in TEXTS], **options)
        padded = [tokenized(TEXTS[:3], side, position_ids=family != "opt"), tokenized(TEXTS[3:], side)]
        assert method.prune_model(model, padded, **options) == reference
        assert_same(model, expected)


def test_what_a_padded_text_puts_out_is_what_it_puts_out_alone():
    """So that cutting the padding off changes nothing but what counts."""
    model = language_model("llama").eval()
    batch = tokenized(TEXTS, "left", position_ids=True)
    for text, logits in zip(TEXTS, model(**batch).logits, strict=True):
        torch.testing.assert_close(logits[-len(text) :], model(text[None]).logits[0], rtol=0, atol=1e-6)


@pytest.mark.parametrize("kind", [torch.bool, torch.float64])
def test_padding_of_torch_layers_does_not_count(kind):
    def made():
        torch.manual_seed(0)
        layer = nn.TransformerEncoderLayer(8, 2, 12, batch_first=True)
        return nn.TransformerEncoder(layer, 2).double()

    x, lengths = torch.randn(4, 6, 8, dtype=F64), [6, 2, 4, 2]
    out = torch.arange(6) >= torch.tensor(lengths)[:, None]
    mask = out if kind is torch.bool else torch.zeros(4, 6, dtype=kind).masked_fill(out, -torch.inf)
    model, expected = made(), made()
    options = {"sparsity": 0.5, "layers": [f"layers.{i}.linear{j}" for i in (0, 1) for j in (1, 2)], "progress": False}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "the elements of layers are not walked")
        reference = sparsegpt.prune_model(expected, [x[i : i + 1, :n] for i, n in enumerate(lengths)], **options)
        assert sparsegpt.prune_model(model, [{"src": x, "src_key_padding_mask": mask}], **options) == reference
    assert_same(model, expected)


def test_targets_that_come_with_the_inputs_are_left_out():
    def made():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3)).double()

    x, y = torch.randn(40, 6, dtype=F64), torch.arange(40) % 3
    expected = made()
    reference = sparsegpt.prune_model(expected, x.split(16), sparsity=0.5, progress=False)
    pairs = list(zip(x.split(16), y.split(16), strict=True))
    for given in (DataLoader(TensorDataset(x, y), batch_size=16), pairs, iter(pairs)):
        model = made()
        assert sparsegpt.prune_model(model, given, sparsity=0.5, progress=False) == reference
        assert_same(model, expected)
    net, alone = Net(), Net()
    labeled = [batch | {"labels": torch.zeros(len(batch["ids"]))} for batch in batches()]
    assert wanda.prune_model(net, labeled, sparsity=0.5, progress=False) == wanda.prune_model(
        alone, batches(), sparsity=0.5, progress=False
    )


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (torch.ones(4, 6), r"batches is a tensor of shape \(4, 6\), must be an iterable"),
        ([["a", "b"]], "batch is a list of 2"),
        ([torch.ones(4, 6).numpy()], "batch is a NumPy array"),
        ([torch.ones(4, 6), (torch.ones(4, 6),) * 3], "batch is a tuple of 3"),
    ],
)
def test_what_is_no_batch_changes_nothing(given, message):
    model = nn.Sequential(nn.Linear(6, 8), nn.Linear(8, 3))
    before = copy.deepcopy(model.state_dict())
    for method in (sparsegpt, wanda):
        with pytest.raises(ValueError, match=message) as caught:
            method.prune_model(model, given, sparsity=0.5, progress=False)
        assert not isinstance(caught.value, Unfinished)
    assert all(torch.equal(weight, before[name]) for name, weight in model.state_dict().items())
