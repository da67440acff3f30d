"""What run a saved state belongs to: the same things have one description in every process, others another."""

import functools
import json
import math
import subprocess
import sys
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from pruning_lib.resuming import identity, save_state, saved_state

LIMIT = 3


def same(value, other):
    return json.dumps(identity(value, "x")) == json.dumps(identity(other, "x"))


def enclosing(scope, used=None):
    return lambda model, sparsity: (scope, used)


def defaulting(scope):
    return lambda model, sparsity, scope=scope: scope


def keyword_only(scope):
    def choose(model, sparsity, *, scope=scope):
        return scope

    return choose


def inner(wide):
    if wide:

        def choose(model, sparsity):
            return sparsity + 1
    else:

        def choose(model, sparsity):
            return sparsity + 2

    return choose


def decorated(factor):
    def wrap(function):
        @functools.wraps(function)
        def wrapper(*args):
            return factor * function(*args)

        return wrapper

    return wrap


def plain(model, sparsity):
    return sparsity


class Rule:
    def __init__(self, scope):
        self.scope = scope

    def __call__(self, model, sparsity):
        return self.scope

    def choose(self, model, sparsity):
        return self.scope

    @classmethod
    def of_class(cls):
        return cls

    @staticmethod
    def of_none():
        return None


class Slotted(Rule):
    __slots__ = ("hidden",)

    def __init__(self, hidden):
        super().__init__("global")
        self.hidden = hidden


class Other(Rule):
    pass


def linear(seed):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(2, 2), nn.ReLU())


TWO_ON_A_LINE = [lambda model, sparsity: sparsity + 1, lambda model, sparsity: sparsity + 2]  # one name, one line
NAMES = [lambda model: model.weight, lambda model: model.bias]
SETS = [lambda name: name in {"a", "b"}, lambda name: name in {"a", "c"}]

PAIRS = {  # makers of one value, which is the same each time it is made, and of another
    "closures": (lambda: enclosing("global"), lambda: enclosing("layer")),
    "closures over None": (lambda: enclosing(None), lambda: enclosing("layer")),
    "closures over arrays": (lambda: enclosing(np.arange(3)), lambda: enclosing(np.arange(4))),
    "closures over functions": (lambda: enclosing(F.relu), lambda: enclosing(F.gelu)),
    "closures over closures": (lambda: enclosing(enclosing(1)), lambda: enclosing(enclosing(2))),
    "closures over a model": (lambda: enclosing(linear(0)), lambda: enclosing(linear(1))),
    "which variable holds it": (lambda: enclosing(1, 2), lambda: enclosing(2, 1)),
    "defaults": (lambda: defaulting("global"), lambda: defaulting("layer")),
    "keyword defaults": (lambda: keyword_only("global"), lambda: keyword_only("layer")),
    "lambdas on one line": (lambda: TWO_ON_A_LINE[0], lambda: TWO_ON_A_LINE[1]),
    "lambdas of other names": (lambda: NAMES[0], lambda: NAMES[1]),
    "lambdas of other sets": (lambda: SETS[0], lambda: SETS[1]),
    "inner functions of one name": (lambda: inner(True), lambda: inner(False)),
    "decorators": (lambda: decorated(2)(plain), lambda: decorated(3)(plain)),
    "partials": (lambda: partial(plain, sparsity=0.1), lambda: partial(plain, sparsity=0.2)),
    "partials of closures": (lambda: partial(enclosing(1), 0), lambda: partial(enclosing(2), 0)),
    "bound methods": (lambda: Rule("global").choose, lambda: Rule("layer").choose),
    "methods": (lambda: Rule("global").choose, lambda: Rule("global").__call__),
    "class methods": (lambda: Rule.of_class, lambda: Other.of_class),
    "static methods": (lambda: Rule.of_none, lambda: Rule.of_class),
    "built-in bound methods": (lambda: [1].append, lambda: [2].append),
    "callable objects": (lambda: Rule("global"), lambda: Rule("layer")),
    "objects of other classes": (lambda: Rule("global"), lambda: Other("global")),
    "slots": (lambda: Slotted(1), lambda: Slotted(2)),
    "built-in functions": (lambda: torch.relu, lambda: torch.sigmoid),
    "universal functions": (lambda: np.exp, lambda: np.log),
    "models": (lambda: linear(0), lambda: linear(1)),
    "modes of models": (lambda: linear(0), lambda: linear(0).eval()),
    "namespaces": (lambda: SimpleNamespace(lr=0.1), lambda: SimpleNamespace(lr=0.2)),
    "classes": (lambda: Rule, lambda: Other),
    "keys": (lambda: {1: "a"}, lambda: {"1": "a"}),
    "truth and one": (lambda: {"x": True}, lambda: {"x": 1}),
}


