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
        "none": "no time to train",
        "retrain": "time to retrain a trained network",
        "full": "time to train from scratch",
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
ANY = 0.0  # as sparsity: whatever sparsity gains most within the loss
START = {"hardware": "cpu", "budget": "retrain", "data": "train", "goal": "latency", "sparsity": ANY, "loss": 1.0}
# Of 2:4 on Ampere: remembered, not measured here; see notebook 06.
PUBLISHED = {"low": 1.1, "high": 1.8}
TIMES_LESS = {"bytes": "× smaller", "macs": "× fewer", "latency": "× as fast"}


class Advice(NamedTuple):
    """One method: its place ("fits", "loses" too much, "out"), why it is out, at what sparsity, accuracy, and gain."""

    name: str
    place: str
    why: str
    sparsity: float | None
    accuracy: list[float] | None  # mean, standard deviation, seeds, in %
    gain: float | None  # times less than dense; of the goal "accuracy" the accuracy
    basis: str  # "measured", "measured on a CPU", "runs as dense", "counted", "published", "at most" or "no kernel"


def advise(
    evidence: dict[str, Any],
    hardware: str = START["hardware"],
    budget: str = START["budget"],
    data: str = START["data"],
    goal: str = START["goal"],
    sparsity: float = START["sparsity"],
    loss: float = START["loss"],
) -> list[Advice]:
    """All methods, the advisable first: those within `loss` points of the dense network, by what they gain.

    Without training the dense network is the one that was cut, with it the one that was trained as long. Then come
    those that lose more, by accuracy; then those that drop out, each with the reason. Of equal gains the more accurate
    comes first.

    Parameters
    ----------
    evidence : from `pruning_lib.comparison.evidence`
    hardware, budget, data, goal : keys of `CHOICES`. Training needs the training set: without it the budget is "none".
    sparsity : one of the evidence's, or `ANY`. Of the points near it, or of all, each method stands at the one that
        gains most within `loss`, or, where none is within, at its most accurate
    loss : one of `LOSSES`

    Raises
    ------
    ValueError : for a value that is not one of these.
    """
    check(evidence, {"hardware": hardware, "budget": budget, "data": data, "goal": goal, "sparsity": sparsity})
    check(evidence, {"loss": loss})
    if data != "train":
        budget = "none"
    floor = unpruned(evidence, budget, data)[0] - loss - 1e-9
    found = [
        of_method(method, evidence["near"], floor, hardware, budget, data, goal, sparsity)
        for method in evidence["methods"]
    ]
    fits = sorted((a for a in found if a.place == "fits"), key=lambda a: (-a.gain, -a.accuracy[0]))
    loses = sorted((a for a in found if a.place == "loses"), key=lambda a: -a.accuracy[0])
    return fits + loses + [advice for advice in found if advice.place == "out"]


def of_method(
    method: dict, near: float, floor: float, hardware: str, budget: str, data: str, goal: str, sparsity: float
) -> Advice:
    name, after = method["name"], method["time"] == "after"
    if not after and budget != "full":
        return out(name, "needs training from scratch")
    if data == "none" and method["data"] != "none":
        return out(name, f"needs {method['data']} to choose what goes")
    points = [p for p in method["points"] if sparsity == ANY or apart(p["sparsity"], sparsity) <= near]
    if not points:
        return out(name, method["only"])
    moment = "cut" if budget == "none" else "retrained"
    if any(point[moment] is None for point in points):
        return out(name, "prunes in rounds of training: needs a budget for it")
    found = [of_point(method, point, moment, floor, hardware, goal) for point in points]
    fits = [advice for advice in found if advice.place == "fits"]
    if fits:
        return max(fits, key=lambda advice: (advice.gain, advice.accuracy[0]))
    return max(found, key=lambda advice: advice.accuracy[0])


def unpruned(evidence: dict[str, Any], budget: str, data: str) -> list[float]:
    """The dense network to count losses from: where nothing is trained any more, as it was when others were cut."""
    return evidence["dense_cut" if budget == "none" or data != "train" else "dense"]


def of_point(method: dict, point: dict, moment: str, floor: float, hardware: str, goal: str) -> Advice:
    """A method at one of its measured points."""
    accuracy = point[moment]
    won = (accuracy[0], "measured") if goal == "accuracy" else gain(method["structure"], point, hardware, goal)
    return Advice(method["name"], "fits" if accuracy[0] >= floor else "loses", "", point["sparsity"], accuracy, *won)


def apart(one: float, other: float) -> float:
    """How many times more weights are left at one of two sparsities than at the other."""
    left = sorted((1 - one, 1 - other))
    return left[1] / left[0] if left[0] > 0 else float("inf")


def out(name: str, why: str) -> Advice:
    return Advice(name, "out", why, None, None, None, "")


def gain(structure: str, point: dict, hardware: str, goal: str) -> tuple[float, str]:
    """How many times less than dense, and how it is known."""
    if goal != "latency":
        return point[goal], "counted"
    if structure == "structured":
        return point["latency"], "measured" if hardware == "cpu" else "measured on a CPU"
    if hardware == "kernels":
        return point["macs"], "at most"
    if structure == "unstructured" and hardware == "cpu":
        return point["latency"], "measured" if point["latency"] > 1 else "runs as dense"
    if hardware == "ampere" and point["setting"] == [2, 4]:
        return PUBLISHED["low"], "published"
    return 1.0, "no kernel"


def check(evidence: dict[str, Any], values: dict[str, Any]) -> None:
    """ValueError for a value that cannot be chosen."""
    for name, value in values.items():
        if name in CHOICES:
            check_choice(name, value, CHOICES[name])
        else:
            allowed = LOSSES if name == "loss" else [ANY, *evidence["sparsities"]]
            if value not in allowed:
                raise ValueError(f"{name} is {value!r}, must be one of {', '.join(map(str, allowed))}")
