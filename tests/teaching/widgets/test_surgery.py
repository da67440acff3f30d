"""Two weights: what the three methods do, the ellipse that touches, and the same numbers in JavaScript."""

import math
import random
from typing import NamedTuple

import pytest
import torch
from node import computed
from torch import Tensor

from pruning_lib.after_training import obs
from pruning_lib.teaching.widgets.surgery import LIMITS, PRESETS, Surgery


class Outcome(NamedTuple):
    """What one method does: it deletes the weight with the smaller score."""

    scores: tuple[float, float]  # abs(w_q), ½ h_qq w_q² or ½ w_q²/[H⁻¹]_qq
    deleted: int  # 0 or 1
    point: tuple[float, float]  # the weights afterwards
    error: float  # E there


def hessian(ratio: float, correlation: float) -> Tensor:
    """H (2, 2) with h₁₁/h₂₂ = `ratio`, h₁₁h₂₂ = 1 and h₁₂ = `correlation`·√(h₁₁h₂₂) = `correlation`."""
    h = math.sqrt(ratio)
    return torch.tensor([[h, correlation], [correlation, 1 / h]], dtype=torch.float64)


def outcomes(w1: float, w2: float, ratio: float, correlation: float) -> dict[str, Outcome]:
    """What magnitude, OBD and OBS (OBS-5) make of E(w) = ½(w − w*)ᵀH(w − w*), where w* = (w1, w2) is the minimum."""
    w, H = torch.tensor([w1, w2], dtype=torch.float64), hessian(ratio, correlation)
    H_inv = torch.linalg.inv(H)
    scores = {"magnitude": w.abs(), "OBD": 0.5 * H.diagonal() * w.square(), "OBS": obs.saliency(w, H_inv)}
    result = {}
    for name, score in scores.items():
        q = int(score[1] < score[0])
        point = obs.surgery(w, H_inv, q)[0] if name == "OBS" else w.clone()
        point[q] = 0
        error = 0.5 * (point - w) @ H @ (point - w)
        result[name] = Outcome(tuple(score.tolist()), q, tuple(point.tolist()), error.item())
    return result


def surfaces(count: int = 40) -> list[dict[str, float]]:
    generator = random.Random(0)
    drawn = [{name: generator.uniform(*LIMITS[name]) for name in LIMITS} for _ in range(count)]
    edge = {"w1": 0.0, "w2": 1.0, "ratio": 16.0, "correlation": -0.95}
    tied = {"w1": -0.7, "w2": 0.7, "ratio": 1.0, "correlation": 0.5}
    nothing = {"w1": 0.0, "w2": 0.0, "ratio": 1.0, "correlation": 0.0}
    return [*drawn, *PRESETS.values(), edge, tied, nothing, {name: low for name, (low, _) in LIMITS.items()}]


def error(surface: dict[str, float], point) -> float:
    shift = torch.tensor(point, dtype=torch.float64) - torch.tensor([surface["w1"], surface["w2"]], dtype=torch.float64)
    return 0.5 * (shift @ hessian(surface["ratio"], surface["correlation"]) @ shift).item()


def test_by_hand():
    # H = [[½, 0.8], [0.8, 2]], its determinant 0.36
    result = outcomes(1.2, 0.8, 0.25, 0.8)
    assert result["magnitude"][:3] == (pytest.approx((1.2, 0.8)), 1, (1.2, 0.0))
    assert result["OBD"][:3] == (pytest.approx((0.36, 0.64)), 0, (0.0, 0.8))
    assert result["OBS"][:3] == (pytest.approx((0.1296, 0.2304)), 0, pytest.approx((0.0, 1.28)))
    assert [one.error for one in result.values()] == pytest.approx([0.64, 0.36, 0.1296])


