"""Damped deletions: how far one Hessian carries, by its damping α and by how many weights go (OBS-5, OBS-12)."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

import torch
import traitlets
from torch import Tensor

from pruning_lib.checks import check_choice
from pruning_lib.teaching.widgets.javascript import Drawn, check_range

QUANTITIES = ("error", "unseen", "moved")
MOST = 4  # methods: as many colors and marks as there are
Method = Mapping[str, Tensor | Sequence[Sequence[float]]]


class DampedDeletions(Drawn):
    """Several methods delete weights one after the other, from none to all: the errors, and how far the weights moved.

    Parameters
    ----------
    alphas : values of the damping α > 0, rising
    methods : up to four methods by name, in order, each with "error", E on the training samples, "unseen", E on
        others, and "moved", the length of the total move: one row for each of `alphas`, or one alone where α does not
        matter, with a number for 0, 1, … deletions
    alpha : one of `alphas`; left out, the middle one
    deleted : number of deletions; left out, none

    The last two are traits that follow the page and may be set from Python.

    Raises
    ------
    ValueError : for alphas that are too few or do not rise, methods that are none or too many, lack something, differ
        in their number of deletions or are not finite, and for an α or a number that is not there; of these two later,
        too.
    """

    alpha = traitlets.Float().tag(sync=True)
    deleted = traitlets.Int(0).tag(sync=True)
    alphas = traitlets.List(read_only=True).tag(sync=True)
    methods = traitlets.List(read_only=True).tag(sync=True)  # a saved dict would be sorted

    def __init__(self, alphas: Sequence[float], methods: Mapping[str, Method], **shown: float):
        alphas = [float(alpha) for alpha in alphas]
        if len(alphas) < 2 or not all(low < high for low, high in pairwise([0.0, *alphas])):
            raise ValueError(f"alphas is {alphas}, must be at least two numbers > 0, rising")
        if not 1 <= len(methods) <= MOST:
            raise ValueError(f"methods holds {len(methods)}, must hold 1 to {MOST}")
        self.set_trait("alphas", alphas)
        read = [{"name": name} | _check_method(name, method, len(alphas)) for name, method in methods.items()]
        if len(lengths := {len(one["error"][0]) for one in read}) > 1:
            raise ValueError(f"rows of the methods are {sorted(lengths)} long, must be of one length")
        self.set_trait("methods", read)
        super().__init__(**{"alpha": alphas[len(alphas) // 2]} | shown)

    @traitlets.validate("alpha", "deleted")
    def _check(self, proposal: dict):
        name, value = proposal["trait"].name, proposal["value"]
        if name == "alpha":
            return check_choice(name, value, self.alphas)
        return check_range(name, value, 0, len(self.methods[0]["error"][0]) - 1)


def _check_method(name: str, method: Method, alphas: int) -> dict[str, list[list[float]]]:
    """Rows as plain lists, to five digits: more can't be seen, and a page holds all of them."""
    if set(method) != set(QUANTITIES):
        raise ValueError(f"{name} has {', '.join(method)}, must have {', '.join(QUANTITIES)}")
    tables = {key: torch.as_tensor(method[key], dtype=torch.float64) for key in QUANTITIES}
    rows, numbers = (*tables["error"].shape, 0, 0)[:2]
    for key, table in tables.items():
        if tuple(table.shape) != (rows, numbers) or rows not in (1, alphas) or numbers < 2:
            shape = tuple(table.shape)
            raise ValueError(f"{name}: {key} has shape {shape}, must be 1 or {alphas} rows of at least 2, as error's")
        if not table.isfinite().all():
            raise ValueError(f"{name}: {key} must be finite")
    return {key: [[float(f"{value:.5g}") for value in row] for row in table.tolist()] for key, table in tables.items()}
