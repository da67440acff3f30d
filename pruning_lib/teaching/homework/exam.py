"""The exam: its questions are in the repository, its answers are not."""

import re
from pathlib import Path

from pruning_lib.files import CHECKOUT

QUESTIONS = CHECKOUT / "docs" / "exam.md"
_HEADING = re.compile(r"^## (?P<number>\d+)\b.*\n", re.M)


def exam(answers: Path | None = None, questions: Path = QUESTIONS) -> dict[str, str]:
    """Return the files of the exam, by name: `questions.md`, and with a file of `answers` also `answers.md`.

    Both files have a heading `## 7 …` for each question; what stands below it in the one goes below it in the other.
    The file of answers is its owner's: whoever may read the repository may not read it.

    ValueError for answers within the repository, a file that cannot be read, and answers that do not fit the questions.
    """
    text = questions.read_text("utf-8")
    files = {"questions.md": text}
    if answers is not None:
        found = _by_number(_outside(answers), "answers")
        asked = _by_number(text, "questions")
        for number in sorted(set(found) ^ set(asked)):
            what = "no answer to question" if number in asked else "an answer, but there is no question"
            raise ValueError(
                f"answers is {str(answers)!r}: it has {what} {number}, must have one for each of {len(asked)}"
            )
        for number, heading in [(int(each["number"]), each) for each in _HEADING.finditer(text)][::-1]:
            end = heading.end() + len(asked[number])
            text = f"{text[:end].rstrip()}\n\n**Answer.** {found[number].strip()}\n\n{text[end:]}"
        files["answers.md"] = text.rstrip() + "\n"
    return files


def _outside(path: Path) -> str:
    """Read a file that must not be in the repository, where it might be committed."""
    if path.resolve().is_relative_to(CHECKOUT.resolve()):
        raise ValueError(f"answers is {str(path)!r}, must lie outside the repository {str(CHECKOUT)!r}")
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"answers is {str(path)!r}, must be a text file that can be read: {error}") from None


def _by_number(text: str, what: str) -> dict[int, str]:
    """Return what stands below each numbered heading."""
    headings = list(_HEADING.finditer(text))
    ends = [heading.start() for heading in headings[1:]] + [len(text)]
    found = {int(h["number"]): text[h.end() : end] for h, end in zip(headings, ends, strict=False)}
    if len(found) < len(headings):
        raise ValueError(f"{what}: a question's number stands twice")
    for number, below in found.items():
        if not below.strip():
            raise ValueError(f"{what}: nothing stands below number {number}")
    return found
