"""A lesson's equations, checked where they stand: one line that the reader sees."""

import html
from typing import Any

import numpy
from IPython.display import display
from numpy.typing import ArrayLike

__all__ = ["check"]


def check(equation: str, left: ArrayLike, right: ArrayLike = True, within: float = 1e-10, note: str = "") -> None:
    """Show that `left` equals `right`, or that a claim holds, in one line that unfolds to what was compared.

    Parameters
    ----------
    equation : its tag, such as "GPT-3"
    left, right : numbers, arrays or tensors of one shape; max |left − right| is compared as a share of max |right|, or
        as it is where all of `right` is zero. Without `right`, `left` holds truth values, all of which must be True
    within : largest difference
    note : what the two sides are, in a few words

    Raises
    ------
    AssertionError
        If the sides differ by more, in shape or by a value that is no number. Both are in the message.
    """
    sides = [numpy.asarray(getattr(side, "detach", lambda side=side: side)()) for side in (left, right)]
    claim = sides[0].dtype == bool
    if claim:
        missed, count = int((~sides[0]).sum()), sides[0].size
        agrees = count > 0 and missed == 0 and right is True
        found = f"holds{f' in all {count:,} cases' if count > 1 else ''}" if agrees else f"fails in {missed} of {count}"
    elif sides[0].shape != sides[1].shape:
        agrees, found = False, f"has sides of shapes {sides[0].shape} and {sides[1].shape}"
    else:
        gap = numpy.abs(sides[0] - sides[1]).max(initial=0.0) / (numpy.abs(sides[1]).max(initial=0.0) or 1.0)
        agrees, found = bool(gap <= within), f"differs by {gap:.0e}" if gap else "both sides are equal"
    line = f"{equation} {'✓' if agrees else '✗'} {found}{f': {note}' if note else ''}"
    compared = f"left  {_shown(sides[0])}" + ("" if claim else f"\nright {_shown(sides[1])}")
    if not agrees:
        raise AssertionError(f"{line}\n{compared}")
    folded = f"<details><summary>{html.escape(line)}</summary><pre>{html.escape(compared)}</pre></details>"
    display({"text/plain": line, "text/html": folded}, raw=True)


def _shown(side: Any) -> str:
    with numpy.printoptions(precision=6, threshold=12, edgeitems=2):
        return str(side) if side.ndim == 0 else f"{'×'.join(map(str, side.shape))}\n{side}"
