"""Exercises of notebook 07."""

import math
import statistics

import torch
from scipy.special import stdtrit

from pruning_lib.teaching.exercises.exercise import Exercise, uniform, whole

EXERCISES: dict[str, Exercise] = {}


def _accuracies(generator: torch.Generator) -> tuple[list[float], list[float], float]:
    """Of two methods over the same 3 to 5 seeds, which move both, and Student's t for as many."""
    n = whole(generator, 3, 6)
    seeds, noise, more = 3 * torch.randn(n, generator=generator), torch.randn(2, n, generator=generator) / 2, 1.5
    one, other = (95 + more + seeds + noise[0]).tolist(), (95 + seeds + noise[1]).tolist()
    return one, other, float(stdtrit(n - 1, 0.975))


def _interval(differences: list[float], t: float, deviation=statistics.stdev, root: bool = True) -> tuple[float, float]:
    mean, n = statistics.fmean(differences), len(differences)
    half = t * deviation(differences) / (math.sqrt(n) if root else 1)
    return mean - half, mean + half


def _pairs(one: list[float], other: list[float]) -> list[float]:
    return [a - b for a, b in zip(one, other, strict=True)]


def _unpaired(one: list[float], other: list[float], t: float) -> tuple[float, float]:
    mean = statistics.fmean(one) - statistics.fmean(other)
    half = t * math.sqrt((statistics.variance(one) + statistics.variance(other)) / len(one))
    return mean - half, mean + half


EXERCISES["comparison_difference"] = Exercise(
    _accuracies,
    lambda one, other, t: _interval(_pairs(one, other), t),
    _unpaired,
    "You compare two clouds. Both methods ran with the same seeds: take the difference of each pair first, "
    "then what a seed does to both cancels.",
    lambda one, other, t: _interval(_pairs(one, other), t, statistics.pstdev),
    "You divide the squares by n. With so few seeds the sample deviation needs n − 1.",
    lambda one, other, t: _interval(_pairs(one, other), t, root=False),
    "That is where single differences lie. The mean of n is √n times surer: divide by √n.",
    lambda one, other, t: _interval(_pairs(one, other), 1.96),
    "1.96 is for many seeds. With three to five the deviation itself is unsure: use the t that is given.",
    lambda one, other, t: _interval(_pairs(other, one), t),
    "The sign is turned: asked for is what `one` has more than `other`.",
)


def points(generator: torch.Generator) -> tuple[list[tuple[int, int]]]:
    """(cost, accuracy), all different, with equal costs and equal accuracies among them."""
    drawn = torch.randint(0, 6, (12, 2), generator=generator).tolist()
    extremes = [(0, 3), (5, 5), (5, 2), (3, 3)]
    return (list(dict.fromkeys([*extremes, *map(tuple, drawn)])),)


def front(points: list[tuple[int, int]], beats) -> list[tuple[int, int]]:
    return sorted(p for p in points if not any(beats(q, p) for q in points))


EXERCISES["comparison_front"] = Exercise(
    points,
    lambda points: front(points, lambda q, p: q[0] <= p[0] and q[1] >= p[1] and q != p),
    lambda points: front(points, lambda q, p: q[0] < p[0] and q[1] > p[1]),
    "You ask for strictly better in both. A point is beaten too if another costs as much and is more accurate, "
    "or is as accurate and costs less.",
    lambda points: front(points, lambda q, p: q[0] >= p[0] and q[1] >= p[1] and q != p),
    "You look for a high cost. Little cost is good, much accuracy is good.",
    lambda points: [max(points, key=lambda p: (p[1], -p[0]))],
    "That is only the most accurate point. The front has every trade-off that nothing beats.",
    lambda points: front(points, lambda q, p: q[0] <= p[0] and q[1] >= p[1]),
    "Every point is at least as good as itself: leave a point out when you ask what beats it.",
)


