"""A row's swaps on the page: the same numbers as the library's, the best of all masks, and what is refused."""

import itertools

import pytest
import torch
from node import computed
from torch import Tensor

from pruning_lib.after_training import reconstruction, swaps
from pruning_lib.teaching.widgets.swap_row import SwapRow


def problem(seed: int, columns: int = 12) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """A row, an H of inputs that share causes, and two masks with half of the weights."""
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.eye(columns, dtype=torch.float64)
    mixing += 0.4 * torch.randn(columns, columns, generator=generator, dtype=torch.float64)
    X = mixing @ torch.randn(columns, 60, generator=generator, dtype=torch.float64)
    w = torch.randn(columns, generator=generator, dtype=torch.float64)
    lot = torch.rand(columns, generator=generator)
    return w, 2 * X @ X.T / 60, {name: half(scores) for name, scores in {"largest": w.abs(), "lot": lot}.items()}


def half(scores: Tensor) -> Tensor:
    kept = scores.topk(len(scores) // 2).indices
    return torch.zeros(len(scores), dtype=torch.bool).index_fill(0, kept, True)


def least(w: Tensor, H: Tensor, keep: Tensor) -> float:
    change = w - reconstruction.refit(w[None], H, keep[None], tolerance=0)[0]
    return (change @ H @ change).item()


def given(w: Tensor, H: Tensor, keep: Tensor) -> list:
    return [w.tolist(), H.tolist(), keep.tolist()]


def on_page(tmp_path, names: str, expression: str, problems: list) -> list:
    return computed(tmp_path, "swap_row", names, f"given.map((one) => {expression})", problems)


@pytest.mark.parametrize("columns", [5, 8, 12])
def test_javascript_knows_what_each_removal_addition_and_exchange_does(tmp_path, columns):
    rows = [(w, H, keep) for w, H, starts in [problem(seed, columns) for seed in range(4)] for keep in starts.values()]
    pages = on_page(tmp_path, "refit", "refit(...one)", [given(*row) for row in rows])
    for (w, H, keep), page in zip(rows, pages, strict=True):
        fitted = reconstruction.refit(w[None], H, keep[None], tolerance=0)[0]
        before, one = least(w, H, keep), torch.eye(columns, dtype=torch.bool)
        assert page["v"] == pytest.approx(fitted[keep].tolist(), rel=1e-7)
        assert page["error"] == pytest.approx(before, rel=1e-8)
        assert page["M"] == keep.nonzero().flatten().tolist() and page["P"] == (~keep).nonzero().flatten().tolist()
        assert page["costs"] == pytest.approx([least(w, H, keep ^ one[q]) - before for q in page["M"]], rel=1e-6)
        assert page["gains"] == pytest.approx([before - least(w, H, keep ^ one[p]) for p in page["P"]], rel=1e-6)
        for q, found in zip(page["M"], page["swaps"], strict=True):
            assert found == pytest.approx([before - least(w, H, keep ^ one[q] ^ one[p]) for p in page["P"]], abs=1e-8)


def test_javascript_climbs_to_the_mask_that_the_library_finds(tmp_path):
    rows = [(w, H, keep) for w, H, starts in map(problem, range(12)) for keep in starts.values()]
    expression = "[climb(...one), refit(one[0], one[1], swapped(one[2], climb(...one))).error]"
    pages = on_page(tmp_path, "climb, refit, swapped", expression, [given(*row) for row in rows])
    for (w, H, keep), (made, error) in zip(rows, pages, strict=True):
        found = swaps.search(w[None], H, keep[None])
        assert len(made) == found.swaps.item()
        for q, p in made:
            assert keep[q] and not keep[p]
            keep = keep.index_fill(0, torch.tensor(q), False).index_fill(0, torch.tensor(p), True)
        assert torch.equal(keep, found.keep[0])
        assert error / (w @ H @ w).item() == pytest.approx(found.after.item(), rel=1e-8)
    assert len({len(made) for made, _ in pages}) > 3


def test_javascript_finds_the_best_of_all_masks(tmp_path):
    rows = [problem(seed, columns) for seed in range(2) for columns in (6, 9)]
    counts = [2, 5, 3, 4]
    problems = [[w.tolist(), H.tolist(), count] for (w, H, _), count in zip(rows, counts, strict=True)]
    pages = on_page(tmp_path, "bestOfAll", "bestOfAll(...one)", problems)
    for (w, H, _), count, page in zip(rows, counts, pages, strict=True):
        masks = [
            torch.tensor([j in kept for j in range(len(w))]) for kept in itertools.combinations(range(len(w)), count)
        ]
        assert page["tried"] == len(masks)
        assert page["error"] == pytest.approx(min(least(w, H, keep) for keep in masks), rel=1e-8)


def test_state_is_what_was_given_and_can_be_set():
    w, H, starts = problem(1)
    q, p = starts["lot"].nonzero()[0].item(), (~starts["lot"]).nonzero()[0].item()
    widget = SwapRow(w, H, starts, start="lot", swaps=[[q, p]], out=3, back=11)
    assert (widget.start, widget.swaps, widget.out, widget.back) == ("lot", [[q, p]], 3, 11)
    assert widget.row == {
        "weight": w.tolist(),
        "hessian": H.tolist(),
        "starts": {k: v.tolist() for k, v in starts.items()},
    }
    widget.swaps = [[q, p], [p, q]]
    widget.start = "largest"
    assert widget.swaps == []


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("start", "best", "start is 'best', must be one of"),
        ("out", 12, "out is 12, must be from 0 to 11"),
        ("back", -1, "back is -1, must be from 0 to 11"),
        ("swaps", [[0]], r"swaps has \[0\], must be the places"),
        ("swaps", [[0, 12]], r"swaps has \[0, 12\], must be"),
        ("swaps", [[0, 0]], r"swaps has \[0, 0\], must be"),
        ("swaps", [[0, 6], [0, 7]], r"swaps has \[0, 7\], must be"),
    ],
)
def test_bad_values_are_refused_at_the_start_and_later(name, value, message):
    w, H, _ = problem(0)
    starts = {"first six": torch.arange(12) < 6}
    with pytest.raises(ValueError, match=message):
        SwapRow(w, H, starts, **{name: value})
    widget = SwapRow(w, H, starts)
    with pytest.raises(ValueError, match=message):
        setattr(widget, name, value)
    assert (widget.start, widget.swaps, widget.out, widget.back) == ("first six", [], 0, 0)


