"""The lasso explorer: its JavaScript walks as the library does, its minimum is one, its parabola is a bound."""

import itertools
import math

import pytest
import torch
from node import computed

from pruning_lib.during_training import proximal
from pruning_lib.teaching.widgets.lasso_explorer import PRESETS, STEPS, LassoExplorer

GENERATOR = torch.Generator().manual_seed(0)


def draw(low: float, high: float) -> float:
    return low + (high - low) * torch.rand((), generator=GENERATOR, dtype=torch.float64).item()


def a_problem() -> dict:
    problem = {"condition": 2 ** draw(0, 8), "angle": draw(-90, 90), "gamma": draw(0, 1)}
    return problem | {"center": [draw(-2, 2), draw(-2, 2)], "start": [draw(-2, 2), draw(-2, 2)], "eta": draw(0.05, 2.5)}


PROBLEMS = [a_problem() for _ in range(20)]


def hessian(problem: dict) -> torch.Tensor:
    turn = math.radians(problem["angle"])
    v = torch.tensor([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]], dtype=torch.float64)
    return v @ torch.diag(torch.tensor([1, 1 / problem["condition"]], dtype=torch.float64)) @ v.T


def smooth(problem: dict):
    H, center = hessian(problem), torch.tensor(problem["center"], dtype=torch.float64)
    return lambda x: 0.5 * (x - center) @ H @ (x - center)


def run(folder, expression: str, given) -> list:
    names = "contour, errors, growing, largestStep, lasso, majorizer, walk"
    return computed(folder, "lasso_explorer", names, expression, given)


@pytest.mark.parametrize(
    ("method", "momentum", "library"),
    [
        ("apg", "growing", proximal.apg),
        ("apg", "() => 0.9", lambda *given: proximal.apg(*given, momentum=lambda t: 0.9)),
        ("ista", "growing", proximal.ista),
    ],
)
def test_walks_are_the_librarys(tmp_path, method, momentum, library):
    walk = f'walk(lasso(one), "{method}", {{ ...one, momentum: {momentum}, steps: {STEPS} }})'
    for problem, (start, *states) in zip(PROBLEMS, run(tmp_path, f"given.map((one) => {walk})", PROBLEMS), strict=True):
        x0 = torch.tensor(problem["start"], dtype=torch.float64)
        assert start["point"] == problem["start"] and start["momentum"] == 0
        expected = library(smooth(problem), x0, problem["eta"], problem["gamma"], STEPS)
        for state, its in zip(states, expected, strict=True):
            scale = 1 + its.point.abs().max().item()  # some diverge
            for name, vector in (("point", its.point), ("lookAhead", its.look_ahead), ("z", its.z)):
                assert state[name] == pytest.approx(vector.tolist(), rel=0, abs=1e-12 * scale * its.t)
            assert [value == 0 for value in state["point"]] == (its.point == 0).tolist()
            assert state["momentum"] == its.momentum
            assert state["objective"] == pytest.approx(its.objective, rel=1e-11 * its.t)


def test_subgradient_steps_have_no_prox(tmp_path):
    walk = 'given.map((one) => walk(lasso(one), "subgradient", { ...one, steps: 2 }))'
    for problem, (before, *states) in zip(PROBLEMS, run(tmp_path, walk, PROBLEMS), strict=True):
        for state in states:
            x = torch.tensor(before["point"], dtype=torch.float64, requires_grad=True)
            (slope,) = torch.autograd.grad(smooth(problem)(x) + problem["gamma"] * x.abs().sum(), x)
            assert state["point"] == pytest.approx((x - problem["eta"] * slope).tolist(), rel=1e-12)
            before = state


def test_minimum_fulfills_the_optimality_condition(tmp_path):
    for problem, found in zip(PROBLEMS, run(tmp_path, "given.map(lasso)", PROBLEMS), strict=True):
        x = torch.tensor(found["optimum"], dtype=torch.float64)
        slope = hessian(problem) @ (x - torch.tensor(problem["center"], dtype=torch.float64))
        on = x != 0
        torch.testing.assert_close(slope[on], -problem["gamma"] * x[on].sign(), rtol=0, atol=1e-12)
        assert (slope[~on].abs() <= problem["gamma"] + 1e-12).all()
        minimum = smooth(problem)(x) + problem["gamma"] * x.abs().sum()
        assert found["minimum"] == pytest.approx(minimum.item(), rel=1e-12)


