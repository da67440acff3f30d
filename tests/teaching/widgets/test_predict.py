"""A question with its measured answer: what is refused, and what the page gets."""

import math

import pytest
from traitlets import TraitError

from pruning_lib.teaching.widgets.predict import Predict

LETTERS = ["A", "B", "C"]


def test_an_answer_is_a_number_of_the_slider_or_one_of_the_choices():
    number = Predict("How many?", 92.27, "On MNIST.", limits=(50, 99), step=0.5)
    assert number.asked["answer"] == 92.27 and not number.asked["choices"] and number.guess is None and not number.shown
    choice = Predict("Which?", "C", choices=LETTERS, guess=1)
    assert choice.asked["answer"] == 2 and (choice.asked["low"], choice.asked["high"]) == (0, 2) and choice.guess == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"answer": 101}, "answer is 101, must be from 0 to 100"),
        ({"answer": math.nan}, "answer is nan, must be from 0 to 100"),
        ({"answer": 5, "limits": (10, 10)}, r"limits is \(10, 10\) and step 1, must be from low to high"),
        ({"answer": 5, "limits": (0, math.inf)}, r"limits is \(0, inf\) and step 1, must be"),
        ({"answer": 5, "step": 0}, "and step 0, must be from low to high in steps above 0"),
        ({"answer": "A", "choices": []}, r"choices is \[\], must be at least two different"),
        ({"answer": "A", "choices": ["A", "A"]}, r"choices is \['A', 'A'\], must be at least two different"),
        ({"answer": "D", "choices": LETTERS}, "answer is 'D', must be one of 'A', 'B', 'C'"),
        ({"answer": 50, "guess": 101}, "guess is 101.0, must be from 0 to 100"),
        ({"answer": "A", "choices": LETTERS, "guess": 3}, "guess is 3.0, must be from 0 to 2"),
        ({"answer": "A", "choices": LETTERS, "guess": 0.5}, "guess is 0.5, must be the place of one of the choices"),
        ({"answer": 50, "question": " "}, "question is ' ', must be a text"),
        ({"answer": 50, "found": ""}, "found is '', must be a text"),
    ],
)
def test_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Predict(**{"question": "How many?"} | arguments)


def test_a_wrong_guess_leaves_the_last_one():
    widget = Predict("How many?", 50, guess=10)
    for guess in (-1, 101, math.nan):
        with pytest.raises(ValueError, match="must be from 0 to 100"):
            widget.guess = guess
    with pytest.raises(TraitError):
        widget.guess = "ten"
    assert widget.guess == 10
