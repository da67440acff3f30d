"""The decision helper's rules once more, in Python: what its page has to compute."""

from typing import Any, NamedTuple

from pruning_lib.teaching.widgets.decision_helper import ANY, PUBLISHED, START


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
    """All methods, the advisable first, as `DecisionHelper` tells."""
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
