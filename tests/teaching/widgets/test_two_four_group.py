"""One group of four: what stays and is stored, against brute force, and the same numbers in JavaScript."""

import itertools
import random
from typing import NamedTuple

import pytest
import torch
import traitlets
from node import computed

from pruning_lib.acceleration import two_four
from pruning_lib.teaching.widgets.two_four_group import OPERANDS, PRESETS, TwoFourGroup

# METHODS: which two are not zero → nibble
NIBBLES = {"1100": "0100", "1010": "1000", "0110": "1001", "1001": "1100", "0101": "1101", "0011": "1110"}


class Packed(NamedTuple):
    """What becomes of one group."""

    keep: tuple[bool, ...]  # of the four weights
    values: tuple[float, float]  # stored
    indices: tuple[int, int]  # 0 to 3, rising
    nibble: int  # idx0 | idx1 << 2
    selected: tuple[float, float]  # the operands at the indices
    sparse: float  # values · selected
    dense: float  # all four products

    @property
    def bits(self) -> str:
        """The nibble in binary, four digits."""
        return f"{self.nibble:04b}"


def packed(weights: tuple[float, ...], operands: tuple[float, ...] = OPERANDS) -> Packed:
    """Keep the two largest abs(w) of four (the first of equal ones), pack them, multiply them, all by the library."""
    w = torch.tensor([weights], dtype=torch.float64)
    x = torch.tensor(operands, dtype=torch.float64)
    keep = two_four.best_mask(w)
    values, indices = two_four.pack(w * keep)
    low, high = indices[0].tolist()
    return Packed(
        tuple(keep[0].tolist()),
        tuple(values[0].tolist()),
        (low, high),
        low | high << 2,
        tuple(two_four.select(indices, x[:, None])[0, :, 0].tolist()),
        two_four.matmul(values, indices, x[:, None]).item(),
        (w @ x).item(),
    )


def groups(count: int = 60) -> list[tuple[list[float], list[float]]]:
    """All patterns of zeros, ties among them, and random groups; operands of their own."""
    generator = random.Random(0)
    drawn = [[generator.uniform(-9, 9) for _ in range(4)] for _ in range(count)]
    few = [[float(w) for w in four] for four in itertools.product((0, -2, 2), repeat=4)]
    every = [*drawn, *few, *map(list, PRESETS.values())]
    return [(four, [generator.uniform(-9, 9) for _ in range(4)]) for four in every]


@pytest.mark.parametrize(("pattern", "nibble"), NIBBLES.items())
def test_nibbles_are_the_known_ones(pattern, nibble):
    weights = tuple(3.0 * int(digit) for digit in pattern)
    assert packed(weights).bits == nibble


def test_by_hand():
    result = packed((1.0, -9.0, 2.0, 0.5), (2.0, 1.0, -1.0, 3.0))
    assert result == ((False, True, True, False), (-9.0, 2.0), (1, 2), 0b1001, (1.0, -1.0), -11.0, -7.5)


@pytest.mark.parametrize(("weights", "operands"), groups())
def test_it_is_the_best_pair_and_its_product(weights, operands):
    result = packed(weights, operands)
    best = max(sum(abs(weights[i]) for i in two) for two in itertools.combinations(range(4), 2))
    assert sum(result.keep) == 2
    assert sum(abs(w) for w, keep in zip(weights, result.keep, strict=True) if keep) == pytest.approx(best)
    low, high = result.indices
    assert 0 <= low < high <= 3 and result.nibble == low | high << 2
    assert [w if keep else 0 for w, keep in zip(weights, result.keep, strict=True)] == [
        dict(zip(result.indices, result.values, strict=True)).get(i, 0) for i in range(4)
    ]
    assert result.selected == (operands[low], operands[high])
    kept = sum(w * x for w, x, keep in zip(weights, operands, result.keep, strict=True) if keep)
    assert result.sparse == pytest.approx(kept)
    assert result.dense == pytest.approx(sum(w * x for w, x in zip(weights, operands, strict=True)))


def test_presets_show_what_their_names_say():
    unlike, negative, alike, zeros, one, nothing = (packed(four) for four in PRESETS.values())
    assert unlike.sparse != unlike.dense
    assert negative.keep[1] and -9 in negative.values
    assert alike.keep == (True, True, False, False)
    assert zeros.sparse == zeros.dense and zeros.indices == (1, 3)
    assert 0 in one.values and one.sparse == one.dense
    assert nothing.values == (0, 0) and nothing.indices == (2, 3)


def test_state_follows_the_traits():
    widget = TwoFourGroup()
    assert (widget.weights, widget.operands) == (list(next(iter(PRESETS.values()))), list(OPERANDS))
    widget.weights = [0, 0, 1, 2]
    widget.operands = [1, 1, 1, -1]
    assert (widget.weights, widget.operands) == ([0, 0, 1, 2], [1, 1, 1, -1])


def test_words_are_no_numbers():
    with pytest.raises(traitlets.TraitError, match="weights"):
        TwoFourGroup(weights=("a", 1, 2, 3))


@pytest.mark.parametrize("bad", [(1.0, 2.0, 3.0), (1.0, 2.0, 3.0, 9.5), (1.0, float("nan"), 0.0, 0.0)])
@pytest.mark.parametrize("name", ["weights", "operands"])
def test_bad_values_are_refused_at_the_start_and_later(name, bad):
    with pytest.raises(ValueError, match=f"{name} is .*, must be four numbers from -9 to 9"):
        TwoFourGroup(**{"weights": (1, 2, 3, 4), "operands": OPERANDS} | {name: bad})
    widget = TwoFourGroup(weights=(1, 2, 3, 4))
    with pytest.raises(ValueError, match=f"{name} is"):
        setattr(widget, name, list(bad))
    assert widget.weights == [1, 2, 3, 4] and widget.operands == list(OPERANDS)


def test_javascript_computes_the_same(tmp_path):
    answers = computed(tmp_path, "two_four_group", "packed", "given.map((one) => packed(...one))", groups())
    for (weights, operands), found in zip(groups(), answers, strict=True):
        for key, value in packed(weights, operands)._asdict().items():
            expected = list(value) if isinstance(value, tuple) else value
            assert found[key] == pytest.approx(expected, abs=1e-12), (weights, key)
