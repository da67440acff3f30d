"""One group of four weights: which two stay, their nibble, and the operands that the multiplexers let through."""

from numbers import Real
from typing import NamedTuple

import anywidget
import torch
import traitlets
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Polygon, Rectangle

from pruning_lib.acceleration import two_four
from pruning_lib.teaching import palette
from pruning_lib.teaching.widgets.javascript import bundle, styles
from pruning_lib.teaching.widgets.still import still_figure

COLORS = {"kept": palette.KEPT, "pruned": palette.PRUNED, "updated": palette.UPDATED, "accent": palette.ACCENT}
COLORS |= {"muted": palette.MUTED, "good": palette.GOOD}
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


class TwoFourGroup(anywidget.AnyWidget):
    """Edit four weights; see which two stay, what is stored, what the multiplexers select, and the product.

    Parameters
    ----------
    weights : the four weights, from −9 to 9
    operands : the four numbers they are to be multiplied with

    Both are traits: `weights` follows the sliders, and both may be set from Python; other values raise ValueError.
    What is shown is `packed` of the two.
    """

    _esm = bundle("two_four_group.js")
    _css = styles()

    weights = traitlets.List(traitlets.Float()).tag(sync=True)
    operands = traitlets.List(traitlets.Float()).tag(sync=True)
    limit = traitlets.Float(LIMIT, read_only=True).tag(sync=True)
    presets = traitlets.Dict({name: list(four) for name, four in PRESETS.items()}, read_only=True).tag(sync=True)
    palette = traitlets.Dict(COLORS, read_only=True).tag(sync=True)

    def __init__(self, weights: tuple[float, ...] = START, operands: tuple[float, ...] = OPERANDS):
        super().__init__(weights=list(weights), operands=list(operands))

    @traitlets.validate("weights", "operands")
    def _check(self, proposal: dict):
        return check_four(proposal["trait"].name, proposal["value"])

    def packed(self) -> Packed:
        """What the widget shows now."""
        return packed(self.weights, self.operands)


def static_figure(weights: tuple[float, ...] = START, operands: tuple[float, ...] = OPERANDS) -> Figure:
    """Both panels of `TwoFourGroup` as a still figure; arguments and errors as there."""
    result = packed(weights, operands)
    with still_figure(10, 3.9) as figure:
        axes = figure.subplot_mosaic("WM", width_ratios=(1, 1.6))
        draw_weights(axes["W"], weights, result)
        draw_multiplexer(axes["M"], operands, result)
    return figure


def draw_weights(panel: Axes, weights: tuple[float, ...], result: Packed) -> None:
    """The four weights as bars, kept ones filled."""
    for place, (weight, keep) in enumerate(zip(weights, result.keep, strict=True)):
        look = {"color": palette.KEPT} if keep else {"facecolor": "none", "edgecolor": palette.MUTED, "linestyle": "--"}
        bar = panel.bar(place, weight, width=0.6, linewidth=1.4, **look)
        panel.bar_label(bar, [f"{weight:g}".replace("-", "−")], padding=2, color=palette.MUTED)
    panel.axhline(0, color=palette.MUTED, linewidth=0.8)
    panel.set_xticks(range(4), [f"$w_{place}$" for place in range(4)])
    panel.set(ylabel="weight", title="filled: stays")
    panel.margins(y=0.18)


def draw_multiplexer(panel: Axes, operands: tuple[float, ...], result: Packed) -> None:
    """Four operands, two multiplexers with their indices, two products and their sum."""

    def box(x: float, y: float, words: str, color: str, dashed: bool = False) -> None:
        line = "--" if dashed else "-"
        panel.add_patch(Rectangle((x - 0.4, y - 0.22), 0.8, 0.44, fill=False, ec=color, lw=1.5, ls=line))
        panel.text(x, y, words.replace("-", "−"), ha="center", va="center")

    for i, operand in enumerate(operands):
        taken = i in result.indices
        box(0, 3 - i, f"$x_{i}$ = {operand:g}", palette.UPDATED if taken else palette.MUTED, dashed=not taken)
    for k, (value, index, operand) in enumerate(zip(result.values, result.indices, result.selected, strict=True)):
        y = 2.4 - 1.8 * k
        corners = [(1.1, y + 0.6), (1.9, y + 0.35), (1.9, y - 0.35), (1.1, y - 0.6)]  # four ways in, one out
        panel.add_patch(Polygon(corners, fill=False, ec=palette.UPDATED, lw=1.5))
        panel.text(1.5, y, f"index {k}\n{index} = {index:02b}", ha="center", va="center")
        for i in range(4):
            color, width, alpha = (palette.UPDATED, 2.2, 1.0) if i == index else (palette.MUTED, 0.8, 0.5)
            panel.plot([0.4, 1.1], [3 - i, y + 0.24 * (1.5 - i)], color=color, linewidth=width, alpha=alpha)
        panel.plot([1.9, 2.2], [y, y], color=palette.UPDATED, linewidth=2.2)
        box(2.6, y, f"{value:g} × {operand:g}", palette.KEPT)
        panel.plot([3.0, 3.3], [y, 1.6 - 0.2 * k], color=palette.KEPT, linewidth=2.2)
    box(3.7, 1.5, f"sum {result.sparse:g}", palette.KEPT)
    panel.text(3.7, 0.95, f"dense {result.dense:g}".replace("-", "−"), ha="center", va="center")
    panel.set(xlim=(-0.5, 4.2), ylim=(-0.4, 3.4), title=f"nibble {result.bits}: index 1, then index 0")
    panel.axis("off")