def stored(generator: torch.Generator) -> tuple[int, int, int]:
    """rows, columns and the bytes of a float32 matrix as CSR with int32 indices."""
    rows, columns = (50 * torch.randint(2, 20, (2,), generator=generator)).tolist()
    kept = int(rows * columns * uniform(generator, 0.02, 0.42))
    return rows, columns, 8 * kept + 4 * (rows + 1)


EXERCISES["comparison_sparsity"] = Exercise(
    stored,
    lambda rows, columns, size: 1 - (size - 4 * (rows + 1)) / 8 / (rows * columns),
    lambda rows, columns, size: 1 - size / (4 * rows * columns),
    "You take the share of bytes for the share of weights. A stored weight brings its column along: 8 bytes, not 4.",
    lambda rows, columns, size: 1 - size / 8 / (rows * columns),
    "You forget where the rows start: rows + 1 numbers of 4 bytes, whatever the sparsity.",
    lambda rows, columns, size: 1 - (size - 4 * (rows + 1)) / 12 / (rows * columns),
    "12 bytes would be right with 64-bit column numbers. Here they have 32 bits: 4 + 4.",
    lambda rows, columns, size: (size - 4 * (rows + 1)) / 8 / (rows * columns),
    "That is the share that is kept. Sparsity is the share of zeros.",
)


EXERCISES["comparison_speed"] = Exercise(
    lambda generator: (uniform(generator, 0.1, 0.9), uniform(generator, 1.5, 9.5)),  # share of the time, how many times
    lambda share, times: 1 / (1 - share + share / times),
    lambda share, times: share * times + 1 - share,
    "You average the speeds. Times add up, speeds do not: add the new times, then divide.",
    lambda share, times: times,
    "Only a share of the time gets faster; the rest takes as long as before.",
    lambda share, times: 1 / (share + (1 - share) / times),
    "You speed up the other part: `share` is the part that gets faster.",
    lambda share, times: 1 - share + share / times,
    "That is the new time as a share of the old. A speed-up is old over new.",
    lambda share, times: 1 / (share / times),
    "You forget the part that stays as it is: 1 − share.",
)


def _offers(generator: torch.Generator) -> tuple[list[tuple[str, float, int]], float, float]:
    """(method, accuracy, bytes) of some networks, the dense one's accuracy, and what may be lost.

    By size: one that loses too much, one within the loss of the dense network only, one within that of the best too,
    the best, which is ahead of the dense network, and one that is larger and worse.
    """
    dense, loss = uniform(generator, 97, 98), 1.0
    ahead, less = uniform(generator, 0.1, 0.5), uniform(generator, 0.1, 0.5)
    worth = (dense - loss - less, dense - loss + ahead / 2, dense - less / 2, dense + ahead, dense - less)
    sizes = sorted(torch.randperm(90_000, generator=generator)[:5].add(10_000).tolist())
    order = torch.randperm(5, generator=generator).tolist()
    names = [f"method {letter}" for letter in "ABCDE"]
    return [(name, worth[place], sizes[place]) for name, place in zip(names, order, strict=True)], dense, loss


def _smallest(points: list[tuple[str, float, int]], floor: float) -> str:
    return min((point for point in points if point[1] >= floor), key=lambda point: point[2])[0]


EXERCISES["comparison_choice"] = Exercise(
    _offers,
    lambda points, dense, loss: _smallest(points, dense - loss),
    lambda points, dense, loss: _smallest(points, max(accuracy for _, accuracy, _ in points) - loss),
    "You count the loss from the most accurate of the pruned networks. Asked for is the loss against the dense "
    "network: that is what you have today.",
    lambda points, dense, loss: max(points, key=lambda point: point[1])[0],
    "That is the most accurate. You were ready to give up a little: among those that stay within it, size decides.",
    lambda points, dense, loss: min(points, key=lambda point: point[2])[0],
    "That is the smallest of all, whatever it has lost. First drop who loses too much, then take the smallest.",
    lambda points, dense, loss: max((p for p in points if p[1] >= dense - loss), key=lambda p: p[2])[0],
    "You take the largest of those that are accurate enough. Few bytes are good.",
)
