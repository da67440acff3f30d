"""The networks that run in the page: JavaScript keeps and computes what PyTorch does."""

import base64
import itertools

import pytest
import torch
from node import computed
from torch import nn
from widget_page import state_of

from pruning_lib.structure import choose_units, keep_largest, prunable, remove, score_units
from pruning_lib.teaching.recorded_lenet import from_vector, load
from pruning_lib.teaching.widgets.at_initialization import STAGES, AtInitialization
from pruning_lib.teaching.widgets.live_network import STRUCTURES, LiveNetwork
from pruning_lib.workbench import training
from pruning_lib.workbench.data import load as load_data

MODEL = """
const bytes = (text) => new DataView(Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer);
const model = { get: (name) => (given.bytes[name] === undefined ? given.state[name] : bytes(given.bytes[name])) };
const labels = Uint8Array.from(atob(given.bytes.labels), (c) => c.charCodeAt(0));
const inputs = inputsOf(model.get("pixels"), model.get("grays"), labels.length);
const answer = (layers, keeps) => {
  const { logits, read, right, loss } = reading(logitsOf(layers, keeps, inputs, labels.length), labels);
  const texts = keeps.map((keep) => Buffer.from(keep).toString("base64"));
  return { keeps: texts, logits: [...logits], read: [...read], right, loss };
};
"""
PRUNED = f"""(() => {{ {MODEL}
  const layers = layersOf(model.get("layers"), fromHalves(model.get("vector")));
  const choose = networkChooser(layers);
  return given.cases.map((how) => answer(layers, choose(...how)));
}})()"""
RECORDED = f"""(() => {{ {MODEL}
  const networks = recordedNetworks(model);
  return given.cases.map((how) => {{
    const {{ layers, keep }} = networks(...how);
    return answer(layers, keep);
  }});
}})()"""
NAMES = "inputsOf, layersOf, fromHalves, logitsOf, networkChooser, reading"


@pytest.fixture(scope="module")
def digits():
    return load_data("digits").test


@pytest.fixture(scope="module")
def recorded():
    return load()