@pytest.mark.parametrize("kind", PAIRS)
def test_what_differs_is_told_apart(kind):
    one, other = PAIRS[kind]
    assert same(one(), one()) and same(other(), other())
    assert not same(one(), other())


def test_every_description_is_the_same_in_another_process():
    """Where strings have other hashes, and sets another order."""
    script = (
        f"import sys, json; sys.path.insert(0, {str(Path(__file__).parent)!r}); import test_resuming as t\n"
        "print(json.dumps({kind: [t.identity(make(), 'x') for make in pair] for kind, pair in t.PAIRS.items()}))"
    )
    command = [sys.executable, "-c", script.replace("test_resuming", Path(__file__).stem)]
    there = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    here = {kind: [identity(make(), "x") for make in pair] for kind, pair in PAIRS.items()}
    assert json.loads(json.dumps(here).replace(__name__, Path(__file__).stem)) == there


def test_a_plain_function_is_told_by_its_name():
    assert identity(plain, "x") == f"{__name__}.plain"
    assert identity(F.relu, "x") == {"function": "torch.nn.functional.relu", "defaults": [False]}


def test_a_recursive_inner_function_is_told():
    def make(step):
        def count(n):
            return n if n > LIMIT else count(n + step)

        return count

    assert same(make(1), make(1)) and not same(make(1), make(2))


def local():
    class Local(Rule):
        pass

    return Local


def endless():
    def ping():
        return pong()

    def pong():
        return ping()

    return ping


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: enclosing(object()), r"train: enclosed\['scope'\] is <object .*, must be made of numbers"),
        (lambda: enclosing(torch.Generator()), r"train: enclosed\['scope'\] is <torch.*, must be made of numbers"),
        (lambda: enclosing(iter([1])), r"train: enclosed\['scope'\] is .*, must be made of numbers"),
        (lambda: defaulting(object()), r"train: defaults\[0\] is <object .*, must be made of numbers"),
        (lambda: partial(plain, object()), r"train.args\[0\] is <object .*, must be made of numbers"),
        (lambda: Rule(object()).choose, r"train: .*\['scope'\] is <object .*, must be made of numbers"),
        (local, r"train is local.<locals>.Local, must be at the top of its module"),
        (lambda: local()(1), r"train: Local\[0\] is local.<locals>.Local, must be at the top of its module"),
        (lambda: functools.lru_cache(enclosing(1)), r"train is enclosing.<locals>.<lambda>, must be at the top"),
        (lambda: json, r"train is <module 'json'.*, must be made of numbers"),
        (endless, r"train contains itself, must not"),
    ],
)
def test_what_cannot_be_told_apart_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        identity(make(), "train")


def test_a_state_comes_back_to_its_own_run_only(tmp_path):
    path = tmp_path / "a.state"
    run = {"lr": 0.1, "layers": [1, 2], "none": None, "limit": math.nan}
    assert saved_state(path, run) is None
    save_state(path, run, {"w": torch.ones(2)}, [0.5, 0.25])
    tensors, progress = saved_state(path, dict(reversed(run.items())))
    assert progress == [0.5, 0.25] and tensors["w"].tolist() == [1, 1]
    for other, told in (
        ({"lr": 0.2}, "lr is 0.2, was 0.1"),
        ({"layers": [2, 1]}, r"layers is \[2, 1\], was \[1, 2\]"),
        ({"more": 1}, "more is 1, was null"),
        ({"none": False, "lr": 0.2}, "lr is 0.2, was 0.1; none is false, was null"),
    ):
        with pytest.raises(ValueError, match=rf"a.state holds a run with other arguments \({told}\): give another"):
            saved_state(path, run | other)
    long = {"name": "a" * 100, "sparsity": 0.5, "then": "b" * 100}
    told = r'….*"sparsity": 0.75.*…, was ….*"sparsity": 0.5.*…'
    save_state(path, {"rule": long}, {"w": torch.ones(2)}, [])
    with pytest.raises(ValueError, match=told):
        saved_state(path, {"rule": long | {"sparsity": 0.75}})
