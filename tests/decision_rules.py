"""The decision helper's rules once more, in Python: what its page has to compute."""

from typing import Any, NamedTuple

from pruning_lib.comparison import difference
from pruning_lib.teaching.widgets.decision_helper import ANY, PUBLISHED, START

ELSEWHERE = "measured on a CPU"
BATCH = {"latency": 0, "throughput": -1}  # the goal is about the smallest or the largest of the timed batches


class Advice(NamedTuple):
    """One method: its place ("fits", "loses" too much, "out"), why it is out, at what sparsity, accuracy, and gain."""

    name: str
    place: str
    why: str
    sparsity: float | None
    accuracy: list[float] | None  # mean, standard deviation, seeds, in %
    gain: float | None  # times less than dense; of the goal "accuracy" the accuracy
    basis: str  # "measured", "… on a CPU", "runs as dense", "counted", "published", "at most", "no kernel", "not timed"
    sure: bool = True  # whether the seeds tell that it is on that side of the loss
    tied: bool = False  # whether the evidence can't tell it apart from the first


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
    found = [of_method(m, evidence, hardware, budget, data, goal, sparsity, loss) for m in evidence["methods"]]
    fits = sorted((a for a in found if a.place == "fits"), key=lambda a: (known(a), -a.gain, -a.accuracy[0]))
    loses = sorted((a for a in found if a.place == "loses"), key=lambda a: -a.accuracy[0])
    ranked = [a._replace(tied=tied(a, (fits + loses)[0], evidence, budget, data, goal)) for a in fits + loses]
    return ranked + [advice for advice in found if advice.place == "out"]


def known(advice: Advice) -> int:
    """0: gains on this hardware, 1: on another, 2: nowhere."""
    return 2 if advice.gain <= 1 else int(advice.basis == ELSEWHERE)


def tied(one: Advice, first: Advice, evidence: dict, budget: str, data: str, goal: str) -> bool:
    """Whether gains are as near as two timings of the same shapes, and the accuracy is not told to be lower."""
    if one is first or one.place != first.place:
        return False
    clock = evidence["timing"][BATCH[goal]] if goal in BATCH and evidence["timing"] else 1
    here = (one.basis == ELSEWHERE) == (first.basis == ELSEWHERE)
    near = goal == "accuracy" or one.place == "loses" or (here and one.gain * clock >= first.gain - 1e-9)
    moment = "cut" if unpruned(budget, data) == "dense_cut" else "retrained"
    return near and difference(*(seeds(evidence, advice, moment) for advice in (one, first))).verdict != "lower"


def seeds(evidence: dict, advice: Advice, moment: str) -> dict[str, float]:
    (method,) = (method for method in evidence["methods"] if method["name"] == advice.name)
    return next(p for p in method["points"] if p["sparsity"] == advice.sparsity and p[moment] == advice.accuracy)[
        "seeds"
    ][moment]


def of_method(
    method: dict, evidence: dict, hardware: str, budget: str, data: str, goal: str, sparsity: float, loss: float
) -> Advice:
    name, after = method["name"], method["time"] == "after"
    if not after and budget != "full":
        return out(name, "needs training from scratch")
    if data == "none" and method["data"] != "none":
        return out(name, f"needs {method['data']} to choose what goes")
    points = [p for p in method["points"] if sparsity == ANY or apart(p["sparsity"], sparsity) <= evidence["near"]]
    if not points:
        return out(name, method["only"])
    moment = "cut" if budget == "none" else "retrained"
    if any(point[moment] is None for point in points):
        return out(name, "prunes in rounds of training: needs a budget for it")
    dense = unpruned(budget, data)
    found = [of_point(method, point, moment, evidence, dense, loss, hardware, goal) for point in points]
    fits = [advice for advice in found if advice.place == "fits"]
    if fits:
        return max(fits, key=lambda advice: (advice.gain, advice.accuracy[0]))
    return max(found, key=lambda advice: advice.accuracy[0])


def unpruned(budget: str, data: str) -> str:
    """The dense network to count losses from: where nothing is trained any more, as it was when others were cut."""
    return "dense_cut" if budget == "none" or data != "train" else "dense"


def of_point(
    method: dict, point: dict, moment: str, evidence: dict, dense: str, loss: float, hardware: str, goal: str
) -> Advice:
    """A method at one of its measured points."""
    accuracy = point[moment]
    won = (accuracy[0], "measured") if goal == "accuracy" else gain(method["structure"], point, hardware, goal)
    place = "fits" if accuracy[0] >= evidence[dense][0] - loss - 1e-9 else "loses"
    lost = difference(point["seeds"][moment], evidence["seeds"][dense])
    sure = lost.low >= -loss - 1e-9 if place == "fits" else lost.high < -loss
    return Advice(method["name"], place, "", point["sparsity"], accuracy, *won, sure)


def apart(one: float, other: float) -> float:
    """How many times more weights are left at one of two sparsities than at the other."""
    left = sorted((1 - one, 1 - other))
    return left[1] / left[0] if left[0] > 0 else float("inf")


def out(name: str, why: str) -> Advice:
    return Advice(name, "out", why, None, None, None, "")


def gain(structure: str, point: dict, hardware: str, goal: str) -> tuple[float, str]:
    """How many times less than dense, and how it is known."""
    if goal not in BATCH:
        return point[goal], "counted"
    faster = point["latency"][BATCH[goal]] if point["latency"] else None
    if structure == "structured":
        return (faster, "measured" if hardware == "cpu" else ELSEWHERE) if faster else (1, "not timed")
    if hardware == "kernels":
        return point["macs"], "at most"
    if structure == "unstructured" and hardware == "cpu":
        return (faster, "measured" if faster > 1 else "runs as dense") if faster else (1, "not timed")
    if hardware == "ampere" and point["setting"] == [2, 4]:
        return PUBLISHED["low"], "published"
    return 1.0, "no kernel"
