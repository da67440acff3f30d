"""One page to print: what to do when, with the measured differences of the recorded comparison."""

import textwrap

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pruning_lib.comparison.advice import Advice, advise
from pruning_lib.comparison.evidence import described
from pruning_lib.comparison.statistics import Difference, Runs
from pruning_lib.reproduction import measured
from pruning_lib.teaching.figures import style
from pruning_lib.teaching.palette import KEPT, MUTED

_LOW, _HIGH = -2.0, 6.0  # points that the axis shows
_LINE = 0.165  # inches of a line of text
_LEFT, _SPAN = 0.51, 0.46  # where the intervals begin and how wide they are, in shares of the page


@style.in_style
def decision_card() -> Figure:
    """Rows of advice: situation, action, and what would change it; beside them each measured difference (CMP-2)."""
    record, timed, language = (
        measured.read_record(f"{name}.json") for name in ("07_comparison", "07_latency", "05_language")
    )
    runs = [run for run in record["runs"] if "failed" not in run]
    advice = list(advise(timed, language))
    words = [_words(each) for each in advice]
    heights = [max(len(lines), 2 * len(each.contrasts)) + 1.3 for each, lines in zip(advice, words, strict=True)]
    head, foot = 5.1, 4.4  # lines
    figure = style.new_figure(style.WIDTH, (head + sum(heights) + foot) * _LINE)
    figure.set_layout_engine("none")
    ax = figure.add_axes((0, 0, 1, 1))
    ax.set(xlim=(0, 1), ylim=(head + sum(heights) + foot, 0))
    ax.axis("off")
    ax.text(0, 0.9, "Which pruning for me?", va="center", fontsize=style.TITLE + 5, fontweight="bold")
    for index, line in enumerate(textwrap.wrap(described(record), 57)):
        ax.text(0, 2.4 + index, line, va="center", fontsize=style.SMALL)
    ax.text(_LEFT, 3.4, "points of accuracy, 95 % interval", va="center", fontsize=style.SMALL)
    top = head
    for each, lines, height in zip(advice, words, heights, strict=True):
        ax.plot([0, 1], [top - 0.9] * 2, color=MUTED, linewidth=0.6)
        _draw(ax, each, lines, top, runs)
        top += height
    _draw_axis(ax, top - 0.3)
    note = (
        "Filled: the interval leaves zero out, if you look at nothing else. Empty: undecided. Every method had the "
        "same epochs. One small network, three seeds: other models and longer training may rank them otherwise. "
        "Notebook 07 has the controls."
    )
    ax.text(0, top + 1.2, textwrap.fill(note, 118), va="top", fontsize=style.SMALL, linespacing=1.25)
    return figure


def _words(advice: Advice) -> list[tuple[str, dict]]:
    """Lines of text with how they are set."""
    parts = (
        (advice.when, {"fontsize": style.SMALL}),
        (advice.do, {"fontweight": "bold"}),
        (advice.also and f"{advice.also}.", {"fontsize": style.SMALL}),
        (f"Would change it: {advice.changed_by}.", {"fontsize": style.SMALL, "fontstyle": "italic"}),
    )
    return [(line, look) for text, look in parts for line in textwrap.wrap(text, 47 if "fontweight" in look else 57)]


def _draw(ax: Axes, advice: Advice, lines: list[tuple[str, dict]], top: float, runs: Runs) -> None:
    for index, (line, look) in enumerate(lines):
        ax.text(0, top + index, line, va="center", **look)
    for index, contrast in enumerate(advice.contrasts):
        y = top + 2 * index
        ax.plot([_place(0)] * 2, [y + 0.6, y + 1.4], color=MUTED, linewidth=1)
        ax.text(_LEFT, y, contrast.label, va="center", fontsize=style.SMALL)
        _draw_interval(ax, contrast.difference(runs), y + 1)


def _draw_interval(ax: Axes, found: Difference, y: float) -> None:
    if found.low > _HIGH:
        ax.text(_place(_HIGH), y, f"{found.mean:+.0f} points →", va="center", ha="right", fontsize=style.SMALL)
        return
    low, high = (_place(min(max(end, _LOW), _HIGH)) for end in (found.low, found.high))
    ax.plot([low, high], [y, y], color=style.INK, linewidth=1.4)
    face = style.PAPER if found.verdict == "open" else KEPT
    ax.plot(_place(found.mean), y, "o", color=KEPT, markerfacecolor=face, markersize=6.5, markeredgewidth=1.5)


def _draw_axis(ax: Axes, y: float) -> None:
    for value in range(int(_LOW), int(_HIGH) + 1, 2):
        text = f"{value:+d}" if value else "0"
        ax.text(_place(value), y, text, ha="center", va="center", fontsize=style.SMALL)


def _place(points: float) -> float:
    return _LEFT + 0.02 + _SPAN * (points - _LOW) / (_HIGH - _LOW)
