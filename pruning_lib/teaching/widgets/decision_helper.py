"""Decision helper: what you have and want in; methods ranked by recorded numbers out, and why others drop out."""

from typing import Any

import traitlets

from pruning_lib.checks import check_choice
from pruning_lib.comparison.advice import PUBLISHED
from pruning_lib.teaching.widgets.javascript import Drawn

CHOICES = {
    "hardware": {
        "cpu": "a CPU",
        "ampere": "an NVIDIA GPU, Ampere or newer",
        "kernels": "sparse kernels of my own",
    },
    "budget": {
        "none": "no time to train",
        "retrain": "time to retrain a trained network",
        "full": "time to train from scratch",
    },
    "data": {"none": "no data", "few": "a few samples without labels", "train": "the training set"},
    "goal": {
        "accuracy": "the highest accuracy",
        "bytes": "a smaller file",
        "macs": "fewer multiplications",
        "latency": "lower latency, one image",
        "throughput": "more images a second, many at once",
    },
}
LOSSES = [0.5, 1.0, 2.0, 5.0]  # points of accuracy that one would give up
ANY = 0.0  # as sparsity: whatever sparsity gains most within the loss
START = {"hardware": "cpu", "budget": "retrain", "data": "train", "goal": "latency", "sparsity": ANY, "loss": 1.0}
_TIMES_LESS = {"bytes": "× smaller", "macs": "× fewer", "latency": "× as fast", "throughput": "× as fast"}
_RULES = {"choices": CHOICES, "losses": LOSSES, "published": PUBLISHED, "timesLess": _TIMES_LESS}


class DecisionHelper(Drawn):
    """Choose what you have and what you want: the methods that fit, ranked, with the evidence, and why others do not.

    Parameters
    ----------
    evidence : from `pruning_lib.comparison.evidence`
    hardware, budget, data, goal : keys of `CHOICES`. Training needs the training set: without it the budget is "none".
    sparsity : one of the evidence's, or `ANY`. Of the points near it, or of all, each method stands at the one that
        gains most within `loss`, or, where none is within, at its most accurate
    loss : one of `LOSSES`

    First come the methods within `loss` points of the dense network, by what they gain, of equal gains the more
    accurate, and after them those that were timed on other hardware and those that gain nothing; then those that lose
    more, by accuracy; then those that drop out, each with the reason. Without training the dense network is the one
    that was cut, with it the one that was trained as long. The page computes this (`advise` in decision_helper.js).

    All but `evidence` are traits that follow the page and may be set from Python; other values raise ValueError.
    """

    hardware = traitlets.Unicode(START["hardware"]).tag(sync=True)
    budget = traitlets.Unicode(START["budget"]).tag(sync=True)
    data = traitlets.Unicode(START["data"]).tag(sync=True)
    goal = traitlets.Unicode(START["goal"]).tag(sync=True)
    sparsity = traitlets.Float(START["sparsity"]).tag(sync=True)
    loss = traitlets.Float(START["loss"]).tag(sync=True)
    evidence = traitlets.Dict(read_only=True).tag(sync=True)
    rules = traitlets.Dict(_RULES, read_only=True).tag(sync=True)

    def __init__(self, evidence: dict[str, Any], **chosen: Any):
        self.set_trait("evidence", evidence)
        super().__init__(**chosen)

    @traitlets.validate("hardware", "budget", "data", "goal", "sparsity", "loss")
    def _check(self, proposal: dict):
        name, value = proposal["trait"].name, proposal["value"]
        allowed = CHOICES | {"sparsity": [ANY, *self.evidence["sparsities"]], "loss": LOSSES}
        return check_choice(name, value, allowed[name])