def test_rows_that_do_not_fit_are_refused():
    w, H, starts = problem(0)
    with pytest.raises(ValueError, match=r"weight has shape \(13,\), must be a finite row of 4 to 12"):
        SwapRow(*problem(0, 13))
    with pytest.raises(ValueError, match="must be a finite row"):
        SwapRow(w * float("inf"), H, starts)
    with pytest.raises(ValueError, match=r"hessian has shape \(12, 11\), must be \(12, 12\)"):
        SwapRow(w, H[:, 1:], starts)
    for wrong in (torch.ones(12, 12), H + torch.eye(12).roll(1, 0)):
        with pytest.raises(ValueError, match="hessian is not symmetric and positive definite"):
            SwapRow(w, wrong.double(), starts)
    with pytest.raises(ValueError, match=r"starts keep \[3, 6\] weights"):
        SwapRow(w, H, starts | {"few": torch.arange(12) < 3})
    with pytest.raises(ValueError, match=r"starts keep \[12\] weights"):
        SwapRow(w, H, {"all": torch.ones(12, dtype=torch.bool)})
    with pytest.raises(ValueError, match="start 'scores' is torch.float64"):
        SwapRow(w, H, {"scores": w})
    with pytest.raises(ValueError, match=r"starts keep \[\] weights"):
        SwapRow(w, H, {})
