"""Decision helper: what you have and want in; methods ranked by recorded numbers out, and why others drop out."""

from typing import Any

import traitlets

from pruning_lib.teaching.widgets.decision_rules import (
    CHOICES,
    LOSSES,
    PUBLISHED,
    START,
    TIMES_LESS,
    Advice,
    advise,
    check,
)
from pruning_lib.teaching.widgets.javascript import Drawn

RULES = {"choices": CHOICES, "losses": LOSSES, "published": PUBLISHED, "timesLess": TIMES_LESS}


class DecisionHelper(Drawn):
    """Choose what you have and what you want: the methods that fit, ranked, with the evidence, and why others do not.

    Parameters
    ----------
    evidence : from `pruning_lib.comparison.evidence`
    hardware, budget, data, goal, sparsity, loss : shown first; see `decision_rules.advise`

    All but `evidence` are traits that follow the page and may be set from Python; other values raise ValueError.
    """

    hardware = traitlets.Unicode(START["hardware"]).tag(sync=True)
    budget = traitlets.Unicode(START["budget"]).tag(sync=True)
    data = traitlets.Unicode(START["data"]).tag(sync=True)
    goal = traitlets.Unicode(START["goal"]).tag(sync=True)
    sparsity = traitlets.Float(START["sparsity"]).tag(sync=True)
    loss = traitlets.Float(START["loss"]).tag(sync=True)
    evidence = traitlets.Dict(read_only=True).tag(sync=True)
    rules = traitlets.Dict(RULES, read_only=True).tag(sync=True)

    def __init__(self, evidence: dict[str, Any], **chosen: Any):
        self.set_trait("evidence", evidence)
        super().__init__(**chosen)

    @traitlets.validate("hardware", "budget", "data", "goal", "sparsity", "loss")
    def _check(self, proposal: dict):
        check(self.evidence, {proposal["trait"].name: proposal["value"]})
        return proposal["value"]

    def advice(self) -> list[Advice]:
        """What the widget shows now."""
        return advise(self.evidence, **{name: getattr(self, name) for name in START})
