"""Pareto front: all measured points over the cost that counts, and the best that a limit on it allows."""

from collections.abc import Mapping
from typing import Any

import traitlets

from pruning_lib.checks import check_choice
from pruning_lib.teaching.widgets.javascript import Drawn

# In % of what the dense network costs.
LIMITS = [1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 12.0, 15.0, 20.0, 25.0, 30.0, 40.0, 50.0, 70.0, 100.0]
START = {"cost": "bytes", "limit": 12.0, "point": ""}


def costs_of(records: Mapping[str, Any]) -> dict[str, str]:
    """What may be counted as cost, with its name: the seconds of every batch that is timed for one of the records."""
    batches = sorted({batch for evidence in records.values() for batch in evidence["batches"]})
    seconds = {f"seconds {n}": f"seconds for {n} image{'s' * (n > 1)}" for n in batches}
    return {"weights": "weights", "bytes": "bytes", "macs": "multiplications"} | seconds


class ParetoFront(Drawn):
    """Choose a cost and a limit on it: the front that nothing beats, the best method, and those that may be as good.

    Parameters
    ----------
    records : name of a network and its data → its evidence, from `pruning_lib.comparison.evidence`. A list in the page
        switches between them if there are several.
    record : the one shown; left out, the first
    cost : a key of `costs_of(records)`
    limit : one of `LIMITS`, in % of what the dense network costs
    point : name of the point whose numbers are shown, such as "SNIP at 90 %"; empty: the best under the limit

    The best is the most accurate of the points within the limit. The other methods stand beside it, each with its own
    most accurate point there, and differ from it by the mean of paired differences (CMP-2). All but the records are
    traits that follow the page and may be set from Python; other values raise ValueError.
    """

    record = traitlets.Unicode().tag(sync=True)
    cost = traitlets.Unicode(START["cost"]).tag(sync=True)
    limit = traitlets.Float(START["limit"]).tag(sync=True)
    point = traitlets.Unicode(START["point"]).tag(sync=True)
    records = traitlets.Dict(read_only=True).tag(sync=True)
    costs = traitlets.Dict(read_only=True).tag(sync=True)
    limits = traitlets.List(LIMITS, read_only=True).tag(sync=True)

    def __init__(self, records: Mapping[str, Any], **shown: Any):
        if not records:
            raise ValueError("records is empty, must hold the evidence of a network")
        self.set_trait("records", dict(records))
        self.set_trait("costs", costs_of(records))
        super().__init__(**{"record": next(iter(records))} | shown)

    @traitlets.validate("record", "cost", "limit", "point")
    def _check(self, proposal: dict):
        name, value = proposal["trait"].name, proposal["value"]
        if name == "point":
            methods = [method for evidence in self.records.values() for method in evidence["methods"]]
            return check_choice(name, value, ["", *(point["name"] for method in methods for point in method["points"])])
        return check_choice(name, value, {"record": self.records, "cost": self.costs, "limit": LIMITS}[name])
