"""Checks of the notebooks' exercises: `check("top_k", my_function)`."""

from pruning_lib.checks import check_choice
from pruning_lib.teaching.exercises import comparison, obs, snip, sparsegpt, sss, swaps, taxonomy, two_four
from pruning_lib.teaching.exercises.exercise import Exercise, Function, Mistake, Verdict, judge

_NOTEBOOKS = (taxonomy, snip, sss, obs, sparsegpt, swaps, two_four, comparison)
EXERCISES: dict[str, Exercise] = {name: each for of in _NOTEBOOKS for name, each in of.EXERCISES.items()}


def check(name: str, answer: Function, seed: int | None = None) -> Verdict:
    """Try `answer` on random input; the verdict prints as ✔, or as ✘ with a hint. ValueError for an unknown name."""
    check_choice("exercise", name, EXERCISES)
    return judge(EXERCISES[name], answer, seed)


__all__ = ["EXERCISES", "Exercise", "Mistake", "Verdict", "check"]
