"""Perplexity slider: recorded runs of a pruned language model, method beside method, under a slider over sparsities."""

import math
from collections.abc import Sequence
from typing import Any

import traitlets

from pruning_lib.checks import check_choice
from pruning_lib.teaching import palette
from pruning_lib.teaching.widgets.javascript import Drawn

_NEEDED = ("pattern", "method", "sparsity", "perplexity")
_ALSO = ("bits_per_byte", "continued")
_MARKS = ("circle", "square", "diamond", "triangle", "down", "plus")
Runs = Sequence[dict[str, Any]]


class PerplexitySlider(Drawn):
    """Bits per byte over sparsity for every method; perplexities, and what the models write, of the pattern chosen.

    Parameters
    ----------
    runs : dicts with "pattern" ("50 %", "2:4", …), "method", "sparsity" and "perplexity" (others are left out). One of
        them has the pattern "dense", and of every other pattern there is one for every method, six methods at most.
        The slider has the patterns in their order. Where perplexity is not per byte all have "bits_per_byte" too; those
        with "continued" show how the model goes on from `prompt`
    pattern : shown first; left out, the first
    prompt : what "continued" continues

    The trait `pattern` follows the page and may be set from Python. ValueError for runs that lack something, for
    perplexities that are not finite and at least 1, and for values not among the runs'.
    """

    pattern = traitlets.Unicode().tag(sync=True)
    runs = traitlets.List(read_only=True).tag(sync=True)
    prompt = traitlets.Unicode(read_only=True).tag(sync=True)
    looks = traitlets.Dict(read_only=True).tag(sync=True)  # method → [color, marker]

    def __init__(self, runs: Runs, prompt: str = "", **shown: str):
        runs = _check_runs(runs)
        self._patterns = patterns(runs)
        self.set_trait("runs", [{key: run[key] for key in (*_NEEDED, *_ALSO) if key in run} for run in runs])
        self.set_trait("prompt", prompt)
        self.set_trait("looks", dict(zip(methods(runs), zip(palette.SERIES, _MARKS, strict=False), strict=False)))
        super().__init__(**{"pattern": self._patterns[0]} | shown)

    @traitlets.validate("pattern")
    def _check(self, proposal: dict):
        return check_choice("pattern", proposal["value"], self._patterns)


def _check_runs(runs: Runs) -> list[dict[str, Any]]:
    """`runs` with the dense one first; ValueError unless they are complete."""
    for run in runs:
        if missing := [key for key in _NEEDED if key not in run]:
            raise ValueError(f"run {run} has no {', '.join(missing)}")
        if not (math.isfinite(run["perplexity"]) and run["perplexity"] >= 1):
            where = f"{run['pattern']}, {run['method']}"
            raise ValueError(f"{where}: perplexity is {run['perplexity']}, must be finite and at least 1")
        if ("bits_per_byte" in run) != ("bits_per_byte" in runs[0]):
            raise ValueError(f"{run['pattern']}, {run['method']}: bits_per_byte must be in all runs or in none")
    dense = [run for run in runs if run["pattern"] == "dense"]
    pruned = [run for run in runs if run["pattern"] != "dense"]
    if len(dense) != 1 or not pruned:
        raise ValueError(f"runs has {len(dense)} dense and {len(pruned)} pruned, must have one dense and some pruned")
    if len(names := methods(runs)) > len(_MARKS):
        raise ValueError(f"runs has methods {', '.join(names)}, must be at most {len(_MARKS)}")
    for pattern in patterns(runs):
        found = [run["method"] for run in pruned if run["pattern"] == pattern]
        if sorted(found) != sorted(names):
            raise ValueError(f"{pattern} has runs of {', '.join(found)}, must have one of each of {', '.join(names)}")
    return dense + pruned


def patterns(runs: Runs) -> list[str]:
    return list(dict.fromkeys(run["pattern"] for run in runs if run["pattern"] != "dense"))


def methods(runs: Runs) -> list[str]:
    return list(dict.fromkeys(run["method"] for run in runs if run["pattern"] != "dense"))
