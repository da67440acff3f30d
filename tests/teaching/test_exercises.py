import numpy as np
import pytest
import torch

from pruning_lib.acceleration.two_four import find_permutation
from pruning_lib.teaching.exercises import EXERCISES, Experiment, check, pick
from pruning_lib.teaching.exercises.given import query_inputs
from pruning_lib.workbench.checkpoint import load_checkpoint
from pruning_lib.workbench.text import digest, load

EXPERIMENTS = {name for name, exercise in EXERCISES.items() if isinstance(exercise, Experiment)}
CASES = [(name, index) for name, exercise in EXERCISES.items() for index in range(len(exercise.mistakes))]


def seeds(name):
    return range(1 if name in EXPERIMENTS else 5)  # an experiment is always the same


@pytest.mark.parametrize("name", EXERCISES)
def test_solution_is_accepted(name):
    for seed in seeds(name):
        assert check(name, EXERCISES[name].solution, seed).passed


@pytest.mark.parametrize(("name", "index"), CASES)
def test_mistake_is_rejected_with_its_own_hint(name, index):
    mistake = EXERCISES[name].mistakes[index]
    for seed in seeds(name):
        verdict = check(name, mistake.answer, seed)
        assert not verdict.passed
        assert verdict.message.endswith(mistake.hint)
        assert name in EXPERIMENTS or verdict.message == mistake.hint


def test_hints_differ_and_are_enough():
    for exercise in EXERCISES.values():
        assert len({mistake.hint for mistake in exercise.mistakes}) == len(exercise.mistakes) >= 3


@pytest.mark.parametrize("name", EXERCISES)
def test_empty_stub(name):
    for stub in (lambda *arguments: None, lambda *arguments: ...):
        verdict = check(name, stub)
        assert not verdict.passed
        assert "Not written yet" in repr(verdict)


@pytest.mark.parametrize("name", ["keep_k_largest", "beat_the_surgeon"])
def test_error_in_the_answer_is_shown(name):
    assert "ZeroDivisionError" in check(name, lambda *arguments: 1 / 0).message


def test_changed_arguments_are_noticed():
    def in_place(weight, velocity, gradient, keep):
        weight[~keep] = 0
        return weight

    assert "changes its arguments" in check("masked_step", in_place).message


def test_any_other_answer_is_shown_beside_the_right_one():
    verdict = check("keep_k_largest", lambda scores, k: {name: score > -1 for name, score in scores.items()})
    assert not verdict.passed
    assert "expected" in verdict.message


def test_a_number_is_as_good_as_its_tensor():
    solution = EXERCISES["reported_accuracy"].solution
    assert check("reported_accuracy", lambda *epochs: torch.tensor(solution(*epochs), dtype=torch.float64)).passed
    assert "expected" in check("reported_accuracy", lambda *epochs: 3.0).message


@pytest.mark.parametrize(
    "answer", [np.array(["x"]), np.array([None, 1.0]), np.str_("x"), np.array([1.0], dtype=">f8"), 2**70, "x", object()]
)
def test_what_no_tensor_can_hold_is_shown_and_not_raised(answer):
    verdict = check("prox_step", lambda *arguments: answer)
    assert not verdict.passed
    assert "expected" in verdict.message
    assert pick("prox_step", lambda *arguments: answer) is EXERCISES["prox_step"].solution


def test_an_array_in_any_order_of_memory_is_as_good_as_its_tensor():
    solution = EXERCISES["prox_step"].solution
    assert check("prox_step", lambda *arguments: solution(*arguments).numpy()[::-1].copy()[::-1]).passed


def test_the_lesson_goes_on_with_what_passes(capsys):
    solution = EXERCISES["masked_step"].solution

    def mine(*arguments):
        return solution(*arguments)

    assert pick("masked_step", mine) is mine
    assert pick("masked_step", lambda *arguments: None) is solution
    assert [line.split()[5] for line in capsys.readouterr().out.splitlines()] == ["your", "the"]


@pytest.mark.parametrize("function", [check, pick])
def test_unknown_exercise(function):
    with pytest.raises(ValueError, match="exercise is 'x', must be one of 'keep_k_largest'"):
        function("x", len)


# Rules of the experiments


