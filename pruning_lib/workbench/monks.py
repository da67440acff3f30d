"""The MONK's problems and XOR: small enough that every weight of the net that learns them can be looked at.

Source: Thrun et al. 1991, "The MONK's Problems: A Performance Comparison of Different Learning Algorithms". Robots have
six attributes with 3, 3, 2, 3, 4 and 2 values: 432 cases in all, 17 one-hot inputs. A rule says which are monks.
"""

import itertools
import math
from collections import OrderedDict
from dataclasses import dataclass
from numbers import Integral

import torch
from torch import Tensor, nn

from pruning_lib.checks import check_choice
from pruning_lib.workbench.data import Pair

VALUES = (3, 3, 2, 3, 4, 2)
# Training cases, share of wrong training labels, hidden neurons of the net.
_PROBLEMS = {1: (124, 0.0, 3), 2: (169, 0.0, 2), 3: (122, 0.05, 2)}


@dataclass(frozen=True)
class Problem:
    """Inputs (cases, 17) of 0 and 1 and targets (cases, 1) of −1 and 1, float64; `test` is all 432 cases, `train` some.

    `hidden` is the number of hidden neurons for which the literature prunes the problem's net.
    """

    name: str
    train: Pair
    test: Pair
    hidden: int


def load(problem: int, seed: int = 0) -> Problem:
    """MONK's problem 1, 2 or 3, with 124, 169 or 122 training cases.

    The training cases are drawn by `seed` from the 432, without repetition: they are not the published ones, only as
    many. In problem 3, 5 % of the training labels (6 of 122) are wrong, as published; the test labels are right.
    """
    size, noise, hidden = _PROBLEMS[check_choice("problem", problem, _PROBLEMS)]
    cases = torch.tensor(list(itertools.product(*(range(1, values + 1) for values in VALUES))))
    columns = zip(cases.T, VALUES, strict=True)
    inputs = torch.cat([nn.functional.one_hot(column - 1, values) for column, values in columns], dim=1).double()
    targets = torch.where(rule(problem, cases), 1.0, -1.0).double().unsqueeze(1)
    generator = torch.Generator().manual_seed(1000 * problem + seed)
    chosen = torch.randperm(len(cases), generator=generator)[:size]
    labels = targets[chosen]
    labels[torch.randperm(size, generator=generator)[: round(noise * size)]] *= -1
    return Problem(f"MONK{problem}", (inputs[chosen], labels), (inputs, targets), hidden)


def rule(problem: int, cases: Tensor) -> Tensor:
    """Which of `cases` (cases, 6), with attribute values from 1, are monks: (cases,) of bool."""
    check_choice("problem", problem, _PROBLEMS)
    a1, a2, _, a4, a5, _ = cases.T
    if problem == 1:
        return (a1 == a2) | (a5 == 1)
    if problem == 2:
        return (cases == 1).sum(dim=1) == 2
    return ((a5 == 3) & (a4 == 1)) | ((a5 != 4) & (a2 != 3))


def xor() -> Problem:
    """The exclusive or of two inputs 0 and 1, targets −1 and 1; the four cases train and test."""
    inputs = torch.tensor([[0.0, 0], [0, 1], [1, 0], [1, 1]], dtype=torch.float64)
    pair = inputs, torch.tensor([[-1.0], [1], [1], [-1]], dtype=torch.float64)
    return Problem("XOR", pair, pair, hidden=2)


def network(problem: Problem, seed: int = 0, hidden: int | None = None) -> nn.Sequential:
    """Inputs–hidden–1 with tanh in both layers, float64, all parameters drawn from N(0, ½²).

    With the default `hidden` there are 58, 39 and 39 parameters for the three problems, biases included.
    """
    hidden = problem.hidden if hidden is None else hidden
    if not (isinstance(hidden, Integral) and hidden >= 1):
        raise ValueError(f"hidden is {hidden}, must be an integer of at least 1")
    layers = OrderedDict(
        hidden=nn.Linear(problem.train[0].shape[1], hidden),
        tanh1=nn.Tanh(),
        output=nn.Linear(hidden, 1),
        tanh2=nn.Tanh(),
    )
    model = nn.Sequential(layers).double()
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.5, generator=generator)
    return model


def minimize(model: nn.Module, pair: Pair, weight_decay: float, steps: int = 300) -> float:
    """Train `model` in place to a minimum of E + λ/2·‖w‖², E = 1/(2P) Σ(t − o)²; return the norm of the gradient there.

    Full-batch L-BFGS with a line search, which stops by itself; ‖w‖² takes in all parameters, biases too.
    """
    if not 0 <= weight_decay < math.inf:
        raise ValueError(f"weight_decay is {weight_decay}, must be a finite number of at least 0")
    parameters = list(model.parameters())
    optimizer = torch.optim.LBFGS(
        parameters,
        max_iter=steps,
        history_size=50,
        line_search_fn="strong_wolfe",
        tolerance_grad=1e-9,
        tolerance_change=0,
    )
    inputs, targets = pair

    def objective() -> Tensor:
        optimizer.zero_grad()
        error = (targets - model(inputs)).square().sum() / (2 * len(targets))
        total = error + weight_decay / 2 * sum(parameter.square().sum() for parameter in parameters)
        total.backward()
        return total

    optimizer.step(objective)
    objective()
    return torch.cat([parameter.grad.flatten() for parameter in parameters]).norm().item()


@torch.no_grad()
def accuracy(model: nn.Module, pair: Pair) -> float:
    """Share of `pair` on whose right side of 0 the output lies, in [0, 1]."""
    inputs, targets = pair
    return (model(inputs) * targets > 0).double().mean().item()
