"""Under "The paper's numbers beside ours" every number is one of a committed JSON file: the paper's and ours alike."""

import html
import re
from decimal import Decimal

import nbformat
import pytest

from pruning_lib.files import CHECKOUT
from pruning_lib.reproduction import measured
from pruning_lib.reproduction.gather import is_results, is_sweep, read_records, rows_of
from pruning_lib.reproduction.results_page import UNTRAINED
from pruning_lib.reproduction.table import origins

HEADING = "The paper's numbers beside ours"
NOTEBOOKS = sorted((CHECKOUT / "notebooks").glob("*.ipynb"))
PATHS = [path for path in NOTEBOOKS if HEADING in path.read_text(encoding="utf-8")]
NOT_CHECKED = re.compile(
    r"\b[24]:[48]\b"  # the patterns 2:4 and 4:8
    r"|\bet al\. \d{4}"  # years of publications
    r"|\bnotebook \d\d\b"
    r"|(?<![\w.])[A-Za-z]+[-_]?\d[\w./-]*"  # names: OPT-2.7B, CIFAR-10, top-1, cu130
)
WHOLE = re.compile(r"\d+(?:[-.]\d+){2,}")  # dates and versions
NUMBER = re.compile(r"(?:(?<![\w.)])[-−])?\d[\d,]*(?:\.\d+)?(?:e[+-]?\d+)?(?P<percent>\s?%)?")
notebooks = pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)


def section(notebook):
    """The cells from the heading to the next of the same level."""
    found, level = [], 0
    for cell in notebook.cells:
        heading = re.match(r"(#+) (.+)", cell.source) if cell.cell_type == "markdown" else None
        if heading and level and len(heading[1]) <= level:
            break
        if heading and heading[2] == HEADING:
            level = len(heading[1])
        if level:
            found.append(cell)
    return found


def shown(cell):
    """Texts that a reader sees: of a table the HTML form, no pictures."""
    if cell.cell_type == "markdown":
        return [re.sub(r"`[^`]*`", " ", cell.source)]
    texts = []
    for output in cell.outputs:
        data = output.get("data", {})
        table = re.sub(r"<style.*?</style>", "", data.get("text/html", ""), flags=re.DOTALL)
        texts.append(output.get("text") or html.unescape(re.sub(r"<[^>]+>", " ", table)) or data.get("text/plain", ""))
    return texts


def numbers(text):
    """The numbers of a text as printed; dates and versions whole."""
    text = NOT_CHECKED.sub(" ", text)
    return WHOLE.findall(text), [match[0] for match in NUMBER.finditer(WHOLE.sub(" ", text))]


def sources_of(path, cells):
    """Committed values that the section may show: the papers' for it, the notebook's records, and what it names."""
    code = "\n".join(cell.source for cell in cells if cell.cell_type == "code")
    papers = {path.stem} | set(re.findall(r'paper_values\("(\w+)"\)', code))
    own = list(measured.FOLDER.glob(f"{path.stem}*.json"))
    names = {file.name for file in own} | set(re.findall(r"[\w.-]+\.json", code))
    rows = [row for row in rows_of(read_records([file for file in own if is_results(file)])) if row.paper is not None]
    # Of a sweep what its rows say, over the seeds, and the worst seed; not each number of each run. But where one run
    # broke down, means say nothing, and each seed counts.
    errors = [row for row in rows if row.quantity.startswith("test error")]
    broken = {row.note for row in errors if max(row.values) > UNTRAINED}
    means = [
        [row.mean, row.sd, max(row.values), len(row.values), row.difference, row.paper_difference, *origins(rows)]
        for row in rows
    ]
    means += [row.values for row in rows if row.note in broken]
    # And how far they are from the dense network of the same settings.
    dense = [row for row in rows if row.quantity.endswith("dense")]
    means.append([row.mean - one.mean for row in rows for one in dense if row.note == one.note and row is not one])
    contents = [
        content if not is_sweep(content) else content | {"runs": []} for content in map(measured.read_record, names)
    ]
    return [measured.paper_values(notebook) for notebook in papers] + contents + means


def committed(contents):
    """All numbers in the contents of files, and all that their texts and keys name: dates, versions, counts."""
    values, wholes = set(), set()
    for content in contents:
        gather(content, values, wholes)
    return values, wholes


