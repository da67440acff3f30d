"""How an exercise answers back: the student's function meets fresh random input, and a typical mistake its hint."""

import copy
import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

Function = Callable[..., Any]
_ROUNDS = 16  # enough that a wrong answer is not right by luck


def draw(generator: torch.Generator, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def whole(generator: torch.Generator, low: int, high: int) -> int:
    """A number from `low` to below `high`."""
    return int(torch.randint(low, high, (1,), generator=generator))


def uniform(generator: torch.Generator, low: float, high: float) -> float:
    return low + (high - low) * torch.rand(1, generator=generator).item()


@dataclass(frozen=True)
class Mistake:
    """A typical wrong answer, and what to tell who gives it."""

    answer: Function
    hint: str


class Exercise:
    """`inputs(generator)` draws the arguments; `solution` is right; then come typical mistakes, each with its hint."""

    def __init__(
        self, inputs: Callable[[torch.Generator], tuple], solution: Function, *mistakes_and_hints: Function | str
    ):
        self.inputs, self.solution = inputs, solution
        self.mistakes = [Mistake(*pair) for pair in zip(mistakes_and_hints[::2], mistakes_and_hints[1::2], strict=True)]


class RuleBroken(ValueError):
    """What an experiment's `score` raises for a result that does not count."""


class Experiment:
    """An open problem, always the same one, with a number to reach and attempts that fall short, each with its hint.

    `cases()` returns arguments of one or more cases; `score(result, *arguments)` is the number of one, or RuleBroken.
    Their mean must not exceed `target`; if `higher`, it must reach it. `what` names the number, `form` prints it.
    """

    def __init__(
        self,
        cases: Callable[[], list[tuple]],
        score: Callable[..., float],
        target: float,
        what: str,
        form: str,
        solution: Function,
        *attempts_and_hints: Function | str,
        higher: bool = False,
    ):
        self.cases, self.score, self.target, self.higher = cases, score, target, higher
        self.what, self.form = what, form
        self.solution, pairs = solution, zip(attempts_and_hints[::2], attempts_and_hints[1::2], strict=True)
        self.mistakes = [Mistake(*pair) for pair in pairs]
        self.outcome_of_mistake = functools.cache(lambda index: self.outcome(self.mistakes[index].answer))

    def reached_by(self, number: float) -> bool:
        return number >= self.target if self.higher else number <= self.target

    def outcome(self, answer: Function) -> float | str:
        """The number that `answer` reaches, or why it has none."""
        numbers = []
        for arguments in self.cases():
            try:
                result = answer(*copy.deepcopy(arguments))
            except Exception as error:
                return _stops(error)
            if result is None or result is ...:
                return _NOT_WRITTEN
            try:
                numbers.append(float(self.score(result, *arguments)))
            except RuleBroken as error:
                return str(error)
            except Exception as error:
                return f"What your function returns cannot be measured: {type(error).__name__}: {error}"
        return sum(numbers) / len(numbers)


@dataclass(frozen=True)
class Verdict:
    passed: bool
    message: str

    def __repr__(self) -> str:
        return f"{'✔' if self.passed else '✘'} {self.message}"


_NOT_WRITTEN = "Not written yet: your function returns nothing."


def _stops(error: Exception) -> str:
    return f"Your function stops with {type(error).__name__}: {error}"


def judge(exercise: Exercise | Experiment, answer: Function, seed: int | None = None) -> Verdict:
    """Compare `answer` with the solution on `_ROUNDS` random inputs (fresh ones each time unless a `seed` is given).

    Of an experiment: measure what `answer` reaches.
    """
    return (_measured if isinstance(exercise, Experiment) else _compared)(exercise, answer, seed)


def _measured(experiment: Experiment, answer: Function, seed: int | None) -> Verdict:
    number = experiment.outcome(answer)
    if isinstance(number, str):
        return Verdict(False, number)
    reached, target = map(experiment.form.format, (number, experiment.target))
    said = f"{experiment.what} {reached}; the target is at {'least' if experiment.higher else 'most'} {target}"
    if experiment.reached_by(number):
        return Verdict(True, f"Reached: {said}.")
    hints = (each.hint for i, each in enumerate(experiment.mistakes) if _same(experiment.outcome_of_mistake(i), number))
    return Verdict(False, f"{said[0].upper()}{said[1:]}. {next(hints, '')}".rstrip())


def _compared(exercise: Exercise, answer: Function, seed: int | None) -> Verdict:
    generator = torch.Generator()
    generator.manual_seed(generator.seed() if seed is None else seed)
    rounds = [exercise.inputs(generator) for _ in range(_ROUNDS)]
    results = []
    for arguments in rounds:
        given = copy.deepcopy(arguments)
        try:
            results.append(answer(*given))
        except Exception as error:
            return Verdict(False, _stops(error))
        if results[-1] is None or results[-1] is ...:
            return Verdict(False, _NOT_WRITTEN)
        if not _same(given, arguments):
            return Verdict(
                False, "Your function changes its arguments: work on a copy (clone), the caller needs its own."
            )
    expected = [exercise.solution(*copy.deepcopy(arguments)) for arguments in rounds]
    if _same(results, expected):
        return Verdict(True, "Right.")
    for mistake in exercise.mistakes:
        if _same(results, [mistake.answer(*copy.deepcopy(arguments)) for arguments in rounds]):
            return Verdict(False, mistake.hint)
    first = next(i for i in range(_ROUNDS) if not _same(results[i], expected[i]))
    shown = ", ".join(str(argument) for argument in rounds[first] if not callable(argument))
    form = "" if _form_of(results[first]) == _form_of(expected[first]) else f" ({_form_of(expected[first])})"
    return Verdict(
        False, f"For the input {shown} your function gives {results[first]}, expected {expected[first]}{form}."
    )


def _form_of(value: Any) -> str:
    """What `value` is, in words: kind and shape."""
    if isinstance(value, Tensor):
        return f"{value.dtype} of shape {tuple(value.shape)}"
    if isinstance(value, list | tuple):
        return f"{type(value).__name__} of {', '.join(map(_form_of, value))}"
    return type(value).__name__


def _same(left: Any, right: Any) -> bool:
    """Equality within rounding, through tuples, lists and dicts of tensors and numbers."""
    if isinstance(left, np.ndarray | np.generic) or (isinstance(left, int | float) and isinstance(right, Tensor)):
        try:
            left = torch.as_tensor(copy.copy(left))  # a number or an array is as good an answer as the tensor of it
        except (TypeError, ValueError):  # objects, strings, a number too large
            return False
    if isinstance(right, Tensor):
        return (
            isinstance(left, Tensor)
            and left.shape == right.shape
            and (left.dtype == torch.bool) == (right.dtype == torch.bool)
            and torch.allclose(left.double(), right.double(), rtol=1e-6, atol=1e-9)
        )
    if isinstance(right, list | tuple):
        return isinstance(left, list | tuple) and len(left) == len(right) and all(map(_same, left, right))
    if isinstance(right, dict):
        return isinstance(left, dict) and left.keys() == right.keys() and all(_same(left[k], right[k]) for k in right)
    if isinstance(left, Tensor):
        return left.numel() == 1 and _same(left.item(), right)
    if isinstance(right, float):
        return isinstance(left, int | float) and abs(left - right) <= 1e-6 * abs(right) + 1e-9
    return left == right
