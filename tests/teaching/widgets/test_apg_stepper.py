"""The stepper's states, its exact minimum and what it refuses."""

import pytest
import torch

from pruning_lib.during_training import proximal
from pruning_lib.teaching.widgets.apg_stepper import APGStepper, Lasso

MATRIX = torch.tensor([[1.0, 0.8], [0.0, 0.3]])
TARGET = torch.tensor([1.4, 0.13])
START = torch.tensor([-1.0, 2.0])


def lasso(**changes) -> Lasso:
    return Lasso(**{"matrix": MATRIX, "target": TARGET, "gamma": 0.4, "start": START, "steps": 12} | changes)


@pytest.mark.parametrize("seed", range(6))
def test_minimum_fulfills_the_optimality_condition(seed):
    generator = torch.Generator().manual_seed(seed)
    problem = lasso(
        matrix=torch.randn(5, 2, generator=generator),
        target=torch.randn(5, generator=generator),
        gamma=[0.0, 0.3, 1.0][seed % 3],
    )
    slope = problem.matrix.T @ (problem.matrix @ problem.optimum - problem.target)
    on = problem.optimum != 0
    torch.testing.assert_close(slope[on], -problem.gamma * problem.optimum[on].sign(), rtol=0, atol=1e-12)
    assert (slope[~on].abs() <= problem.gamma + 1e-12).all()
    assert problem.value(list(problem.states["apg"])[-1].point) >= problem.minimum - 1e-12


def test_all_zero_is_the_minimum_for_a_large_gamma():
    assert lasso(gamma=10.0).optimum.tolist() == [0, 0]


def test_states_are_those_of_the_library():
    problem = lasso()
    step = 1 / torch.linalg.eigvalsh(MATRIX.double().T @ MATRIX.double())[-1].item()
    stepper = APGStepper(problem)
    for name, method in (("apg", proximal.apg), ("ista", proximal.ista)):
        states = method(problem.smooth, START.double(), step, 0.4, 12)
        assert stepper.paths[name][0]["point"] == START.tolist()
        for entry, state in zip(stepper.paths[name][1:], states, strict=True):
            assert entry["point"] == state.point.tolist() and entry["z"] == state.z.tolist()
            assert entry["look_ahead"] == state.look_ahead.tolist() and entry["momentum"] == state.momentum
            assert entry["gap"] == pytest.approx(state.objective - problem.minimum, abs=1e-12)
    assert stepper.problem["threshold"] == pytest.approx(0.4 * step)


def test_contours_lie_on_the_levels_and_inside_the_window():
    problem = lasso()
    levels = torch.tensor(problem.levels(), dtype=torch.float64)
    (low, high), (bottom, top) = problem.window()
    for line in APGStepper(problem).problem["contours"]:
        for x, y in line:
            assert low - 1e-3 <= x <= high + 1e-3 and bottom - 1e-3 <= y <= top + 1e-3
            value = problem.value(torch.tensor([x, y], dtype=torch.float64))
            # between the points of the grid the lines are straight, F is not
            assert (levels - value).abs().min() < 0.005 * (levels[-1] - problem.minimum)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"matrix": torch.ones(2, 3)}, r"matrix has shape \(2, 3\), must be \(2, 2\)"),
        ({"start": torch.ones(3)}, r"start has shape \(3,\)"),
        ({"matrix": torch.zeros(2, 2)}, "matrix is zero"),
        ({"target": torch.tensor([1.0, float("nan")])}, "target contains values that are not finite"),
        ({"gamma": -0.1}, "gamma is -0.1"),
        ({"step": 0.0}, "step is 0.0"),
        ({"steps": 0}, "steps is 0"),
    ],
)
def test_bad_problems_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        lasso(**changes)


@pytest.mark.parametrize(("bad", "message"), [({"t": 13}, "t is 13, must be from 0 to 12"), ({"method": "sgd"}, "sgd")])
def test_bad_values_are_refused_at_the_start_and_later(bad, message):
    with pytest.raises(ValueError, match=message):
        APGStepper(lasso(), **bad)
    stepper = APGStepper(lasso(), t=3)
    ((name, value),) = bad.items()
    with pytest.raises(ValueError, match=message):
        setattr(stepper, name, value)
    assert (stepper.t, stepper.method) == (3, "apg")
