"""Picture of our own SNIP runs on real data, with the paper's values (Lee et al. 2019) beside them."""

import re
import statistics
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.lines import Line2D

from pruning_lib.files import CHECKOUT
from pruning_lib.reproduction import gather
from pruning_lib.teaching.figures import style
from pruning_lib.teaching.palette import ACCENT, GOOD, KEPT, MUTED, SERIES

MEASURED = CHECKOUT / "figures" / "measured"
RECORDS = (  # those that are there are drawn, one below the other
    "02_snip.lecture.json",
    "02_snip_mnist_unshifted.json",
    "02_snip_mnist.json",
    "02_snip_mnist_lenet5.json",
    "02_snip_mnist_scoring.json",
)
_NETS = {"lenet_300_100": "LeNet-300-100", "lenet5": "LeNet-5"}
_OURS = {  # color, marker
    "SNIP": (KEPT, "o"),
    "magnitude": (GOOD, "^"),
    "random": (SERIES[3], "s"),
    "dense": (MUTED, "X"),
}
_PAPER = {"marker": "D", "markerfacecolor": "white", "markeredgecolor": ACCENT, "markeredgewidth": 1.7, "linestyle": ""}
_PERCENT = [0.5, 0.7, 1, 1.5, 2, 3, 5, 10, 20, 30, 50, 90]


@style.in_style
def snip_results(folder: Path = MEASURED) -> Figure:
    """Test errors of each recorded run or sweep of notebook 02, and what the number of samples scored does to them.

    Of a sweep the medians over its seeds, which a run that broke down does not move; a line goes from the lowest to the
    highest seed.

    Raises
    ------
    ValueError
        If `folder` has none of the `RECORDS`.
    """
    records = [middle_run(folder / name) for name in RECORDS if (folder / name).exists()]
    if not records:
        raise ValueError(f"folder is {folder}, must hold one of {', '.join(RECORDS)}: runs of notebook 02")
    figure = style.new_figure(style.WIDTH, 0.7 + 2.6 * len(records))
    parts = figure.subfigures(len(records), 1, squeeze=False)[:, 0]
    for part, record in zip(parts, records, strict=True):
        _draw_record(part, record)
    handles = [Line2D([], [], color=c, marker=m, linestyle="", label=f"{name}, ours") for name, (c, m) in _OURS.items()]
    handles.append(Line2D([], [], label="paper", **_PAPER))
    spacing = {"ncols": len(handles), "handletextpad": 0.2, "columnspacing": 1.4}
    figure.legend(handles=handles, loc="outside lower center", **spacing)
    return figure


def middle_run(path: Path) -> dict[str, Any]:
    """The recorded run in a file, or the medians of a sweep's runs, which differ in their seeds, with all values."""
    rows = gather.rows_of(gather.read_records([path]))
    runs = [record.results for record in rows[0].records]
    headline = [
        {"name": row.quantity, "value": statistics.median(row.values), "seeds": row.values, "paper": row.paper}
        for row in rows
    ]
    seeds = sum(len(run["parameters"]["seeds"]) for run in runs)
    return {"parameters": runs[0]["parameters"], "seeds": seeds, "date": runs[0]["date"], "headline": headline}


def _draw_record(part: SubFigure, record: dict[str, Any]) -> None:
    """On the left the test errors of one run, on the right what the size of the scoring batch does, if it was tried."""
    used, headline, seeds = record["parameters"], record["headline"], record["seeds"]
    shifted = ", images shifted" if used.get("shift") else ""
    over = f"{seeds} seeds: median, lowest to highest" if seeds > 1 else "1 seed"
    setting = f"ours: {used['epochs']} epochs, {over}{shifted}, run on {record['date'][:10]}"
    part.suptitle(
        f"SNIP on {used['data'].upper()}, {_NETS[used['model_name']]}, by our own runs\n"
        f"{setting}; paper: 250 epochs, 20 runs"
    )
    sizes = [(int(found[1]), entry) for entry in headline if (found := re.search(r"scored on (\d+)$", entry["name"]))]
    left, *right = part.subplots(1, 1 + bool(sizes), width_ratios=[1.7, 1][: 1 + bool(sizes)], squeeze=False)[0]
    draw_errors(left, headline)
    if sizes:
        draw_sizes(right[0], sorted(sizes, key=lambda pair: pair[0]))


def draw_errors(ax: Axes, headline: list[dict[str, Any]]) -> None:
    """One line for each sparsity, the dense net first."""
    rows = {"dense": []}
    for entry in headline:
        if found := re.fullmatch(r"test error, (\w+)(?: at (\S+) ?%)?", entry["name"]):
            method, sparsity = found.groups()
            rows.setdefault("dense" if sparsity is None else f"{sparsity} % gone", []).append((method, entry))
    shown = []
    for y, entries in enumerate(rows.values()):
        for method, entry in entries:
            color, marker = _OURS[method]
            ax.plot(entry["value"], y, marker, color=color, markersize=8, zorder=3)
            ax.hlines(y, min(entry["seeds"]), max(entry["seeds"]), color=color, linewidth=2)
            shown.append(entry["value"])
            if entry["paper"] is not None:
                ax.plot(entry["paper"], y, markersize=7, zorder=4, **_PAPER)
                shown.append(entry["paper"])
    ax.set_yticks(range(len(rows)), list(rows))
    ax.set_ylim(len(rows) - 0.5, -0.5)
    ax.grid(axis="y", color="#E3E6E9")
    ax.set_axisbelow(True)
    low, high = min(shown) / 1.2, max(shown) * 1.2
    ax.set(xscale="log", xlim=(low, high))
    ticks = [tick for tick in _PERCENT if low <= tick <= high]
    ax.set_xticks(ticks, map(str, ticks))  # plain numbers
    ax.minorticks_off()
    style.plain_axes(ax, "test error, % (log scale)", "")


def draw_sizes(ax: Axes, sizes: list[tuple[int, dict[str, Any]]]) -> None:
    """Test error at one sparsity over the number of training samples that were scored."""
    color, marker = _OURS["SNIP"]
    ax.plot(*zip(*[(n, entry["value"]) for n, entry in sizes], strict=True), "-" + marker, color=color, markersize=8)
    for n, entry in sizes:
        ax.vlines(n, min(entry["seeds"]), max(entry["seeds"]), color=color, linewidth=2)
    paper = [(n, entry["paper"]) for n, entry in sizes if entry["paper"] is not None]
    if paper:
        ax.plot(*zip(*paper, strict=True), markersize=7, zorder=4, **_PAPER)
    ax.set_xscale("log")
    ax.set_xticks([n for n, _ in sizes], [f"{n:,}" for n, _ in sizes])
    ax.set_xlim(sizes[0][0] / 2, sizes[-1][0] * 2)
    ax.minorticks_off()
    sparsity = re.search(r"at (\S+) ?%", sizes[0][1]["name"])[1]
    style.plain_axes(ax, "samples scored", f"test error, %\n({sparsity} % gone)")
