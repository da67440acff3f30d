"""The MONK's problems and XOR: small enough that every weight of the net that learns them can be looked at.

Source: Thrun et al. 1991, "The MONK's Problems: A Performance Comparison of Different Learning Algorithms". Robots have
six attributes with 3, 3, 2, 3, 4 and 2 values: 432 cases in all, 17 one-hot inputs. A rule says which are monks.
"""

import itertools
import math
import os
from collections import OrderedDict
from dataclasses import dataclass
from numbers import Integral
from pathlib import Path

import torch
from torch import Tensor, nn

from pruning_lib.checks import check_choice
from pruning_lib.workbench.data import Pair

VALUES = (3, 3, 2, 3, 4, 2)
# What stands in a row of the published files, and what it can be.
_COLUMNS = {"class": range(2)} | {f"a{i}": range(1, values + 1) for i, values in enumerate(VALUES, start=1)}
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


def load(problem: int, seed: int = 0, data: str | os.PathLike | None = None) -> Problem:
    """MONK's problem 1, 2 or 3, with 124, 169 or 122 training cases: those published, or as many of our own.

    In problem 3, 6 of the 122 training labels are wrong, as published; the test labels are right.

    Parameters
    ----------
    problem : 1, 2 or 3
    seed : of our own training cases, drawn from the 432 without repetition; the published ones do not depend on it
    data : folder of the published sets: monks-N.train.csv and monks-N.test.csv, rows of class,a1,…,a6, or monks-N.train
        and monks-N.test as UCI has them, rows of class a1 … a6 name; a first row of such names is skipped. Left out,
        the training cases are drawn

    Raises
    ------
    ValueError
        If a file is missing or isn't what was published: the file, its row (from 1) and what must be there.
    """
    size, noise, hidden = _PROBLEMS[check_choice("problem", problem, _PROBLEMS)]
    wrong = round(noise * size)
    cases = torch.tensor(list(itertools.product(*(range(1, values + 1) for values in VALUES))))
    if data is not None:
        train, test = (
            _read(Path(data), problem, "train", size, wrong),
            _read(Path(data), problem, "test", len(cases), 0),
        )
    else:
        generator = torch.Generator().manual_seed(1000 * problem + seed)
        drawn = cases[torch.randperm(len(cases), generator=generator)[:size]]
        labels = rule(problem, drawn)
        labels[torch.randperm(size, generator=generator)[:wrong]] ^= True
        train, test = (drawn, labels), (cases, rule(problem, cases))
    return Problem(f"MONK{problem}", _encoded(*train), _encoded(*test), hidden)


def _encoded(cases: Tensor, labels: Tensor) -> Pair:
    columns = zip(cases.T, VALUES, strict=True)
    inputs = torch.cat([nn.functional.one_hot(column - 1, values) for column, values in columns], dim=1).double()
    return inputs, torch.where(labels, 1.0, -1.0).double().unsqueeze(1)


def _read(folder: Path, problem: int, part: str, size: int, wrong: int) -> tuple[Tensor, Tensor]:
    """Cases (size, 6) and labels (size,) of bool from the published file, of which `wrong` are against the rule."""
    names = [f"monks-{problem}.{part}.csv", f"monks-{problem}.{part}"]
    path = next((folder / name for name in names if (folder / name).is_file()), None)
    if path is None:
        raise ValueError(f"{folder} has neither {names[0]} nor {names[1]}, must have one of them")
    found = {}  # case → row, class
    for row, line in enumerate(path.read_text(encoding="utf-8-sig", errors="replace").splitlines(), start=1):
        fields = [field.strip() for field in line.split(",")] if "," in line else line.split()
        if not fields or (row == 1 and fields[:7] == list(_COLUMNS)):
            continue
        columns = 7 if "," in line else 8
        if len(fields) != columns:
            form = ",".join(_COLUMNS) if columns == 7 else f"{' '.join(_COLUMNS)} name"
            raise ValueError(f"{path}, row {row}: {len(fields)} values, must be {columns}: {form}")
        for (name, allowed), field in zip(_COLUMNS.items(), fields, strict=False):
            if field not in map(str, allowed):
                raise ValueError(
                    f"{path}, row {row}: {name} is {field!r}, must be one of {', '.join(map(str, allowed))}"
                )
        label, *case = map(int, fields[:7])
        if tuple(case) in found:
            raise ValueError(f"{path}, row {row}: the case of row {found[tuple(case)][0]} again, must be there once")
        found[tuple(case)] = row, label
    if len(found) != size:
        raise ValueError(f"{path} has {len(found)} cases, must have {size}")
    cases, labels = torch.tensor(list(found)), torch.tensor([label == 1 for _, label in found.values()])
    against = [row for (row, _), bad in zip(found.values(), rule(problem, cases) != labels, strict=True) if bad]
    if len(against) != wrong:
        rows = f" (rows: {', '.join(map(str, against[:8]))}{', …' if len(against) > 8 else ''})" if against else ""
        raise ValueError(
            f"{path}: {len(against)} of {size} classes are against the rule of problem {problem}{rows}, must be {wrong}"
        )
    return cases, labels


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
def accuracy(model: nn.Module, pair: Pair, silent: bool = False) -> float:
    """Share of `pair` that is answered rightly, in [0, 1]: above 0 the output says yes, below it says no.

    With few weights left an output may be exactly 0, and says nothing; it is read as `silent`, by default as a no.
    """
    inputs, targets = pair
    outputs = model(inputs)
    yes = (outputs >= 0) if silent else (outputs > 0)
    return (yes == (targets > 0)).double().mean().item()