def small(*sizes: int, seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    layers = [layer for pair in itertools.pairwise(sizes) for layer in (nn.Linear(*pair), nn.ReLU())]
    return nn.Sequential(nn.Flatten(), *layers[:-1])


def some_images(count: int = 5, side: int = 2, seed: int = 0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 17, (count, 1, side, side), generator=generator) / 4, torch.arange(count) % 3


def given(widget, cases) -> dict:
    state = state_of(widget)
    sent = {name: base64.b64encode(value).decode() for name, value in state.items() if isinstance(value, bytes)}
    return {"cases": cases, "bytes": sent, "state": {name: value for name, value in state.items() if name not in sent}}


def check(answer: dict, widget, inputs, labels, message: str) -> None:
    """What JavaScript answered, against PyTorch in double and in single precision."""
    masks, network = widget.masks(), widget.pruned()
    assert answer["keeps"] == [base64.b64encode(mask.numpy().tobytes()).decode() for mask in masks.values()], message
    with torch.no_grad():
        single, double = network(inputs), network.double()(inputs.double())
    logits = torch.tensor(answer["logits"], dtype=torch.float64).view(-1, len(inputs)).T
    torch.testing.assert_close(logits, double, rtol=1e-12, atol=1e-12, msg=message)
    torch.testing.assert_close(logits.float(), single, rtol=0, atol=1e-4, msg=message)
    assert answer["read"] == single.argmax(dim=1).tolist(), message
    accuracy, loss = training.evaluate(network, (inputs.double(), labels))
    assert answer["right"] == round(accuracy * len(labels)), message
    assert answer["loss"] == pytest.approx(loss, rel=1e-10), message


def by_class(pair):
    order = pair[1].argsort(stable=True)
    return pair[0][order], pair[1][order]


def cases_of(structures, sparsities) -> list[tuple]:
    return [
        (structure, scope, sparsity)
        for structure in structures
        for scope in (("global", "layer") if structure in ("unstructured", "neurons") else ("layer",))
        for sparsity in (sparsities if ":" not in structure else sparsities[:1])
    ]


def test_javascript_reads_what_pytorch_reads(tmp_path, recorded, digits):
    widget = LiveNetwork(from_vector(recorded.dense), digits)
    assert dict(widget.structures) == STRUCTURES
    cases = cases_of(STRUCTURES, [0.0, 0.3, 0.5, 0.8, 0.9, 0.95, 0.99, 1.0])
    answers = computed(tmp_path, "network", NAMES, PRUNED, given(widget, cases))
    for case, answer in zip(cases, answers, strict=True):
        widget.structure, widget.scope, widget.sparsity = case
        check(answer, widget, *by_class(digits), str(case))
    right = {case: answer["right"] for case, answer in zip(cases, answers, strict=True)}
    assert right["unstructured", "global", 0.0] == 349 and right["unstructured", "global", 0.95] == 269


@pytest.mark.parametrize("sizes", [(4, 3), (4, 5, 3), (4, 8, 6, 4, 3)])
def test_other_networks_and_odd_numbers_of_images(tmp_path, sizes):
    images = some_images(count=11)
    widget = LiveNetwork(small(*sizes), images)
    cases = cases_of(dict(widget.structures), [0.0, 0.25, 0.5, 0.9, 1.0])
    answers = computed(tmp_path, "network", NAMES, PRUNED, given(widget, cases))
    for case, answer in zip(cases, answers, strict=True):
        widget.structure, widget.scope, widget.sparsity = case
        check(answer, widget, *by_class(images), f"{sizes} {case}")
    assert ("neurons" in dict(widget.structures)) == (len(sizes) > 2)


def test_equal_neurons_stay_in_their_order(tmp_path):
    network = small(4, 6, 6, 3)
    network[1].weight.data = torch.ones(6, 4) * torch.tensor([[1.0], [2], [1], [2], [1], [1]])
    network[3].weight.data = torch.ones(6, 6)
    widget = LiveNetwork(network, some_images())
    cases = cases_of(["neurons"], [k / 12 for k in range(13)])
    answers = computed(tmp_path, "network", NAMES, PRUNED, given(widget, cases))
    for case, answer in zip(cases, answers, strict=True):
        widget.structure, widget.scope, widget.sparsity = case
        check(answer, widget, *by_class(some_images()), str(case))


def test_masks_chosen_at_initialization_and_recorded_weights(tmp_path, recorded, digits):
    widget = AtInitialization(recorded, digits)
    cases = [(score, sparsity, stage) for score in widget.scores for sparsity in widget.sparsities for stage in STAGES]
    answers = computed(tmp_path, "at_initialization", f"{NAMES}, recordedNetworks", RECORDED, given(widget, cases))
    for case, answer in zip(cases, answers, strict=True):
        widget.score, widget.sparsity, widget.stage = case
        check(answer, widget, *by_class(digits), str(case))


def test_masks_are_the_librarys(recorded, digits):
    network = from_vector(recorded.dense)
    widget = LiveNetwork(network, digits, sparsity=0.9)
    assert widget.masks() == keep_largest({n: w.detach().abs() for n, w in prunable(network).items()}, 0.9)
    widget.structure = "neurons"
    units = choose_units(score_units(network, "neuron", example_inputs=digits[0][:1]), 0.9, "global")
    smaller = remove(widget.pruned(), digits[0][:1], units)
    assert widget.masks().kept == sum(weight.numel() for weight in prunable(smaller).values())
    torch.testing.assert_close(smaller(digits[0]), widget.pruned()(digits[0]))


def test_parameters_travel_as_float16():
    network = small(4, 5, 3)
    network[1].bias.data[0] = 6e-8  # the smallest that float16 knows
    sent = torch.frombuffer(bytearray(LiveNetwork(network, some_images()).vector), dtype=torch.float16)
    expected = [network[1].weight, network[3].weight, network[1].bias, network[3].bias]
    assert sent.equal(torch.cat([parameter.detach().flatten().half() for parameter in expected])) and sent[-8] > 0


def test_images_are_sorted_by_class_and_given_as_bytes():
    inputs, labels = some_images(7)
    widget = LiveNetwork(small(4, 3), (inputs, labels))
    assert list(widget.labels) == [0, 0, 0, 1, 1, 2, 2]
    pixels = torch.tensor(widget.grays)[list(widget.pixels)].view(-1, 1, 2, 2)
    assert pixels.equal(inputs[[0, 3, 6, 1, 4, 2, 5]])


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (nn.Linear(4, 3), None),
        (nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 3)), "network is Linear, Tanh, Linear, must be"),
        (nn.Sequential(nn.Linear(4, 3), nn.ReLU()), "network is Linear, ReLU, must be"),
        (nn.Sequential(), "network is empty"),
        (nn.Sequential(nn.Linear(4, 3, bias=False)), "has a layer without bias"),
        (nn.Conv2d(1, 3, 2), "network is Conv2d"),
    ],
)
def test_networks_that_the_page_cannot_run(network, message):
    if message is None:
        network, message = nn.Sequential(network), "weight is not finite in float16"
        network[0].weight.data[0, 0] = 1e5
    with pytest.raises(ValueError, match=message):
        LiveNetwork(network, some_images())


