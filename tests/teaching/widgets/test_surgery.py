"""Two weights: what the three methods do, the ellipse that touches, and the same numbers in JavaScript."""

import json
import random
import shutil
import subprocess

import pytest
import torch

from pruning_lib.teaching.widgets import surgery
from pruning_lib.teaching.widgets.javascript import bundle
from pruning_lib.teaching.widgets.surgery import LIMITS, PRESETS, Surgery, ellipse, hessian, outcomes, static_figure


def surfaces(count: int = 40) -> list[dict[str, float]]:
    generator = random.Random(0)
    drawn = [{name: generator.uniform(*LIMITS[name]) for name in LIMITS} for _ in range(count)]
    edge = {"w1": 0.0, "w2": 1.0, "ratio": 16.0, "correlation": -0.95}
    tied = {"w1": -0.7, "w2": 0.7, "ratio": 1.0, "correlation": 0.5}
    return [*drawn, *PRESETS.values(), edge, tied, {name: low for name, (low, _) in LIMITS.items()}]


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


@pytest.mark.parametrize("surface", surfaces(10))
def test_ellipse_of_obs_touches_the_line_and_does_not_cross_it(surface):
    one = outcomes(**surface)["OBS"]
    line = ellipse(**surface, error=one.error)
    assert max(abs(error(surface, point) - one.error) for point in line.tolist()) < 1e-12
    side = line[:, one.deleted] * (1 if surface["w1" if one.deleted == 0 else "w2"] >= 0 else -1)
    assert side.min() >= -1e-12
    # 96 points come close to the touching one
    assert (line - torch.tensor(one.point, dtype=torch.float64)).norm(dim=1).min() <= 0.05 * (1 + side.max())
    slope = hessian(surface["ratio"], surface["correlation"]) @ (
        torch.tensor(one.point, dtype=torch.float64) - torch.tensor([surface["w1"], surface["w2"]], dtype=torch.float64)
    )
    assert abs(slope[1 - one.deleted].item()) < 1e-12  # no way down along the line


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
    assert widget.outcomes() == outcomes(**next(iter(PRESETS.values())))
    widget.correlation = -0.3
    assert widget.outcomes() == outcomes(1.2, 0.8, 0.25, -0.3)


@pytest.mark.parametrize(
    ("name", "value"), [("w1", 2.1), ("w2", float("nan")), ("ratio", 0.0), ("ratio", 17.0), ("correlation", 1.0)]
)
def test_bad_values_are_refused_at_the_start_and_later(name, value):
    values = {"w1": 1.0, "w2": 0.5, "ratio": 2.0, "correlation": 0.1}
    for call in (Surgery, static_figure, outcomes):
        with pytest.raises(ValueError, match=f"{name} is {value}, must be from"):
            call(**values | {name: value})
    widget = Surgery(**values)
    with pytest.raises(ValueError, match=f"{name} is {value}, must be from"):
        setattr(widget, name, value)
    assert {key: getattr(widget, key) for key in values} == values


@pytest.mark.parametrize("surface", [*PRESETS.values(), {"w1": 0.0, "w2": 0.0, "ratio": 1.0, "correlation": 0.0}])
def test_figure_shows_the_outcomes(surface):
    result = outcomes(**surface)
    plane, errors, scores = static_figure(**surface).axes
    ends = {line.get_label().split(":")[0]: line.get_xydata().tolist() for line in plane.lines}
    assert all(ends[name] == [list(one.point)] for name, one in result.items())
    assert [bar.get_height() for bar in errors.patches] == [one.error for one in result.values()]
    filled = [bar.get_facecolor()[3] > 0 for bar in scores.patches]
    assert filled == [one.deleted == q for one in result.values() for q in (0, 1)]


NODE = """
import { readFileSync } from "node:fs";
import { ellipse, outcomes } from "./surgery.mjs";
console.log(JSON.stringify(JSON.parse(readFileSync(0)).map((values) => [outcomes(values), ellipse(values, 0.3)])));
"""


def test_javascript_computes_the_same(tmp_path):
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed: the browser test compares the texts only")
    (tmp_path / "surgery.mjs").write_text(bundle("surgery.js"), encoding="utf-8")
    (tmp_path / "compare.mjs").write_text(NODE, encoding="utf-8")
    command, given = [node, "compare.mjs"], json.dumps(surfaces())
    answered = subprocess.run(
        command, input=given, cwd=tmp_path, capture_output=True, text=True, check=True, timeout=60
    )
    answers = json.loads(answered.stdout)
    for surface, (found, line) in zip(surfaces(), answers, strict=True):
        for name, one in surgery.outcomes(**surface).items():
            assert found[name]["deleted"] == one.deleted, surface
            for key in ("scores", "point", "error"):
                assert found[name][key] == pytest.approx(getattr(one, key), abs=1e-12), surface
        expected = ellipse(**surface, error=0.3)
        torch.testing.assert_close(torch.tensor(line, dtype=torch.float64), expected, rtol=0, atol=1e-10)
