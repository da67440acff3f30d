"""The paper's numbers beside ours, with a verdict: Markdown, HTML or CSV."""

import html
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pruning_lib.reproduction.gather import Row

HEAD = ("notebook", "quantity", "setting", "paper", "ours", "n", "verdict", "runs")
_ALIGNED = "|---|---|---|---:|---:|---:|---|---|"
_COLUMNS = (*HEAD[:4], "mean", "sd", "n", "made", "planned", "unit", "tolerance", "late", "verdict", "runs")
RULE = (
    "Ours: mean ± sample standard deviation over n runs on one device with the same parameters but for the seed (1 of "
    "3: two more are planned), whose commits and versions are listed below, or over the seeds that one run tells "
    "apart; a single value has no ±, even if it is an average over seeds. Verdict, where the paper gives a number: "
    "reproduced: in the paper's setting, and our mean is no further from its number than the tolerance set for that "
    "quantity; not reached: in the paper's setting, but further, on either side; value only: our mean is that near, "
    "but the paper's claim is a difference to another of its numbers, and ours is not as near to that; incomplete: in "
    "the paper's setting, but runs are missing; not claimed: in the paper's setting, but no tolerance was set for this"
    " quantity; different setting: nobody claims that ours is the paper's, so the two numbers are not compared. Set "
    "after the runs: what is expected was changed when runs were complete. What differs although the setting counts as"
    " the paper's is said under setting."
)
_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>The papers' numbers beside ours</title><style>
:root {{ color-scheme: light dark; font-family: sans-serif }}
table {{ border-collapse: collapse }}
th, td {{ border-bottom: 1px solid; padding: .3em .6em; text-align: left }}
td:nth-child(n+4):nth-child(-n+6) {{ text-align: right }}
</style></head>
<body>
{table}
<p>{rule}</p>
<ul>{lines}</ul>
</body></html>
"""


def render(rows: Sequence[Row], form: str = "markdown", base: str | Path = ".") -> str:
    """Return the table in the format markdown, html or csv, its links relative to the folder `base`.

    Below it stand the rule and what the numbers were made with. In CSV there is the table only, for programs: numbers
    unrounded, what is not given empty, links parted by spaces.
    """
    import pandas as pd

    if form == "csv":
        numbers = [_numbers(row, rows, base) for row in rows]
        return pd.DataFrame(numbers, columns=_COLUMNS, dtype=object).to_csv(index=False)
    show, link = (marked, "[{}]({})") if form == "markdown" else (html.escape, '<a href="{1}">{0}</a>')
    texts = [
        [*map(show, cells(row, rows)), ", ".join(link.format(show(label), at) for label, at in links(row, base))]
        for row in rows
    ]
    frame, below = pd.DataFrame(texts, columns=HEAD, dtype=object), origins(rows)
    if missing := dict.fromkeys(name for row in rows for record in row.records for name in record.missing):
        below.append(f"missing runs: {', '.join(missing)}")
    lines = [show(line) for line in below]
    if form == "markdown":
        head, _, *body = frame.to_markdown(index=False, stralign=None, disable_numparse=True).split("\n")
        return "\n".join([head, _ALIGNED, *body, "", RULE, "", *(f"- {line}" for line in lines)]) + "\n"
    with pd.option_context("display.max_colwidth", None):
        table = frame.to_html(index=False, escape=False, border=0, formatters=[str] * len(HEAD))
    table = table.replace("<th>", '<th scope="col">')  # no cell has one: their texts are escaped
    return _PAGE.format(table=table, rule=html.escape(RULE), lines="".join(f"<li>{line}</li>" for line in lines))


def cells(row: Row, rows: Sequence[Row]) -> list[str]:
    """Return what a reader sees of `row`, but for the links."""
    unit = "" if row.unit in ("%", "") else f" {row.unit}"
    percent = " %" if row.unit == "%" else unit
    ours = rounded(row.mean) + (f" ± {row.sd:.2g}" if row.sd is not None else "") + percent
    paper = rounded(row.paper) + percent if row.paper is not None else ""
    verdict = row.verdict
    if verdict and row.tolerance is not None:
        late = ", set after the runs" if row.late else ""
        verdict += f" ({'within' if verdict == 'reproduced' else 'tolerance'} {row.tolerance:g}{late})"
        if row.against:
            verdict += f"; difference to {row.against} {row.difference:+.2f}, paper {row.paper_difference:+.2g}"
    n = str(len(row.values)) if row.complete else f"{len(row.records)} of {row.planned}"
    return [row.notebook, row.quantity, _setting(row, rows), paper, ours, n, verdict]


def rounded(value: float | None) -> str:
    """Return `value` with four digits, large ones with eight; nothing for None."""
    return "" if value is None else f"{value:.{4 if abs(value) < 1e4 else 8}g}"


def _setting(row: Row, rows: Sequence[Row]) -> str:
    """Return the note, what it leaves out of how `row` differs from its like, and how from the paper's."""
    same = [other for other in rows if (other.notebook, other.quantity) == (row.notebook, row.quantity)]
    absent = object()  # of older records, which lack a parameter, nobody knows its value
    varied = [
        f"{name} {value}"
        for name, value in row.parameters.items()
        if any(other.parameters.get(name, absent) != value for other in same) and not told(row.note, name, value)
    ]
    varied += [f"on {row.device}"] if any(other.device != row.device for other in same) else []
    differs = [f"unlike the paper: {row.differs}"] if row.differs else []
    return "; ".join(filter(None, [row.note, ", ".join(varied), *differs]))


