import numpy
import pytest
import torch

from pruning_lib.teaching.equations import check


@pytest.fixture
def shown(monkeypatch):
    found = []
    monkeypatch.setattr("pruning_lib.teaching.equations.display", lambda data, raw: found.append(data))
    return found


def test_says_by_how_much_the_sides_differ_as_a_share_of_the_right_one(shown):
    check("GPT-3", torch.tensor([100.0, 50.001]), [100.0, 50.0], within=1e-4, note="a < b")
    assert shown[0]["text/plain"] == "GPT-3 ✓ differs by 1e-05: a < b"
    assert "<summary>GPT-3 ✓ differs by 1e-05: a &lt; b</summary>" in shown[0]["text/html"]
    assert "50.001" in shown[0]["text/html"]


def test_equal_sides_and_claims(shown):
    check("A-1", 3, 3)
    check("A-2", torch.arange(5) < 5, note="all below five")
    check("A-3", True)
    check("A-4", torch.zeros(2, requires_grad=True), numpy.zeros(2))
    assert [data["text/plain"] for data in shown] == [
        "A-1 ✓ both sides are equal",
        "A-2 ✓ holds in all 5 cases: all below five",
        "A-3 ✓ holds",
        "A-4 ✓ both sides are equal",
    ]


@pytest.mark.parametrize(
    ("left", "right", "message"),
    [
        (1.0, 1.1, r"X-1 ✗ differs by 9e-02\nleft  1.0\nright 1.1"),
        ([1.0, float("nan")], [1.0, 2.0], "X-1 ✗ differs by nan"),
        ([1.0, 2.0], [1.0, 2.0, 3.0], r"shapes \(2,\) and \(3,\)"),
        ([1.0], True, r"shapes \(1,\) and \(\)"),
        (torch.tensor([True, False]), True, "fails in 1 of 2"),
        (torch.tensor([], dtype=torch.bool), True, "fails in 0 of 0"),
        (False, True, "fails in 1 of 1"),
        (1e-3, 0.0, "differs by 1e-03"),
    ],
)
def test_raises_with_both_sides(shown, left, right, message):
    with pytest.raises(AssertionError, match=message):
        check("X-1", left, right)
    assert not shown
