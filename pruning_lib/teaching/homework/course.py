"""The nbgrader course: all of it is made anew beside what is there, then put in its place."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterable
from pathlib import Path

import nbformat

from pruning_lib.files import CHECKOUT, make_writable
from pruning_lib.reproduction.parameters import chosen_notebooks, notebook_paths
from pruning_lib.teaching.homework.exam import exam
from pruning_lib.teaching.homework.source import read_exercises
from pruning_lib.teaching.homework.versions import assignment, solutions, student

# In the environment beside the one that it grades in.
_SCRIPTS = Path(f"{sys.prefix}-homework", Path(sysconfig.get_path("scripts")).name)
NBGRADER = _SCRIPTS / ("nbgrader.exe" if os.name == "nt" else "nbgrader")
_CONFIG = """# Made once by make homework, then yours to change.
import warnings
from pathlib import Path

c = get_config()
c.CourseDirectory.course_id = "pruning"
c.CourseDirectory.root = str(Path(__file__).resolve().parent)
c.ClearSolutions.code_stub = {"python": "..."}  # as in the notebooks: an empty answer is told that it is empty
c.ExecutePreprocessor.timeout = 120  # seconds for a cell; longer is taken for an endless loop
c.ExecutePreprocessor.interrupt_on_timeout = True  # which then costs one exercise, not all
c.ExecutePreprocessor.iopub_timeout = 30  # seconds for its output, on a busy machine
# Two harmless warnings at each submission
c.KernelManager.transport_encryption = "auto"
warnings.filterwarnings("ignore", "Object of type .* not in session")
"""
# One process for all assignments: nbgrader takes seconds to start.
_RELEASE = """
import sys
from nbgrader.apps import GenerateAssignmentApp
for gradebook in sys.argv[1].split("|"):
    for name in sys.argv[2:]:
        options = ["--force", "--db", "sqlite:///" + gradebook, "--CourseDirectory.root=."]
        GenerateAssignmentApp.launch_instance([name, *options])
        GenerateAssignmentApp.clear_instance()
"""


def build_course(
    names: Iterable[str], folder: Path, out: Path, nbgrader: Path = NBGRADER, answers: Path | None = None
) -> list[Path]:
    """Make or renew the nbgrader course `out` from the notebooks `names` (or all) of `folder`.

    `source/NAME/` and `release/NAME/` get the assignment with and without solutions, `notebooks/student/` and
    `notebooks/solutions/` the whole notebooks, `exam/` the exam, with its answers if `answers` is their file;
    `nbgrader_config.py` only where there is none. Answers of an earlier build go if there are none now. What students
    handed in, the gradebook's marks and all else stay. Return the released assignments.

    ValueError for an unknown notebook, a malformed exercise, a folder that cannot be written, no nbgrader, answers that
    `exam` refuses or that might be committed from `out`, or exercises that came or went after students handed in;
    everything is then as it was.
    """
    out = Path(out).resolve()
    build = CHECKOUT.resolve() / "build"
    if answers is not None and out.is_relative_to(build.parent) and not out.is_relative_to(build):
        raise ValueError(f"out is {str(out)!r}, must be outside the repository or below {str(build)!r} with answers")
    paths = notebook_paths(folder)
    names = chosen_notebooks(list(names) or ["all"], paths)
    files = {f"exam/{name}": text for name, text in exam(answers).items()}
    for name in names:
        notebook, exercises = read_exercises(paths[name])
        if not exercises:
            raise ValueError(f"{name} has no exercises, must have one or more")
        files[f"notebooks/student/{name}.ipynb"] = student(notebook, exercises)
        files[f"notebooks/solutions/{name}.ipynb"] = solutions(notebook, exercises)
        files[f"source/{name}/{name}.ipynb"] = assignment(notebook, exercises, name)
    if not nbgrader.is_file():
        raise ValueError(f"nbgrader is not at {nbgrader}; make homework installs it there")
    made = not out.exists()
    make_writable(out)
    try:
        with tempfile.TemporaryDirectory(prefix="building-", dir=out) as temporary:
            _fill(Path(temporary), files, names, out, nbgrader)
    except OSError as error:
        raise ValueError(f"out is {str(out)!r}, must be a folder that can be written: {error.strerror}") from None
    finally:
        if made and out.is_dir() and not any(out.iterdir()):
            out.rmdir()
    return [out / "release" / name / f"{name}.ipynb" for name in names]


def _fill(temporary: Path, files: dict, names: list[str], out: Path, nbgrader: Path) -> None:
    """Write `files`, release the assignments `names`, and only then move it all to `out`."""
    for place, content in files.items():
        path = temporary / place
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, str):
            path.write_text(content, "utf-8")
        else:
            nbformat.write(content, path)
    config = out / "nbgrader_config.py"
    (temporary / config.name).write_text(config.read_text("utf-8") if config.exists() else _CONFIG, "utf-8")
    # Tried on a copy first: the gradebook in use, where a lecturer may be grading, changes wholly or not at all.
    gradebook, trial = out / "gradebook.db", temporary / "trial.db"
    if gradebook.exists():
        shutil.copyfile(gradebook, trial)
        _release(names, temporary, [trial, gradebook], nbgrader)
        trial.unlink()
    else:
        _release(names, temporary, [temporary / gradebook.name], nbgrader)
    for path in sorted(path for path in temporary.rglob("*") if path.is_file()):
        place = out / path.relative_to(temporary)
        place.parent.mkdir(parents=True, exist_ok=True)
        os.replace(path, place)
    if "exam/answers.md" not in files:
        (out / "exam" / "answers.md").unlink(missing_ok=True)


def _release(names: list[str], course: Path, gradebooks: list[Path], nbgrader: Path) -> None:
    """Make the release versions of `names` in `course`, with each of `gradebooks`; ValueError says why not."""
    environment = os.environ | {"PATH": os.pathsep.join([str(nbgrader.parent), os.environ.get("PATH", os.defpath)])}
    command = [nbgrader.parent / "python", "-c", _RELEASE, "|".join(map(str, gradebooks)), *names]
    done = subprocess.run(command, cwd=course, env=environment, capture_output=True, text=True)
    if done.returncode:
        lines = [line.strip() for line in done.stderr.strip().splitlines()] or [f"exit code {done.returncode}"]
        reason = next((line for line in lines if re.match(r"\w*(Error|Exception)\b", line)), lines[-1])
        raise ValueError(f"nbgrader did not release the assignments: {reason}")


def next_steps(out: Path) -> str:
    """Return what a lecturer does with the course `out`, in commands."""
    return f"""
Hand out these files. Put what comes back at {out}/submitted/STUDENT/NAME/NAME.ipynb, then
  cd {out}
  PATH="{NBGRADER.parent}:$PATH"
  nbgrader autograde NAME
  nbgrader generate_feedback NAME   # pages to return: feedback/STUDENT/NAME/NAME.html
  nbgrader export                   # points: grades.csv
More in docs/homework.md. Whole notebooks: notebooks/student and notebooks/solutions in {out}; the exam: exam."""
