"""Predict, then see: the reader commits a guess, and only then what was measured appears beside it."""

import math
from collections.abc import Sequence

import traitlets

from pruning_lib.checks import check_choice
from pruning_lib.teaching.widgets.javascript import Drawn, check_range


class Predict(Drawn):
    """A question whose answer appears once a guess was made, and with it how far off the guess is.

    Parameters
    ----------
    question : what is asked
    answer : what was measured: a number within `limits`, or one of `choices`
    note : a sentence shown with the answer: where it was measured, what it means
    choices : different texts, at least two; left out, a slider is shown
    limits, step, unit : of the slider: (low, high), a number above 0, a text
    found : how the answer was: "measured", "published", …

    The traits `guess` (a number, of choices the index; None: not yet) and `shown` follow the page and may be set from
    Python. ValueError for an answer or a guess outside of the limits or choices, and for fewer than two choices.
    """

    guess = traitlets.Float(None, allow_none=True).tag(sync=True)
    shown = traitlets.Bool(False).tag(sync=True)
    asked = traitlets.Dict(read_only=True).tag(sync=True)

    def __init__(
        self,
        question: str,
        answer: float | str,
        note: str = "",
        *,
        choices: Sequence[str] | None = None,
        limits: tuple[float, float] = (0, 100),
        step: float = 1,
        unit: str = "%",
        found: str = "measured",
        **state,
    ):
        for name, text in {"question": question, "found": found}.items():
            if not text.strip():
                raise ValueError(f"{name} is {text!r}, must be a text")
        if choices is not None:
            if len(set(choices)) < max(2, len(choices)):
                raise ValueError(f"choices is {list(choices)}, must be at least two different ones")
            limits, step, answer = (0, len(choices) - 1), 1, choices.index(check_choice("answer", answer, choices))
        low, high = limits
        if not (-math.inf < low < high < math.inf and step > 0):
            raise ValueError(f"limits is {limits} and step {step}, must be from low to high in steps above 0")
        asked = {"question": question, "answer": float(check_range("answer", answer, low, high)), "note": note}
        asked |= {"choices": list(choices or []), "low": low, "high": high, "step": step, "unit": unit, "found": found}
        self.set_trait("asked", asked)
        super().__init__(**state)

    @traitlets.validate("guess")
    def _check(self, proposal: dict):
        if (value := proposal["value"]) is None:
            return None
        if self.asked["choices"] and value % 1:
            raise ValueError(f"guess is {value}, must be the place of one of the choices")
        return check_range("guess", value, self.asked["low"], self.asked["high"])