@pytest.mark.parametrize("surface", surfaces())
def test_errors_are_what_the_scores_promise(surface):
    result = outcomes(**surface)
    for name, one in result.items():
        assert one.point[one.deleted] == 0
        assert one.scores[one.deleted] == min(one.scores)
        assert one.error == pytest.approx(error(surface, one.point), abs=1e-12)
        if name != "magnitude":
            assert one.error == pytest.approx(one.scores[one.deleted], abs=1e-12)
    share = 1 - surface["correlation"] ** 2  # with two weights OBS and OBD differ by this factor only
    assert result["OBS"].scores == pytest.approx([share * score for score in result["OBD"].scores])
    assert result["OBS"].error <= result["OBD"].error + 1e-12
    assert result["OBD"].error <= result["magnitude"].error + 1e-12


def test_presets_show_what_their_names_say():
    wrong, same, strong, none, bowl = (outcomes(**values) for values in PRESETS.values())
    assert wrong["magnitude"].deleted != wrong["OBD"].deleted
    assert len({one.point for one in wrong.values()}) == 3
    assert len({one.deleted for one in same.values()}) == 1 and same["OBS"].error < same["OBD"].error
    assert strong["OBS"].error < 0.1 * strong["OBD"].error
    assert none["OBS"].point == pytest.approx(none["OBD"].point) and none["magnitude"].deleted != none["OBD"].deleted
    assert bowl["OBS"].point == pytest.approx(bowl["magnitude"].point)


def test_state_follows_the_traits():
    widget = Surgery()
    start = next(iter(PRESETS.values()))
    assert {name: getattr(widget, name) for name in LIMITS} == start
    widget.correlation = -0.3
    assert {name: getattr(widget, name) for name in LIMITS} == start | {"correlation": -0.3}


@pytest.mark.parametrize(
    ("name", "value"), [("w1", 2.1), ("w2", float("nan")), ("ratio", 0.0), ("ratio", 17.0), ("correlation", 1.0)]
)
def test_bad_values_are_refused_at_the_start_and_later(name, value):
    values = {"w1": 1.0, "w2": 0.5, "ratio": 2.0, "correlation": 0.1}
    with pytest.raises(ValueError, match=f"{name} is {value}, must be from"):
        Surgery(**values | {name: value})
    widget = Surgery(**values)
    with pytest.raises(ValueError, match=f"{name} is {value}, must be from"):
        setattr(widget, name, value)
    assert {key: getattr(widget, key) for key in values} == values


def test_javascript_computes_the_same(tmp_path):
    expression = "given.map((values) => [outcomes(values), ellipse(values, 0.3)])"
    answers = computed(tmp_path, "surgery", "ellipse, outcomes", expression, surfaces())
    for surface, (found, line) in zip(surfaces(), answers, strict=True):
        for name, one in outcomes(**surface).items():
            assert found[name]["deleted"] == one.deleted, surface
            for key in ("scores", "point", "error"):
                assert found[name][key] == pytest.approx(getattr(one, key), abs=1e-12), surface
        assert [error(surface, point) for point in line] == pytest.approx([0.3] * 97, abs=1e-10)


def test_ellipse_of_obs_touches_the_line_and_does_not_cross_it(tmp_path):
    few = surfaces(10)
    given = [[surface, outcomes(**surface)["OBS"].error] for surface in few]
    lines = computed(tmp_path, "surgery", "ellipse", "given.map((one) => ellipse(...one))", given)
    for surface, points in zip(few, lines, strict=True):
        one, line = outcomes(**surface)["OBS"], torch.tensor(points, dtype=torch.float64)
        assert max(abs(error(surface, point) - one.error) for point in points) < 1e-12
        side = line[:, one.deleted] * (1 if surface["w1" if one.deleted == 0 else "w2"] >= 0 else -1)
        assert side.min() >= -1e-12
        assert line[:-1].mean(dim=0).tolist() == pytest.approx([surface["w1"], surface["w2"]], abs=1e-10)
        # 96 points come close to the touching one
        assert (line - torch.tensor(one.point, dtype=torch.float64)).norm(dim=1).min() <= 0.05 * (1 + side.max())
        slope = hessian(surface["ratio"], surface["correlation"]) @ (
            torch.tensor(one.point, dtype=torch.float64)
            - torch.tensor([surface["w1"], surface["w2"]], dtype=torch.float64)
        )
        assert abs(slope[1 - one.deleted].item()) < 1e-12  # no way down along the line
