"""λ paths explorer: a slider over recorded runs shows how γ closes gates, and what that costs and saves."""

import math
from collections.abc import Sequence
from typing import Any

import traitlets

from pruning_lib.checks import check_choice
from pruning_lib.teaching.widgets.javascript import Drawn

_NEEDED = ("gamma", "seed", "accuracy", "macs", "gates")
Runs = Sequence[dict[str, Any]]


class LambdaPaths(Drawn):
    """λ of every gate over the epochs, what is closed at the end, accuracy and size, under a slider over γ.

    Parameters
    ----------
    runs : recorded runs of one network at one level, as dicts with "gamma", "seed", "accuracy" (share), "macs" (of the
        model after removal), "gates" (unit → number of gates) and, where the paths are to be shown, "scales": unit →
        [epoch][gate], the λ with exact zeros, epoch 0 being the start.
    dense : the run without gates that they are compared with: "accuracy" and "macs".
    gamma : the γ shown first; left out, the smallest
    seed : the run shown first, of those with "scales"; left out, the first

    The traits `gamma` and `seed` follow the page and may be set from Python. ValueError for runs that lack something,
    disagree on their gates, are given twice, have λ that are not finite, and for values not among the runs'.
    """

    gamma = traitlets.Float().tag(sync=True)
    seed = traitlets.Int().tag(sync=True)
    runs = traitlets.List(read_only=True).tag(sync=True)
    dense = traitlets.Dict(read_only=True).tag(sync=True)

    def __init__(self, runs: Runs, dense: dict[str, float], **shown: float):
        runs = _check_runs(runs)
        self._gammas, self._seeds = _gammas(runs), _seeds(runs)
        self.set_trait("runs", [{k: run[k] for k in (*_NEEDED, "scales") if k in run} for run in runs])
        self.set_trait("dense", {key: dense[key] for key in ("accuracy", "macs")})
        super().__init__(**{"gamma": self._gammas[0], "seed": self._seeds[0]} | shown)

    @traitlets.validate("gamma", "seed")
    def _check(self, proposal: dict):
        name, value = proposal["trait"].name, proposal["value"]
        return check_choice(name, value, self._gammas if name == "gamma" else self._seeds)


def _check_runs(runs: Runs) -> list[dict[str, Any]]:
    runs = sorted(runs, key=lambda run: (run.get("gamma", 0), run.get("seed", 0)))
    if not runs:
        raise ValueError("runs is empty, must hold a run")
    for run in runs:
        where = f"run with gamma {run.get('gamma')}, seed {run.get('seed')}"
        if missing := [key for key in _NEEDED if key not in run]:
            raise ValueError(f"{where} has no {', '.join(missing)}")
        if run["gates"] != runs[0]["gates"]:
            raise ValueError(f"{where} has gates {run['gates']}, must be those of the first, {runs[0]['gates']}")
        if sum((other["gamma"], other["seed"]) == (run["gamma"], run["seed"]) for other in runs) > 1:
            raise ValueError(f"{where} is given twice, must be given once")
        for unit, path in run.get("scales", {}).items():
            if any(len(row) != run["gates"].get(unit) or not all(map(math.isfinite, row)) for row in path):
                raise ValueError(f"{where}: scales of {unit!r} must hold {run['gates'].get(unit)} finite λ an epoch")
    for seed in _seeds(runs):
        if lacking := set(_gammas(runs)) - {run["gamma"] for run in runs if run["seed"] == seed and "scales" in run}:
            raise ValueError(f"seed {seed} has scales for some gamma only, lacks {sorted(lacking)}")
    if not _seeds(runs):
        raise ValueError("no run has scales, must be at least one seed for every gamma")
    return runs


def _gammas(runs: Runs) -> list[float]:
    return sorted({run["gamma"] for run in runs})


def _seeds(runs: Runs) -> list[int]:
    return sorted({run["seed"] for run in runs if "scales" in run})
