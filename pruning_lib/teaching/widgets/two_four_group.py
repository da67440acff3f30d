"""A row in 2:4: of each group which two stay and their nibble, and what multiplexers and threads make of it."""

import traitlets

from pruning_lib.teaching.widgets.javascript import Drawn, check_range

LIMIT = 9.0  # of weights and operands, either sign
PRESETS = {
    "our group: 1, −9, 2, 0.5": (1.0, -9.0, 2.0, 0.5),
    "its lost products cancel": (1.5, -9.0, 2.0, -1.0),
    "four of unlike size": (0.5, -3.0, 1.5, 2.0),
    "all alike: the first two stay": (1.0, 1.0, 1.0, 1.0),
    "two zeros already": (0.0, 4.0, 0.0, -2.0),
    "one non-zero, filled up": (0.0, 0.0, 3.0, 0.0),
    "nothing left": (0.0, 0.0, 0.0, 0.0),
}
START = next(iter(PRESETS.values()))
ROW = (
    *(*START, 4.0, -1.0, 0.5, -2.5, 1.0, 1.5, -6.0, 0.5, -2.0, 2.5, -0.5, 7.0),
    *(0.5, 3.5, -1.0, 2.0, -4.5, -5.0, 1.0, 2.0, 3.0, -0.5, 1.5, -3.5, -1.5, 0.5, 8.0, 2.5),
)  # eight groups fill two 16-bit words, the least that can be put in the hardware's order
OPERANDS = (2.0, 1.0, -1.0, 3.0)
ROWS = 32  # of the matrix that the row is thought to stand in


class TwoFourGroup(Drawn):
    """Edit a row of 32 weights group by group: which stay, what is stored, what the multiplexers select, the product.

    Parameters
    ----------
    weights : 32 weights, from −9 to 9
    operands : the four numbers that the chosen group is multiplied with
    group : which group of four is chosen, 0 to 7
    row : where the row stands in a matrix of 32 rows, 0 to 31: by it its metadata words find their place in memory.
        −1: they are not shown

    All are traits that follow the page and may be set from Python; other values raise ValueError. The two largest
    abs(w) of each group stay (the first of equal ones). A stored value may be zero: a group with fewer than two
    non-zeros is filled up, since the hardware multiplies two. Nibbles, words and their order are those of float16 in
    `acceleration.two_four`.
    """

    weights = traitlets.List(traitlets.Float(), ROW).tag(sync=True)
    operands = traitlets.List(traitlets.Float(), OPERANDS).tag(sync=True)
    group = traitlets.Int(0).tag(sync=True)
    row = traitlets.Int(-1).tag(sync=True)
    limit = traitlets.Float(LIMIT, read_only=True).tag(sync=True)
    presets = traitlets.Dict({name: list(four) for name, four in PRESETS.items()}, read_only=True).tag(sync=True)

    @traitlets.validate("weights", "operands")
    def _check(self, proposal: dict):
        name, numbers = proposal["trait"].name, proposal["value"]
        count = len(ROW if name == "weights" else OPERANDS)
        if len(numbers) != count or not all(abs(n) <= LIMIT for n in numbers):  # False for nan too
            raise ValueError(f"{name} is {tuple(numbers)}, must be {count} numbers from {-LIMIT:g} to {LIMIT:g}")
        return numbers

    @traitlets.validate("group", "row")
    def _check_place(self, proposal: dict):
        name = proposal["trait"].name
        low, high = (0, len(ROW) // 4 - 1) if name == "group" else (-1, ROWS - 1)
        return check_range(name, proposal["value"], low, high)
