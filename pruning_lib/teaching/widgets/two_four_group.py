"""One group of four weights: which two stay, their nibble, and the operands that the multiplexers let through."""

import traitlets

from pruning_lib.teaching.widgets.javascript import Drawn

LIMIT = 9.0  # of weights and operands, either sign
PRESETS = {
    "four of unlike size": (0.5, -3.0, 1.5, 2.0),
    "a large negative weight": (1.0, -9.0, 2.0, 0.5),
    "all alike: the first two stay": (1.0, 1.0, 1.0, 1.0),
    "two zeros already": (0.0, 4.0, 0.0, -2.0),
    "one non-zero, filled up": (0.0, 0.0, 3.0, 0.0),
    "nothing left": (0.0, 0.0, 0.0, 0.0),
}
START = next(iter(PRESETS.values()))
OPERANDS = (2.0, 1.0, -1.0, 3.0)


class TwoFourGroup(Drawn):
    """Edit four weights; see which two stay, what is stored, what the multiplexers select, and the product.

    Parameters
    ----------
    weights : the four weights, from −9 to 9
    operands : the four numbers they are to be multiplied with

    Both are traits: `weights` follows the sliders, and both may be set from Python; other values raise ValueError.
    The two largest abs(w) stay (the first of equal ones). A stored value may be zero: a group with fewer than two
    non-zeros is filled up, since the hardware multiplies two.
    """

    weights = traitlets.List(traitlets.Float(), START).tag(sync=True)
    operands = traitlets.List(traitlets.Float(), OPERANDS).tag(sync=True)
    limit = traitlets.Float(LIMIT, read_only=True).tag(sync=True)
    presets = traitlets.Dict({name: list(four) for name, four in PRESETS.items()}, read_only=True).tag(sync=True)

    @traitlets.validate("weights", "operands")
    def _check(self, proposal: dict):
        name, numbers = proposal["trait"].name, proposal["value"]
        if len(numbers) != 4 or not all(abs(n) <= LIMIT for n in numbers):  # False for nan too
            raise ValueError(f"{name} is {tuple(numbers)}, must be four numbers from {-LIMIT:g} to {LIMIT:g}")
        return numbers
