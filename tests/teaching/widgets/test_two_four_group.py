"""A row of groups of four: what stays and is stored, against brute force, and the same numbers in JavaScript."""

import itertools
import random
from typing import NamedTuple

import pytest
import torch
import traitlets
from node import computed

from pruning_lib.acceleration import two_four
from pruning_lib.teaching.widgets.two_four_group import OPERANDS, PRESETS, ROW, ROWS, START, TwoFourGroup

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
    ours, cancels, unlike, alike, zeros, one, nothing = (packed(four, OPERANDS) for four in PRESETS.values())
    assert unlike.sparse != unlike.dense
    assert ours.values == (-9, 2) and ours.sparse != ours.dense
    assert cancels.values == (-9, 2) and cancels.sparse == cancels.dense
    assert alike.keep == (True, True, False, False)
    assert zeros.sparse == zeros.dense and zeros.indices == (1, 3)
    assert 0 in one.values and one.sparse == one.dense
    assert nothing.values == (0, 0) and nothing.indices == (2, 3)


def test_state_follows_the_traits():
    widget = TwoFourGroup()
    assert (widget.weights, widget.operands, widget.group, widget.row) == (list(ROW), list(OPERANDS), 0, -1)
    assert len(ROW) == 32 and ROW[:4] == START == next(iter(PRESETS.values()))
    widget.weights = [0, 0, 1, 2, *ROW[4:]]
    widget.operands = [1, 1, 1, -1]
    widget.group, widget.row = 7, 31
    assert widget.weights[:5] == [0, 0, 1, 2, ROW[4]] and widget.operands == [1, 1, 1, -1]


def test_words_are_no_numbers():
    with pytest.raises(traitlets.TraitError, match="weights"):
        TwoFourGroup(weights=("a", *ROW[1:]))


@pytest.mark.parametrize(
    ("name", "bad", "message"),
    [
        ("weights", ROW[:4], "weights is .*, must be 32 numbers from -9 to 9"),
        ("weights", (*ROW[:31], 9.5), "weights is .*, must be 32 numbers"),
        ("weights", (*ROW[:31], float("nan")), "weights is .*, must be 32 numbers"),
        ("operands", (1.0, 2.0, 3.0), "operands is .*, must be 4 numbers from -9 to 9"),
        ("operands", (1.0, float("nan"), 0.0, 0.0), "operands is .*, must be 4 numbers"),
        ("group", 8, "group is 8, must be from 0 to 7"),
        ("row", -2, "row is -2, must be from -1 to 31"),
    ],
)
def test_bad_values_are_refused_at_the_start_and_later(name, bad, message):
    with pytest.raises(ValueError, match=message):
        TwoFourGroup(**{name: bad})
    widget = TwoFourGroup()
    with pytest.raises(ValueError, match=message):
        setattr(widget, name, list(bad) if isinstance(bad, tuple) else bad)
    assert (widget.weights, widget.operands, widget.group, widget.row) == (list(ROW), list(OPERANDS), 0, -1)


def test_javascript_computes_the_same(tmp_path):
    answers = computed(tmp_path, "two_four_group", "packed", "given.map((one) => packed(...one))", groups())
    for (weights, operands), found in zip(groups(), answers, strict=True):
        for key, value in packed(weights, operands)._asdict().items():
            expected = list(value) if isinstance(value, tuple) else value
            assert found[key] == pytest.approx(expected, abs=1e-12), (weights, key)


def test_javascript_packs_a_whole_row_as_the_library(tmp_path):
    generator = torch.Generator().manual_seed(3)
    matrix = torch.randn(ROWS, 32, generator=generator).half()
    matrix[::3, ::5] = 0  # groups with fewer than two, and none
    matrix[1, 8:12] = 0
    dense = matrix * two_four.best_mask(matrix)
    values, indices = two_four.pack(dense)
    nibbles = indices[:, ::2] | indices[:, 1::2] << 2
    plain = two_four.words(indices, torch.float16)
    given = [matrix.tolist(), list(OPERANDS)]
    rows = computed(tmp_path, "two_four_group", "packedRow", "given[0].map((row) => packedRow(row, given[1]))", given)
    for row, found in enumerate(rows):
        assert [value for group in found["groups"] for value in group["values"]] == values[row].tolist()
        assert [group["nibble"] for group in found["groups"]] == nibbles[row].tolist()
        assert found["words"] == [word & 0xFFFF for word in plain[row].tolist()]


def test_javascript_finds_the_words_where_the_library_puts_them(tmp_path):
    plain = torch.arange(2 * ROWS, dtype=torch.int16).view(ROWS, 2)  # each word names itself
    expression = "Array.from({ length: 32 }, (_, row) => [loadOf(row, 0), loadOf(row, 1)])"
    loads = two_four.reorder(plain).flatten().view(-1, 2)  # two words of 16 bits in each
    for row, pair in enumerate(computed(tmp_path, "two_four_row", "loadOf", expression, None)):
        for word, place in enumerate(pair):
            assert loads[place["load"], place["half"]] == plain[row, word]
            other = loads[place["load"], 1 - place["half"]]
            assert abs(int(other) - int(plain[row, word])) == 2 * 8  # the same word of the row eight above or below
