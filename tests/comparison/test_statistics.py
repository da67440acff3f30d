import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from pruning_lib.comparison import by_seed, difference, pareto, spread

SMALL = st.integers(0, 4)


def test_spread_is_mean_and_sample_deviation():
    found = spread([1.0, 2.0, 6.0])
    assert found.mean == 3 and found.n == 3
    assert found.sd == pytest.approx(math.sqrt((4 + 1 + 9) / 2))
    assert str(found) == "3.00 ± 2.65" and str(spread([2])) == "2.00"


@pytest.mark.parametrize("values", [[], [1.0, math.nan], [math.inf]])
def test_nothing_and_what_is_not_finite_are_refused(values):
    with pytest.raises(ValueError, match=r"values (is empty|contains)"):
        spread(values)


@pytest.mark.parametrize("n", [2, 3, 7, 12, 40])
def test_interval_is_students_at_any_number_of_pairs(n):
    one = {seed: 97.0 + (seed * 7 % 11) / 10 for seed in range(n)}
    other = {seed: 96.9 + (seed * 5 % 13) / 10 for seed in range(n)}
    theirs = stats.ttest_rel(list(one.values()), list(other.values())).confidence_interval(0.95)
    found = difference(one, other)
    assert (found.low, found.high) == pytest.approx((theirs.low, theirs.high), abs=1e-9)


def test_difference_is_the_paired_t_interval():
    one, other = {0: 98.0, 1: 97.5, 2: 98.4, 9: 0.0}, {0: 97.0, 1: 96.8, 2: 97.9, 3: 50.0}
    found = difference(one, other)
    theirs = stats.ttest_rel([98.0, 97.5, 98.4], [97.0, 96.8, 97.9]).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((theirs.low, theirs.high), abs=1e-9)
    assert found.n == 3 and found.mean == pytest.approx(2.2 / 3)
    assert found.verdict == "higher" and difference(other, one).verdict == "lower"


def test_pairs_tell_what_means_do_not():
    one = {seed: 90.0 + 3 * seed + 0.5 + 0.01 * seed for seed in range(5)}
    other = {seed: 90.0 + 3 * seed for seed in range(5)}
    assert spread(one.values()).mean - spread(other.values()).mean < spread(other.values()).sd
    assert difference(one, other).verdict == "higher"
    assert difference({0: 1.0, 1: 3.0}, {0: 1.1, 1: 2.0}).verdict == "open"


def test_one_pair_is_no_difference():
    with pytest.raises(ValueError, match="1 pairs, must be at least 2"):
        difference({0: 1.0, 1: 2.0}, {1: 1.0, 2: 2.0})


@given(st.lists(st.tuples(SMALL, SMALL), min_size=1, max_size=8))
def test_front_is_what_nothing_dominates(points):
    front = pareto(points)
    for one, (cost, gain) in enumerate(points):
        beaten = any(c <= cost and g >= gain and (c, g) != (cost, gain) for c, g in points)
        assert (one in front) == (not beaten)
    gains = [points[place][1] for place in front]
    assert gains == sorted(gains)
    assert all(points[a] == points[b] or points[a][0] < points[b][0] for a, b in itertools.pairwise(front))


def test_by_seed_finds_pairs_and_leaves_out_what_failed():
    runs = [
        {"variant": "n_of_m", "setting": [2, 4], "seed": 0, "accuracy": 0.9},
        {"variant": "n_of_m", "setting": [4, 8], "seed": 0, "accuracy": 0.8},
        {"variant": "n_of_m", "setting": [2, 4], "seed": 1, "failed": "loss is nan"},
        {"variant": "snip", "setting": 0.9, "seed": 0, "accuracy": 0.7},
    ]
    assert by_seed(runs, "n_of_m", (2, 4)) == {0: 0.9}
    assert by_seed(runs, "snip", 0.9) == {0: 0.7}
    assert by_seed(runs, "snip", 0.95) == {}
