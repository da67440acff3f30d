"""The page of results, docs/results.md: a table per notebook, its settings said once, a verdict in words."""

import re
from collections.abc import Sequence
from pathlib import Path
from string import ascii_uppercase

from pruning_lib.files import CHECKOUT, written_whole
from pruning_lib.reproduction.gather import Row, read_records, rows_of
from pruning_lib.reproduction.table import links, marked, origins, rounded, told

PAGE = CHECKOUT / "docs" / "results.md"
PLACE = re.compile(r"(<!-- results: ([^>]*?) -->\n).*?(<!-- end of results -->)", re.DOTALL)
_COUNTS = ("none", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
UNTRAINED = 50  # % of test error: of ten classes a guess misses 90


def renew(path: Path) -> None:
    """Write the tables into the page at `path`."""
    text = renewed(path)
    with written_whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def renewed(path: Path) -> str:
    """Return what the page at `path` should say.

    Between ``<!-- results: FILE FILE -->`` and ``<!-- end of results -->``, the tables of those files, whose paths are
    relative to the page; the rest as it is.

    Raises
    ------
    ValueError
        If there are no such comments or more than one pair, or a file holds no results.
    """
    text = path.read_text(encoding="utf-8")
    places = PLACE.findall(text)
    if len(places) != 1:
        wanted = "<!-- results: FILE.json FILE.json --> and <!-- end of results -->"
        raise ValueError(f"{path} has {len(places)} places for the results, must have one: {wanted}")
    made = tables([path.parent / name for name in places[0][1].split()], path.parent)
    return PLACE.sub(lambda found: f"{found[1]}\n{made}\n{found[3]}", text)


def tables(files: Sequence[str | Path], base: Path) -> str:
    """Return the tables of the quantities in `files` that the paper gives a number for, links relative to `base`."""
    rows = [row for row in rows_of(read_records(files)) if row.paper is not None]
    notebooks: dict[str, list[Row]] = {}
    for row in rows:
        notebooks.setdefault(row.notebook, []).append(row)
    return "\n".join(_section(notebook, of, base) for notebook, of in notebooks.items())


def verdict(row: Row) -> str:
    """What became of the paper's number, in words; none where a run of it, or of what it is compared with, failed."""
    off = f"{_signed(row.mean - row.paper)} off, {row.tolerance} allowed" if row.tolerance is not None else ""
    words = {
        "reproduced": f"**reproduced**: {off}",
        "not reached": f"**not reached**: {off}",
        "different setting": "another setting: not compared",
        "not claimed": "no claim",
        "incomplete": f"incomplete: {len(row.records)} of {row.planned} runs",
    }
    if row.verdict == "value only":
        than = f"{_signed(row.difference)} to *{marked(row.against)}*, in the paper {_signed(row.paper_difference)}"
        words["value only"] = f"**value matched, conclusion not**: {off}, but {than}"
    for quantity, values in ((row.quantity, row.values), (row.against, _values(row, row.against))):
        if failed := _failed(quantity, values):
            runs = "dense runs" if quantity.endswith("dense") else "runs"
            sound = ", ".join(rounded(value) for value in values if value not in failed)
            why = f"{_COUNTS[len(failed)]} of {_COUNTS[len(values)]} {runs} did not train"
            return f"**no verdict**: {why} ({', '.join(map(rounded, failed))} %); the sound ones: {sound} %"
    text = words[row.verdict] + ("; tolerance set after the runs" if row.late and off else "")
    if row.sd is not None and row.sd > abs(row.mean):
        text += f"; the mean says little: {', '.join(map(rounded, row.values))}"
    return text


def _values(row: Row, quantity: str) -> list[float]:
    """Of another quantity, in the runs of `row`."""
    entries = [entry for record in row.records for entry in record.results["headline"] if entry["name"] == quantity]
    return [value for entry in entries for value in entry.get("values") or [entry["value"]]]


def _failed(quantity: str, values: Sequence[float]) -> list[float]:
    """Test errors of runs that did not train: a mean over them says nothing of the method."""
    return [value for value in values if quantity.startswith("test error") and value > UNTRAINED]


def _ours(row: Row) -> str:
    """Mean and spread, or each run where one failed."""
    unit = f" {row.unit}" if row.unit else ""
    if _failed(row.quantity, row.values):
        return ", ".join(map(rounded, row.values)) + unit
    return rounded(row.mean) + (f" ± {row.sd:.2g}" if row.sd is not None else "") + unit


def _signed(value: float) -> str:
    return f"{value:+.2g}".replace("-", "−")


def _section(notebook: str, rows: list[Row], base: Path) -> str:
    """Heading, settings and table of one notebook."""
    settings: dict[tuple, list[Row]] = {}
    for row in rows:
        settings.setdefault((row.note, str(row.parameters), row.device), []).append(row)
    groups = list(settings.values())
    common = [part for part in _said(groups[0][0], groups) if all(part in _said(of[0], groups) for of in groups)]
    lines, cells = [], {}
    for letter, of in zip(ascii_uppercase[: len(groups)], groups, strict=True):
        parts = [part for part in _said(of[0], groups) if part not in common]
        parts += dict.fromkeys(f"unlike the paper: {row.differs}" for row in of if row.differs)
        runs = ", ".join(f"[{label}]({at})" for label, at in links(of[0], base))
        lines.append(f"- **{letter}**: {marked(', '.join(parts))} ({runs})")
        for row in of:
            unit = f" {row.unit}" if row.unit else ""
            cell = (marked(row.quantity), f"{rounded(row.paper)}{unit}", _ours(row))
            cells.setdefault((*cell, str(len(row.values)), verdict(row)), []).append(letter)
    table = [f"| {', '.join(letters)} | {' | '.join(cell)} |" for cell, letters in cells.items()]
    head = ["| setting | quantity | paper | ours | n | verdict |", "|---|---|---:|---:|---:|---|"]
    about = [f"All: {marked(', '.join(common))}.", ""] if common else []
    made = marked(origins(rows)[0].removeprefix(f"{notebook}: "))
    title = f"## [{marked(notebook)}](../notebooks/{notebook}.ipynb)"
    return "\n".join([title, "", *about, *lines, "", *head, *table, "", f"Made in {made}.", ""])


def _said(row: Row, groups: Sequence[Sequence[Row]]) -> list[str]:
    """What is said of the setting of `row`, part by part: its note, then how it differs from the other groups."""
    varies = {
        name: value
        for name, value in row.parameters.items()
        if any(of[0].parameters.get(name, value) != value for of in groups) and not told(row.note, name, value)
        if not isinstance(value, list)  # what was measured, and how often: the quantities say it
    }
    devices = {of[0].device for of in groups}
    parts = [*row.note.split(", "), *(f"{name} {value}" for name, value in varies.items())]
    return parts + ([f"on {row.device}"] if len(devices) > 1 else [])
