"""Hand-outs and slides of all notebooks, from the copies that running them left, into one folder."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path

from pruning_lib.files import make_writable, written_whole
from pruning_lib.reproduction import NOTEBOOKS
from pruning_lib.reproduction.parameters import chosen_notebooks, notebook_paths, read_notebook
from pruning_lib.teaching.publishing.pages import deck, handout, index, title

_SECTION = re.compile(r"^## Questions and answers\n(.*?)(?=^## |\Z)", re.DOTALL | re.MULTILINE)
_QUESTION = re.compile(r"^\*\*(.+?)\*\*\s(.+?)(?=\n\n|\Z)", re.DOTALL | re.MULTILINE)
_KINDS: dict[str, tuple[Callable[..., str], str, str]] = {
    "handouts": (handout, "Hand-outs", "Each file opens by itself, with no network; its sliders work."),
    "slides": (
        deck,
        "Slides",
        "S opens the speaker's notes, Esc the overview; in a widget, Esc leaves it. F is full screen. To print a "
        "page for each slide, add ?print-pdf to the address.",
    ),
}


def gather(
    kind: str,
    runs: str | Path = "runs",
    out: str | Path = "build",
    names: Sequence[str] = ("all",),
    profile: str = "smoke",
    notebooks: str | Path = NOTEBOOKS,
) -> list[Path]:
    """Write one page per notebook and an index of them into the folder `kind` of `out`.

    Parameters
    ----------
    kind
        ``handouts`` or ``slides``.
    runs, profile
        Where the executed copies lie: ``runs/NAME/profile/NAME.ipynb``.
    out
        Gets the folder; files of the same name there are replaced.
    names
        Notebooks, or ``all``.
    notebooks
        Folder with the notebooks themselves.

    Returns
    -------
    The files written, the index last.

    Raises
    ------
    ValueError
        If a notebook is unknown, was not run or failed, the text of its slides is not there or wrong, or the folder
        can't be written to. Nothing is written then.
    """
    make, heading, note = _KINDS[kind]
    copies = [executed(runs, name, profile) for name in chosen_notebooks(list(names), notebook_paths(Path(notebooks)))]
    folder = make_writable(Path(out) / kind)
    texts, titles = {}, {}
    for path in copies:
        notebook, file = read_notebook(path), f"{path.stem}.html"
        try:
            more = [told(Path(notebooks), path.stem) for told in (deck_text, room_questions) if kind == "slides"]
            texts[file], titles[file] = make(notebook, *more), title(notebook)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None
    texts["index.html"] = index(heading, titles, note)
    for file, text in texts.items():
        with written_whole(folder / file) as temporary:
            temporary.write_text(text, encoding="utf-8")
    return [folder / file for file in texts]


def deck_text(notebooks: Path, name: str) -> str:
    """What is on the slides of notebook `name`; ValueError where that is not written."""
    path = notebooks.parent / "docs" / "slides" / f"{name}.md"
    if not path.is_file():
        raise ValueError(f"{path} is not there, must say what is on the slides")
    return path.read_text(encoding="utf-8")


def room_questions(notebooks: Path, name: str) -> list[tuple[str, str]]:
    """The first three questions of the lecturer's page, with their answers; none where there is no such page."""
    page = notebooks.parent / "docs" / "lecturer" / f"{name}.md"
    section = _SECTION.search(page.read_text(encoding="utf-8")) if page.is_file() else None
    return [(" ".join(q.split()), a.strip()) for q, a in _QUESTION.findall(section[1])[:3]] if section else []


def executed(runs: str | Path, name: str, profile: str = "smoke") -> Path:
    """Path of the executed copy of notebook `name`; ValueError with the command to run if it is not there or failed."""
    path = Path(runs) / name / profile / f"{name}.ipynb"
    command = f"python -m pruning_lib run {name} --profile {profile} --out {runs}"
    if not path.exists():
        raise ValueError(f"{path} is not there, must be made first: {command}")
    run = read_notebook(path).metadata.get("papermill", {})
    if run.get("exception") or not run.get("end_time"):
        raise ValueError(f"{path} did not run to its end, must: {command}")
    return path
