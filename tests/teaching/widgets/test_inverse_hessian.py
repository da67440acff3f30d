"""H and H⁻¹ of a tiny network on the page: the same numbers as the library's, and what is refused."""

import copy

import pytest
import torch
from node import computed
from torch import nn

from pruning_lib.after_training import obs
from pruning_lib.teaching.widgets.inverse_hessian import InverseHessian
from pruning_lib.workbench import monks


def learned(hidden: int = 2) -> tuple[monks.Problem, nn.Module]:
    task = monks.xor()
    network = monks.network(task, seed=0, hidden=hidden)
    monks.minimize(network, task.train, 1e-3)
    return task, network


@pytest.mark.parametrize("hidden", [2, 3])
@pytest.mark.parametrize("alpha", [1e-4, 1e-3, 1.0])
def test_javascript_makes_the_same_surgeries(tmp_path, hidden, alpha):
    task, network = learned(hidden)
    page = computed(tmp_path, "inverse_hessian", "surgeries", "surgeries(...given)", [
        InverseHessian(task, network).learned, alpha,
    ])  # fmt: skip
    names = [name for name, _ in network.named_parameters()]
    rows = torch.cat(list(obs.jacobian_rows(network, task.train[0], names)))
    H_inv = obs.inverse_hessian(rows, alpha)
    w = nn.utils.parameters_to_vector(network.parameters()).detach()

    def matrix(listed):  # typed arrays come as objects
        return torch.tensor([list(row.values()) for row in listed], dtype=torch.float64)

    identity = torch.eye(len(w), dtype=torch.float64)
    torch.testing.assert_close(matrix(page["H"]), obs.hessian(rows) + alpha * identity, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(matrix(page["H_inv"]), H_inv, rtol=1e-7, atol=1e-7 / alpha)
    saliency = torch.tensor([one["saliency"] for one in page["each"]], dtype=torch.float64)
    torch.testing.assert_close(saliency, obs.saliency(w, H_inv), rtol=1e-7, atol=1e-12)
    for q, one in enumerate(page["each"]):
        ways = {"stay": w.index_fill(0, torch.tensor(q), 0), "follow": obs.surgery(w, H_inv, q)[0]}
        for way, after in ways.items():
            nn.utils.vector_to_parameters(after, network.parameters())
            assert one[way]["after"] == pytest.approx(after.tolist(), abs=1e-7)
            assert one[way]["outputs"] == pytest.approx(network(task.train[0]).flatten().tolist(), abs=1e-7)
            assert one[way]["error"] == pytest.approx(obs.squared_error(network, [task.train]).item(), abs=1e-7)
            assert one[way]["right"] == round(4 * monks.accuracy(network, task.train))


def test_state_is_what_was_given_and_can_be_set():
    widget = InverseHessian(*learned(), weight=4, alpha=0.01)
    assert (widget.weight, widget.alpha, len(widget.learned["weights"])) == (4, 0.01, 9)
    widget.weight = 8
    assert widget.learned["cases"] == [[], [1], [0], [0, 1]] and widget.learned["targets"] == [-1, 1, 1, -1]


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("weight", 9, "weight is 9, must be one of"),
        ("weight", -1, "weight is -1, must be one of"),
        ("alpha", 0.0, "alpha is 0.0, must be from 1e-06 to 1"),
        ("alpha", float("nan"), "alpha is nan, must be from"),
    ],
)
def test_bad_values_are_refused_at_the_start_and_later(name, value, message):
    task, network = learned()
    with pytest.raises(ValueError, match=message):
        InverseHessian(task, network, **{name: value})
    widget = InverseHessian(task, network)
    with pytest.raises(ValueError, match=message):
        setattr(widget, name, value)
    assert (widget.weight, widget.alpha) == (0, 1e-3)


def test_networks_that_do_not_fit_are_refused():
    task, network = learned()
    with pytest.raises(ValueError, match="network has 17 weights, must have at most 16"):
        InverseHessian(*learned(4))
    with pytest.raises(ValueError, match="inputs of task must be 0 or 1"):
        InverseHessian(monks.Problem("halves", (task.train[0] / 2, task.train[1]), task.test, 2), network)
    other = monks.Problem("three", (torch.eye(3).double(), torch.ones(3, 1).double()), task.test, 2)
    three = monks.network(other)
    plain = nn.Sequential(nn.Linear(2, 2), nn.Tanh(), nn.Linear(2, 1))
    two_outputs, no_bias = copy.deepcopy(network), copy.deepcopy(network)
    two_outputs.output, no_bias.output = nn.Linear(2, 2), nn.Linear(2, 1, bias=False)
    for wrong in (three, plain, two_outputs, no_bias, nn.Tanh()):
        with pytest.raises(ValueError, match="network must have 2 inputs and one output, in linear layers"):
            InverseHessian(task, wrong)
    assert InverseHessian(other, three).learned["names"] == ["x1", "x2", "x3"]
    nn.init.constant_(network.output.bias, float("nan"))
    with pytest.raises(ValueError, match="weights of network must be finite"):
        InverseHessian(task, network)
