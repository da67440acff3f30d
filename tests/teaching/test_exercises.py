import pytest
import torch

from pruning_lib.teaching.exercises import EXERCISES, check

CASES = [(name, index) for name, exercise in EXERCISES.items() for index in range(len(exercise.mistakes))]


@pytest.mark.parametrize("name", EXERCISES)
def test_solution_is_accepted(name):
    for seed in range(5):
        assert check(name, EXERCISES[name].solution, seed).passed
    assert check(name, EXERCISES[name].solution).passed


@pytest.mark.parametrize(("name", "index"), CASES)
def test_mistake_is_rejected_with_its_own_hint(name, index):
    mistake = EXERCISES[name].mistakes[index]
    for seed in range(5):
        verdict = check(name, mistake.answer, seed)
        assert not verdict.passed
        assert verdict.message == mistake.hint


def test_hints_differ_and_are_enough():
    for exercise in EXERCISES.values():
        assert len({mistake.hint for mistake in exercise.mistakes}) == len(exercise.mistakes) >= 3


@pytest.mark.parametrize("name", EXERCISES)
def test_empty_stub(name):
    for stub in (lambda *arguments: None, lambda *arguments: ...):
        verdict = check(name, stub)
        assert not verdict.passed
        assert "Not written yet" in repr(verdict)


def test_error_in_the_answer_is_told():
    assert "ZeroDivisionError" in check("top_k", lambda scores, k: 1 / 0).message


def test_changed_arguments_are_told():
    def in_place(loss, weights, j):
        before = loss(weights)
        weights[j] = 0
        return before - loss(weights)

    assert "changes its arguments" in check("exact_effect", in_place).message


def test_any_other_answer_is_shown_beside_the_right_one():
    verdict = check("top_k", lambda scores, k: torch.ones_like(scores, dtype=torch.bool))
    assert not verdict.passed
    assert "expected" in verdict.message


def test_a_number_is_as_good_as_its_tensor():
    solution = EXERCISES["exact_effect"].solution
    assert check("exact_effect", lambda loss, weights, j: solution(loss, weights, j).item()).passed
    assert check("exact_effect", lambda loss, weights, j: solution(loss, weights, j).numpy()).passed
    wrong = check("exact_effect", lambda loss, weights, j: 3.0).message
    assert "expected" in wrong
    assert "function <" not in wrong


def test_unknown_exercise():
    with pytest.raises(ValueError, match="exercise is 'x', must be one of 'top_k'"):
        check("x", len)
