"""Checks of the notebooks' exercises: `check("keep_k_largest", my_function)`; `pick` goes on with what passes."""

from pruning_lib.checks import check_choice
from pruning_lib.teaching.exercises import comparison, obs, snip, sparsegpt, sss, swaps, taxonomy, two_four
from pruning_lib.teaching.exercises.exercise import Exercise, Experiment, Function, Mistake, Verdict, judge

_NOTEBOOKS = (taxonomy, snip, sss, obs, sparsegpt, swaps, two_four, comparison)
EXERCISES: dict[str, Exercise | Experiment] = {name: each for of in _NOTEBOOKS for name, each in of.EXERCISES.items()}


def check(name: str, answer: Function, seed: int | None = None) -> Verdict:
    """Try `answer` on random input, or measure it; the verdict prints as ✔, or as ✘ with a hint.

    ValueError for an unknown name.
    """
    check_choice("exercise", name, EXERCISES)
    return judge(EXERCISES[name], answer, seed)


def pick(name: str, answer: Function) -> Function:
    """Return `answer` if it passes its check, else the library's solution: the lesson goes on with either.

    Prints which it is. ValueError for an unknown name.
    """
    passed = check(name, answer).passed
    print(f"The lesson goes on with {'your' if passed else 'the library’s'} {name}.")
    return answer if passed else EXERCISES[name].solution


__all__ = ["EXERCISES", "Exercise", "Experiment", "Mistake", "Verdict", "check", "pick"]