def test_parabola_touches_is_lowest_at_the_step_and_above_f_up_to_1_over_l(tmp_path):
    grid = [list(point) for point in itertools.product([k / 4 for k in range(-12, 13)], repeat=2)]
    expression = """given.problems.map((one) => {
      const problem = lasso(one);
      const [, { lookAhead, point }] = walk(problem, "ista", { ...one, steps: 1 });
      const parabola = majorizer(problem, lookAhead, one.eta);
      return { touches: parabola(lookAhead) - problem.value(lookAhead), lowest: parabola(point),
               every: given.grid.map((x) => [parabola(x), problem.value(x)]) };
    })"""
    for eta, above in ((1.0, True), (0.3, True), (1.5, False)):
        problems = [problem | {"eta": eta} for problem in PROBLEMS]
        for found in run(tmp_path, expression, {"problems": problems, "grid": grid}):
            assert abs(found["touches"]) < 1e-12
            assert all(found["lowest"] <= parabola + 1e-12 for parabola, _ in found["every"])
            assert all(parabola >= value - 1e-12 for parabola, value in found["every"]) == above


def test_without_a_prox_the_parabola_has_no_kink_and_is_lowest_at_the_subgradient_step(tmp_path):
    expression = """given.map((one) => {
      const problem = lasso(one);
      const [, { lookAhead, point }] = walk(problem, "subgradient", { ...one, steps: 1 });
      const parabola = majorizer(problem, lookAhead, one.eta, false);
      const beside = [[0.01, 0], [-0.01, 0], [0, 0.01], [0, -0.01]].map(([x, y]) => [point[0] + x, point[1] + y]);
      return [parabola(point), ...beside.map(parabola)];
    })"""
    for problem, (lowest, *beside) in zip(PROBLEMS, run(tmp_path, expression, PROBLEMS), strict=True):
        for value in beside:
            assert value - lowest == pytest.approx(0.01**2 / (2 * problem["eta"]), rel=1e-6)


def test_errors_without_a_penalty_fall_by_1_minus_eta_h(tmp_path):
    expression = """given.map((one) => {
      const problem = lasso({ ...one, gamma: 0 });
      return walk(problem, "ista", { ...one, steps: 3 }).map(({ point }) => errors(problem, point));
    })"""
    for problem, found in zip(PROBLEMS, run(tmp_path, expression, PROBLEMS), strict=True):
        for i, curvature in enumerate((1, 1 / problem["condition"])):
            factor = abs(1 - problem["eta"] * curvature)
            assert [row[i] for row in found] == pytest.approx([found[0][i] * factor**t for t in range(4)], abs=1e-13)


def test_momentum_bounds_the_step(tmp_path):
    """Just below the bound the error along v₁ of a quadratic dies out, just above it grows."""
    expression = """given.flatMap((mu) => [0.98, 1.02].map((part) => {
      const problem = lasso({ condition: 1, angle: 0, gamma: 0, center: [0, 0] });
      const how = { start: [1, 0], eta: part * largestStep(mu), momentum: () => mu, steps: 2000 };
      return Math.abs(walk(problem, "apg", how)[2000].point[0]);
    }))"""
    below, above = (run(tmp_path, expression, [0.0, 0.3, 0.9, 0.99])[k::2] for k in (0, 1))
    assert max(below) < 1e-2 and min(value or math.inf for value in above) > 1e2


def test_contours_lie_on_their_level(tmp_path):
    expression = """given.map((one) => {
      const problem = lasso(one);
      return contour(problem, problem.minimum + 0.5).map((x) => problem.value(x) - problem.minimum);
    })"""
    for line in run(tmp_path, expression, PROBLEMS):
        assert line == pytest.approx([0.5] * len(line), abs=1e-6)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"center": (1.0,)}, "center has 1 numbers, must have 2"),
        ({"center": (1.0, 3.5)}, "center is 3.5, must be from -3 to 3"),
        ({"start": (0.0, math.nan)}, "start is nan, must be from -3 to 3"),
    ],
)
def test_bad_problems_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        LassoExplorer(**changes)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"t": STEPS + 1}, "t is 61, must be from 0 to 60"),
        ({"method": "sgd"}, "method is 'sgd'"),
        ({"eta": 0.0}, "eta is 0.0, must be from 0.05 to 2.5"),
        ({"gamma": -0.1}, "gamma is -0.1, must be from 0 to 1"),
        ({"momentum": 1.0}, "momentum is 1.0, must be from 0 to 0.99"),
        ({"condition": math.nan}, "condition is nan, must be from 1 to 256"),
        ({"angle": 91.0}, "angle is 91.0, must be from -90 to 90"),
    ],
)
def test_bad_values_are_refused_at_the_start_and_later(bad, message):
    with pytest.raises(ValueError, match=message):
        LassoExplorer(**bad)
    explorer = LassoExplorer()
    before = explorer.trait_values()
    ((name, value),) = bad.items()
    with pytest.raises(ValueError, match=message):
        setattr(explorer, name, value)
    assert explorer.trait_values() == before


def test_presets_may_be_set():
    explorer = LassoExplorer()
    for values in PRESETS.values():
        for name, value in values.items():
            setattr(explorer, name, value)
            assert getattr(explorer, name) == value