@pytest.mark.parametrize(
    ("test", "message"),
    [
        ((torch.zeros(0, 1, 2, 2), torch.zeros(0, dtype=torch.long)), "n at least 1"),
        ((torch.zeros(2, 3, 2, 2), torch.zeros(2, dtype=torch.long)), r"shape \(2, 3, 2, 2\), must be \(n, 1"),
        ((torch.zeros(2, 1, 3, 3), torch.zeros(2, dtype=torch.long)), "the network's 4 pixels"),
        ((torch.zeros(2, 1, 2, 2), torch.tensor([0, 3])), "labels must be 2 whole numbers from 0 to 2"),
        ((torch.zeros(2, 1, 2, 2), torch.tensor([0])), "labels must be 2 whole numbers"),
        ((torch.full((1, 1, 2, 2), torch.nan), torch.tensor([0])), "images contain nan"),
        ((torch.arange(400.0).view(100, 1, 2, 2), torch.zeros(100, dtype=torch.long)), "400 different values"),
    ],
)
def test_images_that_the_page_cannot_read(test, message):
    with pytest.raises(ValueError, match=message):
        LiveNetwork(small(4, 3), test)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"sparsity": 1.01}, "sparsity is 1.01"),
        ({"sparsity": float("nan")}, "sparsity is nan"),
        ({"structure": "rows"}, "structure is 'rows', must be one of 'unstructured', '2:4'"),
        ({"scope": "block"}, "scope is 'block'"),
        ({"image": 5}, "image is 5, must be from 0 to 4"),
        ({"image": -1}, "image is -1"),
    ],
)
def test_bad_values_are_refused_at_the_start_and_later(bad, message):
    with pytest.raises(ValueError, match=message):
        LiveNetwork(small(4, 5, 3), some_images(), **bad)
    widget = LiveNetwork(small(4, 5, 3), some_images())
    ((name, value),) = bad.items()
    before = getattr(widget, name)
    with pytest.raises(ValueError, match=message):
        setattr(widget, name, value)
    assert getattr(widget, name) == before


def test_structures_that_no_layer_can_have_are_not_offered():
    widget = LiveNetwork(small(9, 3), (torch.zeros(1, 1, 3, 3), torch.tensor([0])))
    assert list(dict(widget.structures)) == ["unstructured", "columns"]
    with pytest.raises(ValueError, match="structure is '2:4'"):
        widget.structure = "2:4"
    with pytest.raises(ValueError, match="sparsity is 1.5"):
        LiveNetwork(small(4, 3), some_images(), seen=[0.0, 1.5])


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"sparsity": 0.7}, "sparsity is 0.7, must be one of 0.0, 0.5"),
        ({"score": "size"}, "score is 'size'"),
        ({"stage": "later"}, "stage is 'later', must be one of 'as initialized', 'after training'"),
        ({"image": 360}, "image is 360"),
    ],
)
def test_only_what_is_recorded_can_be_shown(recorded, digits, bad, message):
    with pytest.raises(ValueError, match=message):
        AtInitialization(recorded, digits, **bad)