def broken_rules():
    zeros = torch.zeros(16, dtype=torch.float64)
    yield "masks_only", lambda network, *_: {"1.weight": torch.ones(64, 64) > 0}, "Return a mask for each of"
    yield (
        "masks_only",
        lambda network, *_: {n: torch.ones(s) > 0 for n, s in MASKS.items()},
        "4736 weights stay, at most",
    )
    yield "masks_only", lambda network, *_: {n: torch.ones(s) for n, s in MASKS.items()}, "A mask is boolean"
    yield (
        "masks_only",  # one row that multiplication would spread over all
        lambda network, *_: {n: torch.ones(1, s[1]) > 0 for n, s in MASKS.items()},
        "The mask of 1.weight has shape (1, 64), must be (64, 64)",
    )
    yield "ten_of_24", lambda loss, k: torch.full((24,), 0.5), "each 0 or 1"
    yield "ten_of_24", lambda loss, k: torch.ones(24), "24 connections stay, it must be 10"
    yield "ten_of_24", lambda loss, k: [loss(torch.ones(24)) for _ in range(1001)], "asked more than 1000 times"
    yield "fast_lasso", lambda gradient, start, *_: start[:3], "a point with 120 finite entries"
    yield "fast_lasso", lambda gradient, start, *_: [gradient(start) for _ in range(101)], "asked more than 100 times"
    yield (
        "fast_lasso",  # its gradient is affine: these calls would recover it
        lambda gradient, start, *_: [gradient(start + unit) for unit in torch.eye(len(start), dtype=start.dtype)],
        "asked more than 100 times",
    )
    yield "right_price", lambda train, accuracy, share: train(0.3), "at least 93 % is asked"
    yield "right_price", lambda train, *_: [train(0.1) for _ in range(7)], "called more than 6 times"
    yield "right_price", lambda *_: 0.1, "Asked for is a network"
    yield "beat_the_surgeon", lambda w, *_: w, "0 weights are exactly zero, 8 must be"
    yield "beat_the_surgeon", lambda w, *_: zeros[:3], "asked for are all 16 weights"
    yield "beyond_swaps", lambda W, H: (W, W != 0), "weights stay, at most 2304 may"
    yield "beyond_swaps", lambda W, H: (W, W > 1e9), "not zero although your mask says that they go"
    yield "beyond_swaps", lambda W, H: (W, W), "a boolean mask"
    yield "beyond_swaps", lambda W, H: W[0], "cannot be measured: "
    yield "spread_the_zeros", lambda weights, _: dict.fromkeys(weights, 0.69), "69.0% of all weights go, at least 70 %"
    yield "spread_the_zeros", lambda weights, _: [0.7] * 24, "a share for each of the 24 layers"
    yield "spread_the_zeros", lambda weights, _: dict.fromkeys(weights, 70), "a number from 0 to 1"
    yield (
        "spread_the_zeros",
        lambda weights, perplexity_of: [perplexity_of(dict.fromkeys(weights, 0.7)) for _ in range(9)],
        "called more than 8 times",
    )
    yield (
        "better_order",
        lambda weight, x: torch.zeros(weight.shape[1], dtype=torch.long),
        "each number from 0 to 191 once",
    )
    yield "twelve_epochs", lambda network, train: network, "0.0% of the weights of the network you return are zero"
    yield "twelve_epochs", lambda network, train: train(None, 13), "must be a whole number from 0 to 12"
    yield "twelve_epochs", lambda network, train: train(None, -20), "epochs is -20, must be a whole number from 0 to 12"


MASKS = {"1.weight": (64, 64), "3.weight": (10, 64)}


@pytest.mark.parametrize(("name", "answer", "message"), list(broken_rules()))
def test_a_broken_rule_is_named(name, answer, message):
    verdict = check(name, answer)
    assert not verdict.passed
    assert message in verdict.message


def test_a_refused_training_costs_nothing():
    _, train = EXERCISES["twelve_epochs"].cases()[0]
    for epochs in (-20, 13, 0.5, None):
        with pytest.raises(ValueError, match=f"epochs is {epochs}, must be a whole number from 0 to 12"):
            train(None, epochs)
    assert train.left == 12
    train(None, 1)
    assert train.left == 11


def test_an_experiment_cannot_be_spoiled():
    def spoil(W, H):
        W.zero_(), H.zero_()
        return W, W > 0

    number = EXERCISES["beyond_swaps"].outcome(spoil)
    assert number == EXERCISES["beyond_swaps"].outcome(lambda W, H: (0 * W, W > 1e9)) > 1000


def test_better_order_on_text_that_it_was_not_fitted_to():
    """The numbers in the folded solution of 6b.4, for the text that the GPT was trained on, Python 3.11's manual."""
    exercise, ((weight, x),) = EXERCISES["better_order"], EXERCISES["better_order"].cases()
    orders = torch.arange(weight.shape[1]), find_permutation(weight), exercise.solution(weight, x)
    unseen = query_inputs(96, unseen=True)
    as_stood, searched, found = (exercise.score(order, *unseen) for order in orders)
    assert found < searched - 0.5 < as_stood - 1
    if digest(load("topics").train) == load_checkpoint()[1]["train_sha256"]:
        assert (as_stood, searched, found) == pytest.approx((6.10, 4.95, 3.91), abs=0.01)
