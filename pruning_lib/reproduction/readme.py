"""README's table of results, written from the files that its own comment names."""

import re
from collections.abc import Sequence
from pathlib import Path

from pruning_lib.files import CHECKOUT, written_whole
from pruning_lib.reproduction.gather import read_records, rows_of
from pruning_lib.reproduction.table import render

BEGIN, END = "<!-- results: {} -->", "<!-- end of results -->"
PLACE = re.compile(r"<!-- results: ([^>]*?) -->\n.*?<!-- end of results -->", re.DOTALL)


def readme_table(records: Sequence[str | Path], base: str | Path = CHECKOUT) -> str:
    """Return the rows of `records` for which the paper gives a number, in Markdown, links relative to `base`."""
    rows = [row for row in rows_of(read_records(records)) if row.paper is not None]
    return render(rows, "markdown", base)


def renewed(path: Path) -> str:
    """Return what the README at `path` should say.

    Between ``<!-- results: FILE FILE -->`` and ``<!-- end of results -->``, the table of those files, whose paths are
    relative to the README; the rest as it is.

    Raises
    ------
    ValueError
        If there are no such comments or more than one pair, or a file holds no results.
    """
    text = path.read_text(encoding="utf-8")
    places = PLACE.findall(text)
    if len(places) != 1:
        wanted = f"{BEGIN.format('FILE.json FILE.json')} and {END}"
        raise ValueError(f"{path} has {len(places)} places for the results, must have one: {wanted}")
    files = places[0].split()
    table = readme_table([path.parent / name for name in files], path.parent)
    block = f"{BEGIN.format(' '.join(files))}\n{table}{END}"
    return PLACE.sub(lambda _: block, text)


def renew(path: Path) -> None:
    """Write the table of results into the README at `path`."""
    text = renewed(path)
    with written_whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