def told(note: str, name: str, value: object) -> bool:
    """Whether a part of `note`, between commas, is the value, or value and name, or says by how much at most."""
    name, value = re.escape(name), re.escape(str(value))
    said = re.compile(rf"{value}|{value} {name}|{name} {value}|(.* )?{name}\w* by (up to )?{value} \w+")
    return any(said.fullmatch(part) for part in note.split(", "))


def links(row: Row, base: str | Path) -> list[tuple[str, str]]:
    """Return label and relative address of each run of `row`, one for a file that holds several."""
    found: dict[Path, str] = {}
    for record in row.records:
        label = "run" if record.seed is None else f"seed {record.seed}"
        found[record.link] = "runs" if record.link in found else label
    return [(label, quote(Path(os.path.relpath(link, base)).as_posix())) for link, label in found.items()]


def marked(text: str) -> str:
    """Return `text` as Markdown shows it letter by letter within a table."""
    text = html.escape(" ".join(text.split()), quote=False)
    return "".join(f"\\{letter}" if letter in "\\`*_[]|" else letter for letter in text)


def _numbers(row: Row, rows: Sequence[Row], base: str | Path) -> list[Any]:
    """Return the cells of `row` as programs want them."""
    late = row.late if row.tolerance is not None else None
    counts = [len(row.values), len(row.records), row.planned]  # n: of values, then of runs
    numbers = [row.paper, row.mean, row.sd, *counts, row.unit, row.tolerance, late]
    addresses = " ".join(address for _, address in links(row, base))
    return [row.notebook, row.quantity, _setting(row, rows), *numbers, row.verdict, addresses]


def origins(rows: Sequence[Row]) -> list[str]:
    """Return a line per notebook: how many runs, how long, where and with what they were made."""
    runs: dict[str, dict[int, dict]] = {}
    for row in rows:
        runs.setdefault(row.notebook, {}).update({id(record): record.results for record in row.records})
    return [_origin(notebook, list(of.values())) for notebook, of in runs.items()]


def _origin(notebook: str, runs: list[dict]) -> str:
    """Return the line of one notebook."""

    def among(texts: Iterable[str]) -> str:
        return " and ".join(dict.fromkeys(texts))

    seconds = sum(run["seconds"] or 0 for run in runs)
    time = f"{seconds / 3600:.1f} h" if seconds >= 3600 else f"{seconds / 60:.1f} min"
    device = among(f"{run['device']}, {run['threads']} thread{'s' if run['threads'] > 1 else ''}" for run in runs)
    versions = among(f"Python {run['versions']['python']}, torch {run['versions']['torch']}" for run in runs)
    commit = among((run["commit"] or "none")[:7] + " and uncommitted changes" * bool(run["dirty"]) for run in runs)
    count = f"{len(runs)} run{'s' if len(runs) > 1 else ''}"
    return f"{notebook}: {count}, {time} in all; on {device}; {versions}; commit {commit}"
