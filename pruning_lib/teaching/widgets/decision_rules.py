"""Which method to choose, from hardware, budget, data, goal and sparsity: rules over recorded numbers."""

from typing import Any, NamedTuple

from pruning_lib.checks import check_choice

CHOICES = {
    "hardware": {
        "cpu": "a CPU",
        "ampere": "an NVIDIA GPU, Ampere or newer",
        "kernels": "sparse kernels of my own",
    },
    "budget": {
        "none": "no training",
        "retrain": "a little retraining of a trained network",
        "full": "a training from the start",
    },
    "data": {"none": "no data", "few": "a few samples without labels", "train": "the training set"},
    "goal": {
        "accuracy": "the highest accuracy",
        "bytes": "a smaller file",
        "macs": "fewer multiplications",
        "latency": "lower latency",
    },
}
LOSSES = [0.5, 1.0, 2.0, 5.0]  # points of accuracy that one would give up
START = {"hardware": "cpu", "budget": "retrain", "data": "train", "goal": "latency", "sparsity": 0.9, "loss": 1.0}
# Of 2:4 on Ampere: remembered, not measured here; see notebook 06.
PUBLISHED = {"low": 1.1, "high": 1.8}
TIMES_LESS = {"bytes": "× smaller", "macs": "× fewer", "latency": "× as fast"}


class Advice(NamedTuple):
    """One method: its place ("fits", "loses" too much, "out"), why it is out, accuracy, and what it gains."""

    name: str
    place: str
    why: str
    accuracy: list[float] | None  # mean, standard deviation, seeds, in %
    gain: float | None  # times less than dense; of the goal "accuracy" the accuracy
    basis: str  # "measured", "measured on a CPU", "counted", "published", "at most" or "no kernel"


def advise(
    evidence: dict[str, Any],
    hardware: str = START["hardware"],
    budget: str = START["budget"],
    data: str = START["data"],
    goal: str = START["goal"],
    sparsity: float = START["sparsity"],
    loss: float = START["loss"],
) -> list[Advice]:
    """All methods, the advisable first: those within `loss` points of the best accuracy, by what they gain.

    Then those that lose more, by accuracy; then those that drop out, each with the reason. Of equal gains the more
    accurate comes first.

    Parameters
    ----------
    evidence : from `pruning_lib.reproduction.comparison.evidence`
    hardware, budget, data, goal : keys of `CHOICES`. Training needs the training set: without it the budget is "none".
    sparsity : one of the evidence's; loss : one of `LOSSES`

    Raises
    ------
    ValueError : for a value that is not one of these.
    """
    check(evidence, {"hardware": hardware, "budget": budget, "data": data, "goal": goal, "sparsity": sparsity})
    check(evidence, {"loss": loss})
    if data != "train":
        budget = "none"
    found = [
        of_method(method, evidence["near"], hardware, budget, data, goal, sparsity) for method in evidence["methods"]
    ]
    able = [advice for advice in found if advice.place == "fits"]
    best = max((advice.accuracy[0] for advice in able), default=0.0)
    able = [advice if advice.accuracy[0] >= best - loss - 1e-9 else advice._replace(place="loses") for advice in able]
    fits = sorted((a for a in able if a.place == "fits"), key=lambda a: (-a.gain, -a.accuracy[0]))
    loses = sorted((a for a in able if a.place == "loses"), key=lambda a: -a.accuracy[0])
    return fits + loses + [advice for advice in found if advice.place == "out"]


def of_method(method: dict, near: float, hardware: str, budget: str, data: str, goal: str, sparsity: float) -> Advice:
    name, after = method["name"], method["time"] == "after"
    if not after and budget != "full":
        return out(name, f"prunes {method['time']} training: needs a training from the start")
    if data == "none" and method["data"] != "none":
        return out(name, f"needs {method['data']} samples to choose what goes")
    point = min(method["points"], key=lambda point: abs(point["sparsity"] - sparsity))
    if abs(point["sparsity"] - sparsity) > near:
        return out(name, method["only"])
    accuracy = point["cut" if budget == "none" else "retrained"]
    if accuracy is None:
        return out(name, "prunes in rounds of training: needs a budget for it")
    if goal == "accuracy":
        return Advice(name, "fits", "", accuracy, accuracy[0], "measured")
    return Advice(name, "fits", "", accuracy, *gain(method["structure"], point, hardware, goal))


def out(name: str, why: str) -> Advice:
    return Advice(name, "out", why, None, None, "")


def gain(structure: str, point: dict, hardware: str, goal: str) -> tuple[float, str]:
    """How many times less than dense, and how it is known."""
    if goal != "latency":
        return point[goal], "counted"
    if structure == "structured":
        return point["latency"], "measured" if hardware == "cpu" else "measured on a CPU"
    if hardware == "kernels":
        return point["macs"], "at most"
    if structure == "unstructured" and hardware == "cpu":
        return point["latency"], "measured"
    if hardware == "ampere" and point["setting"] == [2, 4]:
        return PUBLISHED["low"], "published"
    return 1.0, "no kernel"


def check(evidence: dict[str, Any], values: dict[str, Any]) -> None:
    """ValueError for a value that cannot be chosen."""
    for name, value in values.items():
        if name in CHOICES:
            check_choice(name, value, CHOICES[name])
        else:
            allowed = LOSSES if name == "loss" else evidence["sparsities"]
            if value not in allowed:
                raise ValueError(f"{name} is {value!r}, must be one of {', '.join(map(str, allowed))}")