def gather(content, values, wholes):
    if isinstance(content, dict):
        for key, value in content.items():
            gather(key, values, wholes)
            gather("" if key == "commit" or key.endswith("sha256") else value, values, wholes)
        for way in ("call", "graph"):  # of a GPU's record the notebook shows the speed-ups
            if content.get(f"dense_{way}"):
                values.add(content[f"dense_{way}"] / content[f"sparse_{way}"])
    elif isinstance(content, list):
        for value in content:
            gather(value, values, wholes)
    elif isinstance(content, str):
        dated, plain = numbers(content)
        wholes.update(dated)
        values.update(value_of(number) for number in plain)
    elif isinstance(content, int | float) and not isinstance(content, bool):
        values.add(float(content))


def value_of(number):
    return float(number.replace("−", "-").replace(",", "").rstrip("% "))


def is_rounding(number, values):
    """Whether `number`, at its printed precision, is one of `values`, or in % one of them as a share."""
    digits = Decimal(number.replace("−", "-").replace(",", "").rstrip("% "))
    half = 0.5000001 * 10.0 ** digits.as_tuple().exponent
    signed = number[0] in "-−"
    shares = {100 * value for value in values if abs(value) <= 1} if number.endswith("%") else set()
    return any(abs((value if signed else abs(value)) - float(digits)) <= half for value in values | shares)


def strangers(texts, values, wholes):
    """Numbers in the texts that are in no committed file."""
    found = []
    for text in texts:
        dated, plain = numbers(text)
        found += [number for number in dated if number not in wholes]
        found += [number for number in plain if not is_rounding(number, values)]
    return found


def read(path):
    """What a reader of the section sees, and what the files hold that it may show."""
    cells = section(nbformat.read(path, as_version=4))
    return [text for cell in cells for text in shown(cell)], *committed(sources_of(path, cells))


def test_every_notebook_with_a_paper_has_the_section():
    assert {path.stem for path in PATHS} >= set(measured.read_record(measured.PAPERS))


@notebooks
def test_every_number_is_in_a_committed_file(path):
    texts, values, wholes = read(path)
    assert sum(len(numbers(text)[1]) for text in texts) >= 10
    assert not strangers(texts, values, wholes)


@notebooks
def test_a_changed_digit_is_noticed(path):
    """Each number with decimals, its last digit changed in all nine ways; some are another number of the files."""
    texts, values, wholes = read(path)
    noticed = []
    for number in {number for text in texts for number in numbers(text)[1] if "." in number and "e" not in number}:
        body = number.rstrip("% ")
        for digit in set("0123456789") - {body[-1]}:
            noticed.append(bool(strangers([body[:-1] + digit + number[len(body) :]], values, wholes)))
    assert len(noticed) >= 45 and sum(noticed) >= 2 / 3 * len(noticed), f"{sum(noticed)} of {len(noticed)}"


def test_a_changed_output_of_a_notebook_is_noticed(tmp_path):
    source = next(path for path in PATHS if path.stem == "04b_obs_measured")
    text = source.read_text(encoding="utf-8")
    copy = tmp_path / source.name
    copy.write_text(text.replace("<td>90.0 (66.7–", "<td>90.0 (66.9–"), encoding="utf-8")
    assert text.count("<td>90.0 (66.7–") == 1 and strangers(*read(copy)) == ["66.9"]


def test_what_counts_as_a_number():
    assert numbers("OPT-2.7B on 2026-11-22: 12.47 → 17.18, −0.23 or 1.7e+04, 2:4, 95 %, 10,000") == (
        ["2026-11-22"],
        ["12.47", "17.18", "−0.23", "1.7e+04", "95 %", "10,000"],
    )
    assert is_rounding("1.7e+04", {17123.0}) and not is_rounding("1.8e+04", {17123.0})
    assert is_rounding("97.22%", {0.97222}) and not is_rounding("97.22", {0.97222})
    assert is_rounding("73.8", {-73.8}) and not is_rounding("-73.8", {73.8})


def test_what_a_record_holds():
    values, wholes = set(), set()
    run = {"dense_call": 0.5, "sparse_call": 0.4, "dense_graph": None, "seeds": [0, 3], "dirty": True}
    gather(
        {"date": "2026-11-22T18:36:15+00:00", "commit": "12ab", "runs": [run | {"note": "of 77 networks"}]},
        values,
        wholes,
    )
    assert {0.5, 0.4, 1.25, 0, 3, 77} <= values and not {12, 1} & values
    assert "2026-11-22" in wholes
