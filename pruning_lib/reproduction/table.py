"""The paper's numbers beside ours, with a verdict: Markdown, HTML or CSV."""

import csv
import html
import io
import os
import re
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from pruning_lib.reproduction.gather import Record, Row

FORMATS = ("markdown", "html", "csv")
HEAD = ("notebook", "quantity", "setting", "paper", "ours", "n", "verdict", "runs")
COLUMNS = (*HEAD[:4], "mean", "sd", "n", "planned", "unit", "tolerance", "late", "verdict", "runs")
RULE = (
    "Ours: mean ± sample standard deviation over n runs on one device with the same parameters but for the seed (1 of "
    "3: two more are planned), whose commits and versions are listed below; a single run has no ±, even if it averages "
    "over seeds itself. Verdict, where the paper gives a number: reproduced: in the paper's setting, and our mean is "
    "no further from its number than the tolerance set for that quantity; not reached: in the paper's setting, but "
    "further, on either side; incomplete: in the paper's setting, but runs are missing; not claimed: in the paper's "
    "setting, but no tolerance was set for this quantity; different setting: nobody claims that ours is the paper's, "
    "so the two numbers are not compared. Set after the runs: what is expected was changed when runs were complete. "
    "What differs although the setting counts as the paper's is said under setting."
)
STYLE = """
:root { color-scheme: light dark; font-family: sans-serif }
table { border-collapse: collapse }
th, td { border-bottom: 1px solid; padding: .3em .6em; text-align: left }
td:nth-child(n+4):nth-child(-n+6) { text-align: right }
"""


def render(rows: Sequence[Row], form: str = "markdown", base: str | Path = ".") -> str:
    """Return the table in one of `FORMATS`, its links relative to the folder `base`."""
    return {"markdown": markdown, "html": page, "csv": comma_separated}[form](rows, Path(base))


def cells(row: Row, rows: Sequence[Row]) -> list[str]:
    """Return what a reader sees of `row`, but for the links."""
    unit = "" if row.unit in ("%", "") else f" {row.unit}"
    percent = " %" if row.unit == "%" else unit
    ours = number(row.mean) + (f" ± {row.sd:.2g}" if row.sd is not None else "") + percent
    paper = "" if row.paper is None else number(row.paper) + percent
    verdict = row.verdict
    if verdict and row.tolerance is not None:
        late = ", set after the runs" if row.late else ""
        verdict += f" ({'within' if verdict == 'reproduced' else 'tolerance'} {row.tolerance:g}{late})"
    n = f"{len(row.values)}" + (f" of {row.planned}" if len(row.values) < row.planned else "")
    return [row.notebook, row.quantity, setting(row, rows), paper, ours, n, verdict]


def number(value: float) -> str:
    """Return `value` with four digits, large ones with eight."""
    return f"{value:.{4 if abs(value) < 1e4 else 8}g}"


def setting(row: Row, rows: Sequence[Row]) -> str:
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


def links(row: Row, base: Path) -> list[tuple[str, str]]:
    """Return label and relative address of each run of `row`, one for a file that holds several."""
    found: dict[Path, str] = {}
    for record in row.records:
        found[record.link] = record.label if record.link not in found else "runs"
    return [(label, quote(Path(os.path.relpath(link, base)).as_posix())) for link, label in found.items()]


def markdown(rows: Sequence[Row], base: Path) -> str:
    """Return a Markdown table with the rule and the origin of the numbers below."""
    lines = ["| " + " | ".join(HEAD) + " |", "|---|---|---|---:|---:|---:|---|---|"]
    for row in rows:
        texts = [plain(text) for text in cells(row, rows)]
        texts.append(", ".join(f"[{plain(label)}]({address})" for label, address in links(row, base)))
        lines.append("| " + " | ".join(texts) + " |")
    return "\n".join([*lines, "", RULE, "", *(f"- {plain(line)}" for line in below(rows))]) + "\n"


def plain(text: str) -> str:
    """Return `text` as Markdown shows it letter by letter within a table."""
    text = html.escape(" ".join(text.split()), quote=False)
    return "".join(f"\\{letter}" if letter in "\\`*_[]|" else letter for letter in text)


def page(rows: Sequence[Row], base: Path) -> str:
    """Return a web page of its own with the table."""
    body = []
    for row in rows:
        texts = [html.escape(text) for text in cells(row, rows)]
        pairs = ((html.escape(label), html.escape(address)) for label, address in links(row, base))
        texts.append(", ".join(f'<a href="{address}">{label}</a>' for label, address in pairs))
        body.append("<tr>" + "".join(f"<td>{text}</td>" for text in texts) + "</tr>")
    head = "".join(f'<th scope="col">{name}</th>' for name in HEAD)
    lines = "".join(f"<li>{html.escape(line)}</li>" for line in below(rows))
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>The papers' numbers beside ours</title><style>{STYLE}</style></head>
<body>
<table><thead><tr>{head}</tr></thead>
<tbody>
{chr(10).join(body)}
</tbody></table>
<p>{html.escape(RULE)}</p>
<ul>{lines}</ul>
</body></html>
"""


def comma_separated(rows: Sequence[Row], base: Path) -> str:
    """Return the table for programs: numbers unrounded, what is not given empty, links parted by spaces."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in rows:
        addresses = " ".join(address for _, address in links(row, base))
        numbers = [row.paper, row.mean, row.sd, len(row.values), row.planned, row.unit, row.tolerance]
        numbers.append(row.late if row.tolerance is not None else None)
        writer.writerow([row.notebook, row.quantity, setting(row, rows), *numbers, row.verdict, addresses])
    return text.getvalue()


def below(rows: Sequence[Row]) -> list[str]:
    """Return the lines below the table: `origins`, and the runs of its sweeps that are missing."""
    missing = dict.fromkeys(name for row in rows for record in row.records for name in record.missing)
    return origins(rows) + ([f"missing runs: {', '.join(missing)}"] if missing else [])


def origins(rows: Sequence[Row]) -> list[str]:
    """Return a line per notebook: how many runs, how long, where and with what they were made."""
    records: dict[str, dict[int, Record]] = {}
    for row in rows:
        records.setdefault(row.notebook, {}).update({id(record): record for record in row.records})
    return [origin(notebook, [record.results for record in of.values()]) for notebook, of in records.items()]


def origin(notebook: str, runs: list[dict]) -> str:
    """Return the line of one notebook."""
    seconds = sum(run["seconds"] or 0 for run in runs)
    time = f"{seconds / 3600:.1f} h" if seconds >= 3600 else f"{seconds / 60:.1f} min"
    devices = [f"{run['device']}, {run['threads']} thread{'s' if run['threads'] > 1 else ''}" for run in runs]
    commits = [f"{(run['commit'] or 'none')[:7]}{' and uncommitted changes' if run['dirty'] else ''}" for run in runs]
    versions = [f"Python {run['versions']['python']}, torch {run['versions']['torch']}" for run in runs]
    made = "; ".join(("on " + among(devices), among(versions), "commit " + among(commits)))
    return f"{notebook}: {len(runs)} run{'s' if len(runs) > 1 else ''}, {time} in all; {made}"


def among(texts: Sequence[str]) -> str:
    """Return the different ones of `texts`."""
    return " and ".join(dict.fromkeys(texts))
