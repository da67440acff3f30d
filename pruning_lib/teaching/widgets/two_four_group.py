"""One group of four weights: which two stay, their nibble, and the operands that the multiplexers let through."""

from numbers import Real
from typing import NamedTuple

import torch
import traitlets

from pruning_lib.acceleration import two_four
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
    """Keep the two largest abs(w) of four (the first of equal ones), pack them, multiply them.

    A stored value may be zero: a group with fewer than two non-zeros is filled up, since the hardware multiplies two.

    Raises
    ------
    ValueError : unless both are four numbers from −9 to 9.
    """
    w = torch.tensor([check_four("weights", weights)], dtype=torch.float64)
    x = torch.tensor(check_four("operands", operands), dtype=torch.float64)
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


def check_four(name: str, numbers: tuple[float, ...]) -> list[float]:
    if len(numbers) != 4 or not all(isinstance(n, Real) and abs(n) <= LIMIT for n in numbers):  # False for nan too
        raise ValueError(f"{name} is {tuple(numbers)}, must be four numbers from {-LIMIT:g} to {LIMIT:g}")
    return list(numbers)


class TwoFourGroup(Drawn):
    """Edit four weights; see which two stay, what is stored, what the multiplexers select, and the product.

    Parameters
    ----------
    weights : the four weights, from −9 to 9
    operands : the four numbers they are to be multiplied with

    Both are traits: `weights` follows the sliders, and both may be set from Python; other values raise ValueError.
    What is shown is `packed` of the two.
    """

    weights = traitlets.List(traitlets.Float(), START).tag(sync=True)
    operands = traitlets.List(traitlets.Float(), OPERANDS).tag(sync=True)
    limit = traitlets.Float(LIMIT, read_only=True).tag(sync=True)
    presets = traitlets.Dict({name: list(four) for name, four in PRESETS.items()}, read_only=True).tag(sync=True)

    @traitlets.validate("weights", "operands")
    def _check(self, proposal: dict):
        return check_four(proposal["trait"].name, proposal["value"])

    def packed(self) -> Packed:
        """What the widget shows now."""
        return packed(self.weights, self.operands)
