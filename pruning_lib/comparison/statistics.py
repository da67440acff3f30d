"""Numbers over seeds: mean and spread, differences seed by seed, and which points nothing beats."""

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy.special import stdtrit

Runs = Sequence[Mapping[str, Any]]


class Spread(NamedTuple):
    """Mean, standard deviation with n − 1 (nan for one value), and how many values."""

    mean: float
    sd: float
    n: int

    def __str__(self) -> str:
        return f"{self.mean:.2f} ± {self.sd:.2f}" if self.n > 1 else f"{self.mean:.2f}"


class Difference(NamedTuple):
    """Mean of the differences of pairs, and the ends of its 95 % confidence interval (CMP-2)."""

    mean: float
    low: float
    high: float
    n: int

    @property
    def verdict(self) -> str:
        """ "higher" or "lower" where the interval leaves zero out, else "open"."""
        return "higher" if self.low > 0 else "lower" if self.high < 0 else "open"

    def __str__(self) -> str:
        return f"{self.mean:+.2f} [{self.low:+.2f}, {self.high:+.2f}] {self.verdict}"


def spread(values: Iterable[float]) -> Spread:
    """ā = Σ aᵢ / n and s = √(Σ (aᵢ − ā)² / (n − 1)) (CMP-1).

    Raises
    ------
    ValueError
        If there is no value, or one is not finite.
    """
    values = _finite(values)
    return Spread(statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else math.nan, len(values))


def difference(one: Mapping[Any, float], other: Mapping[Any, float]) -> Difference:
    """d̄ ± t·s_d / √n with dᵢ = aᵢ − bᵢ (CMP-2): what `one` has more than `other`, paired by key, as a rule the seed.

    Keys that only one of them has are left out: a pair needs both.

    Raises
    ------
    ValueError
        If fewer than two keys are shared, or a value is not finite.
    """
    shared = [key for key in one if key in other]
    if len(shared) < 2:
        raise ValueError(f"{len(shared)} pairs, must be at least 2: one has {list(one)}, other has {list(other)}")
    values = _finite(one[key] - other[key] for key in shared)
    mean, sd, n = spread(values)
    half = student(n) * sd / math.sqrt(n)
    return Difference(mean, mean - half, mean + half, n)


def student(n: int) -> float:
    """Student's factor t of n − 1 degrees of freedom, two-sided 95 %."""
    return float(stdtrit(n - 1, 0.975))


def pareto(points: Sequence[tuple[float, float]]) -> list[int]:
    """Indices of the points (cost, gain) that no other dominates (CMP-6), by rising cost.

    q dominates p if it costs no more and gains no less, and one of the two is strict. Equal points all stay.
    """
    _finite(value for point in points for value in point)
    front = [
        place
        for place, (cost, gain) in enumerate(points)
        if not any(c <= cost and g >= gain and (c < cost or g > gain) for c, g in points)
    ]
    return sorted(front, key=lambda place: points[place])


def by_seed(runs: Runs, variant: str, setting: Any, quantity: str = "accuracy") -> dict[int, float]:
    """`quantity` of each seed at which this cell was run and did not fail, in the record's unit."""
    return {run["seed"]: run[quantity] for run in of_cell(runs, variant, setting) if run[quantity] is not None}


def of_cell(runs: Runs, variant: str, setting: Any) -> list[Mapping[str, Any]]:
    """The runs of this cell that did not fail; of a pair as setting JSON has made a list."""
    return [
        run
        for run in runs
        if run["variant"] == variant and np.array_equal(run["setting"], setting) and "failed" not in run
    ]


def _finite(values: Iterable[float]) -> list[float]:
    values = [float(value) for value in values]
    if not values:
        raise ValueError("values is empty, must hold at least one number")
    for value in values:
        if not math.isfinite(value):
            raise ValueError(f"values contains {value}, must be finite")
    return values
