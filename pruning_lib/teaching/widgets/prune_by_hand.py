"""Prune by hand: a small network to delete weights from, beside recorded curves of how far each method gets."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
import traitlets
from torch import nn

from pruning_lib.checks import check_choice
from pruning_lib.teaching.widgets.javascript import Drawn
from pruning_lib.workbench import monks

METHODS = ("OBS", "OBD", "magnitude")
OTHERS = {"follow": "readjust", "stay": "stay"}  # what the record calls it
INPUTS = [f"a{i}={value}" for i, values in enumerate(monks.VALUES, start=1) for value in range(1, values + 1)]


class Learned(NamedTuple):
    """A network that has learned its problem, the α that was added to H, and what the paper reports for it."""

    task: monks.Problem
    network: nn.Module
    alpha: float
    paper: tuple[int, float]  # weights left, test accuracy in %


class PruneByHand(Drawn):
    """MONK's networks: click a connection to delete it, see accuracy and loss, and what OBS would have chosen.

    All is computed on the page, as in OBS-5 and OBS-9: H + αI of the weights that are left anew before each deletion.

    Parameters
    ----------
    learned : networks by the name of their problem
    runs : runs of benchmarks/monks.py; of those on drawn cases the page shows mean and range of the test accuracy over
        the weights left
    problem : the one that is shown; left out, the first
    others : "follow" (OBS-5) or "stay", what the other weights do
    choice : what is deleted next: the choice of "OBS", "OBD" or "magnitude", or a connection by name: "a5=1 → h2"
    deleted : places, in the vector of all weights, of those that are gone, in order

    The last four are traits that follow the page and may be set from Python. A new problem starts with all weights.

    Raises
    ------
    ValueError
        If there is no network, one is not of the form inputs–hidden–1 with finite weights, α is not positive, `runs`
        lacks a way or doesn't fit the network; for a choice that is not there, and for places that are none or given
        twice.
    """

    problem = traitlets.Unicode().tag(sync=True)
    others = traitlets.Unicode("follow").tag(sync=True)
    choice = traitlets.Unicode("OBS").tag(sync=True)
    deleted = traitlets.List(traitlets.Int()).tag(sync=True)
    problems = traitlets.Dict(read_only=True).tag(sync=True)
    cases = traitlets.List(read_only=True).tag(sync=True)
    names = traitlets.List(INPUTS, read_only=True).tag(sync=True)

    def __init__(self, learned: Mapping[str, Learned], runs: Sequence[Mapping[str, Any]], **shown: Any):
        if not learned:
            raise ValueError("learned is empty, must hold a network")
        self.set_trait("problems", {name: _problem(name, one, runs) for name, one in learned.items()})
        self.set_trait("cases", _ones(next(iter(learned.values())).task.test[0]))
        super().__init__(**{"problem": next(iter(learned))} | shown)

    @traitlets.validate("problem", "others", "choice")
    def _check(self, proposal: dict):
        name = proposal["trait"].name
        allowed = {"problem": list(self.problems), "others": list(OTHERS)}.get(name)
        if allowed is None:
            allowed = [*METHODS, *connections(INPUTS, self.problems[self.problem]["hidden"])]
        return check_choice(name, proposal["value"], allowed)

    @traitlets.validate("deleted")
    def _check_deleted(self, proposal: dict):
        places, count = proposal["value"], len(self.problems[self.problem]["weights"])
        if any(not 0 <= place < count for place in places) or len(set(places)) < len(places) or len(places) == count:
            raise ValueError(f"deleted is {places}, must be different places from 0 to {count - 1}, not all of them")
        return places

    @traitlets.observe("problem")
    def _start_over(self, change: dict):
        if change["old"]:  # else it is the start, and the others may be given
            self.deleted, self.choice = [], "OBS"


def connections(inputs: Sequence[str], hidden: int) -> list[str]:
    """Names of all weights in the order of `network.parameters()`."""
    units = [f"h{j}" for j in range(1, hidden + 1)]
    into = [f"{name} → {unit}" for unit in units for name in inputs]
    return [*into, *(f"bias → {unit}" for unit in units), *(f"{unit} → out" for unit in units), "bias → out"]


def hidden_of(network: nn.Module, inputs: int, what: str) -> int:
    """The hidden neurons of `network`; ValueError about `what` unless it is inputs–hidden–1 as `monks.network`."""
    found = [(name, tuple(parameter.shape)) for name, parameter in network.named_parameters()]
    hidden = dict(found).get("hidden.bias", (0,))[0]
    form = {"hidden.weight": (hidden, inputs), "hidden.bias": (hidden,), "output.weight": (1, hidden)}
    if found != [*form.items(), ("output.bias", (1,))]:
        raise ValueError(f"{what} must have {inputs} inputs and one output, in linear layers named hidden and output")
    return hidden


def _problem(name: str, one: Learned, runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What the page needs of one problem, in plain lists, or ValueError as `PruneByHand` tells."""
    hidden = hidden_of(one.network, len(INPUTS), f"network of {name}")
    weights = nn.utils.parameters_to_vector(one.network.parameters()).tolist()
    if not all(map(torch.isfinite, torch.tensor(weights))):
        raise ValueError(f"weights of {name} must be finite")
    if not one.alpha > 0:
        raise ValueError(f"alpha of {name} is {one.alpha}, must be above 0")
    inputs, targets = one.task.train
    test_inputs, test_targets = one.task.test
    places = {tuple(ones): place for place, ones in enumerate(_ones(test_inputs))}
    return {
        "hidden": hidden,
        "weights": weights,
        "alpha": one.alpha,
        "paper": list(one.paper),
        "train": [places[tuple(ones)] for ones in _ones(inputs)],
        "targets": targets.flatten().int().tolist(),
        "test_targets": test_targets.flatten().int().tolist(),
        "curves": {
            others: {method: _curve(one.task.name, method, then, len(weights), runs) for method in METHODS}
            for others, then in OTHERS.items()
        },
    }


def _ones(inputs: torch.Tensor) -> list[list[int]]:
    return [row.nonzero().flatten().tolist() for row in inputs]


def _curve(problem: str, method: str, then: str, size: int, runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Mean, least and greatest test accuracy in %, with all weights first and with one last."""
    way = {"cases": "drawn", "problem": int(problem[-1]), "select": method.lower(), "then": then}
    found = [run["test_right"] for run in runs if way.items() <= run.items()]
    if not found or any(len(right) != size for right in found):
        sizes = sorted({len(right) for right in found})
        raise ValueError(f"runs of {way} have {sizes or 'no'} sizes, must have {size}, as the network has weights")
    by_size = [[100 * right / 432 for right in sizes] for sizes in zip(*found, strict=True)]
    ways = {"mean": statistics.fmean, "low": min, "high": max}
    return {key: [round(of(each), 3) for each in by_size] for key, of in ways.items()} | {"n": len(found)}
