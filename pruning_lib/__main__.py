"""The command line: ``python -m pruning_lib COMMAND``. Each command imports what it needs, so that help is quick."""

import os
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click

from pruning_lib import __version__
from pruning_lib.files import CHECKOUT
from pruning_lib.reproduction import NOTEBOOKS

FOLDER = click.Path(file_okay=False, path_type=Path)
of_notebooks = click.option("--notebooks", "folder", default=NOTEBOOKS, type=FOLDER, help="Folder with the notebooks.")


class Refused(click.ClickException):
    """Wrong input: shown in one line, exit code 2."""

    exit_code = 2


def refusing(function: Callable, *arguments: Any, **options: Any) -> Any:
    """Call `function`, its ValueError, which is wrong input everywhere here, shown as a refusal."""
    try:
        return function(*arguments, **options)
    except ValueError as error:
        raise Refused(str(error)) from None


class Commands(click.Group):
    """Says in one line which package a command lacks."""

    def invoke(self, context: click.Context) -> Any:
        try:
            return super().invoke(context)
        except ModuleNotFoundError as error:
            if (error.name or "pruning_lib").startswith("pruning_lib"):
                raise
            install = "python -m pip install -r requirements.txt"
            raise click.ClickException(f"{error.name} is not installed; to install it: {install}") from None


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
def main() -> None:
    """Neural-network pruning, taught: run the notebooks, check the installation, get data."""
    # Notebooks run in their own folder, where a relative path would mean another one than here.
    os.environ["PRUNING_LIB_DATA"] = os.path.abspath(os.environ.get("PRUNING_LIB_DATA") or CHECKOUT / "data")


def progress(line: str) -> None:
    """Print where a run is, apart from its results."""
    click.echo(line, err=True)


def report(failures: list[str], total: int) -> None:
    """Name the failures that are not empty, if any, and end with exit code 1."""
    if failures := list(filter(None, failures)):
        progress("\n  ".join([f"\n{len(failures)} of {total} failed:", *failures]))
        sys.exit(1)


@main.command()
@click.argument("names", metavar="NOTEBOOK...", nargs=-1, required=True)
@click.option("--profile", default="smoke", show_default=True, help="Parameters from notebooks/profiles.yaml.")
@click.option(
    "-p", "given", nargs=2, multiple=True, metavar="NAME VALUE", help="One parameter; lists as '[0.9, 0.95]'."
)
@click.option("--out", default="runs", show_default=True, type=FOLDER, help="Folder for copies and results.")
@of_notebooks
def run(names: tuple[str, ...], profile: str, given: tuple[tuple[str, str], ...], out: Path, folder: Path) -> None:
    """Run notebooks (02_snip, or all) and print their headline numbers beside the papers'."""
    from pruning_lib.reproduction.run import execute, headline_table, plan
    from pruning_lib.teaching.publishing.pages import handout

    for name, _ in given:
        if [other for other, _ in given].count(name) > 1:
            raise Refused(f"-p {name} is given twice, must be given once")
    runs = refusing(plan, names, profile, dict(given), out, folder)
    outcomes = []
    for number, each in enumerate(runs, 1):
        values = ", ".join(f"{name}={value}" for name, value in each.parameters.items()) or "defaults"
        progress(f"{each.name} ({number} of {len(runs)}), profile {profile}: {values}")
        outcomes.append(execute(each, None if sys.stderr.isatty() else progress, page=handout))
        if outcomes[-1].failure:
            click.echo(outcomes[-1].failure, err=True)
        if outcomes[-1].interrupted:
            break
    click.echo(f"\n{headline_table(outcomes)}\n")
    for outcome in outcomes:
        click.echo(f"{outcome.run.name}: {outcome.seconds:.0f} s, {outcome.run.folder}")
    if outcomes[-1].interrupted:
        sys.exit(130)
    report([outcome.failure for outcome in outcomes], len(runs))


@main.command()
@click.argument("file", metavar="FILE.yaml", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--out", type=FOLDER, help="Folder of the sweep; left out, runs/ and the file's name.")
@click.option("--workers", type=click.IntRange(min=1), help="Processes on this machine.  [default: 2]")
@click.option("--scheduler", metavar="ADDRESS", help="A dask scheduler to use instead: tcp://HOST:8786.")
@click.option("--threads", default=1, show_default=True, type=click.IntRange(min=1), help="Threads of each run.")
@click.option("--mix", is_flag=True, help="Go on though notebook, library or versions have changed since.")
@of_notebooks
def sweep(
    file: Path, out: Path | None, workers: int | None, scheduler: str | None, threads: int, mix: bool, folder: Path
) -> None:
    """Run one notebook over a grid of parameters and seeds; started again, do what is not done yet."""
    from pruning_lib.reproduction.sweep import carry_out, ready, recorded
    from pruning_lib.reproduction.sweep_file import read_sweep
    from pruning_lib.teaching.publishing.pages import handout

    if workers and scheduler:
        raise Refused(f"--workers is {workers}, must be left out with --scheduler, which has workers of its own")
    wanted = refusing(read_sweep, file, out, folder)
    again = "the same command goes on where it stopped"
    try:
        with ExitStack() as stack:
            client, state = refusing(ready, stack, wanted, workers or 2, scheduler, threads, mix)
            failures = carry_out(wanted, client, state, mix, handout) if client else []
            record = recorded(wanted)
    except KeyboardInterrupt:
        progress(f"\nstopped; {again}")
        sys.exit(130)
    except ConnectionError as error:
        raise click.ClickException(f"{error}; {again}") from None
    except OSError as error:  # a full disk
        where = f"{error.filename or wanted.folder}: {error.strerror or error}"
        raise click.ClickException(f"{where}; {again}") from None
    click.echo(f"{wanted.folder}: {record.name} holds all results" if record else str(wanted.folder))
    report(failures, len(wanted.runs))


@main.command()
@click.argument("paths", metavar="[FOLDER|FILE.json]...", nargs=-1, type=click.Path(exists=True, path_type=Path))
@click.option("--format", "form", type=click.Choice(["markdown", "html", "csv"]), help="[default: markdown]")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="File for it; left out, it is printed.")
@click.option("--page", is_flag=True, help="Renew docs/results.md from the files that its comment names.")
def table(paths: tuple[Path, ...], form: str | None, out: Path | None, page: bool) -> None:
    """Set the papers' numbers beside ours, mean and spread over seeds, with a verdict and links to the runs."""
    from pruning_lib.files import written_whole
    from pruning_lib.reproduction.gather import read_records, rows_of
    from pruning_lib.reproduction.results_page import PAGE, renew
    from pruning_lib.reproduction.table import render

    if page:
        if paths or form or out:
            raise Refused("--page takes nothing else: docs/results.md itself names its files")
        refusing(renew, PAGE)
        return
    if not paths:
        raise Refused("a folder or file with results is missing, such as runs/NAME")
    text = render(refusing(rows_of, refusing(read_records, paths)), form or "markdown", out.parent if out else ".")
    if not out:
        click.echo(text, nl=False)
        return
    try:
        with written_whole(out) as temporary:
            temporary.write_text(text, encoding="utf-8")
    except OSError as error:
        raise Refused(f"out is {str(out)!r}, must be a file that can be written: {error.strerror}") from None


@main.command()
@click.argument("names", metavar="[NOTEBOOK]...", nargs=-1)
@of_notebooks
def notebooks(names: tuple[str, ...], folder: Path) -> None:
    """Run the committed notebooks in place, with their own defaults, and save them cleaned."""
    from pruning_lib.reproduction.committed import refresh
    from pruning_lib.reproduction.parameters import chosen_notebooks, notebook_paths

    paths = refusing(notebook_paths, folder)
    names = refusing(chosen_notebooks, list(names or ["all"]), paths)
    failures = []
    for name in names:
        failures.append(refusing(refresh, paths[name], progress))
        click.echo(failures[-1] or f"{name}: saved", err=bool(failures[-1]))
    report(failures, len(names))


@main.command()
@click.option("--out", default=CHECKOUT / "figures", type=FOLDER, help="Folder for the figures.")
def figures(out: Path) -> None:
    """Draw the figures, write the page to try, take stills and the capture of widgets in Chromium; print the paths."""
    from pruning_lib.files import make_writable
    from pruning_lib.teaching import capture, try_it
    from pruning_lib.teaching.figures import draw_all
    from pruning_lib.teaching.stills import take_all

    refusing(make_writable, out)
    for path in draw_all(out):
        click.echo(path)
    click.echo(try_it.write(out / "try.html"))
    try:
        for path in take_all(out / "widgets"):
            click.echo(path)
        click.echo(capture.take(out / "capture.webp"))
    except FileNotFoundError as error:
        raise click.ClickException(str(error)) from None


@main.command()
@click.argument("kind", type=click.Choice(["handouts", "slides", "site"]))
@click.argument("names", metavar="[NOTEBOOK]...", nargs=-1)
@click.option("--profile", default="smoke", show_default=True, help="Which runs of the notebooks; not for the site.")
@click.option("--runs", default="runs", show_default=True, type=FOLDER, help="Folder with what `run` left.")
@click.option("--out", default="build", show_default=True, type=FOLDER, help="Gets a folder handouts, slides or site.")
def publish(kind: str, names: tuple[str, ...], profile: str, runs: Path, out: Path) -> None:
    """Make pages that need no network from notebooks that were run: hand-outs, slides or the site."""
    if kind == "site":
        from pruning_lib.teaching.publishing import site

        if names or profile != "smoke":
            raise Refused("the site is made of all notebooks' smoke runs, must be given neither names nor a profile")
        click.echo(refusing(site.build_site, runs, out))
        return
    from pruning_lib.teaching.publishing.gather import gather

    for path in refusing(gather, kind, runs, out, names or ["all"], profile):
        click.echo(path)


@main.command()
@click.argument("names", metavar="[NOTEBOOK]...", nargs=-1)
@click.option("--out", default="build/homework", show_default=True, type=FOLDER, help="Folder of the nbgrader course.")
@click.option(
    "--answers",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File of the exam's answers, outside the repository; left out, the exam has questions only.",
)
@of_notebooks
def homework(names: tuple[str, ...], out: Path, answers: Path | None, folder: Path) -> None:
    """Make homework of the exercises: an nbgrader course, student versions, solutions, an exam."""
    from pruning_lib.teaching.homework.course import build_course, next_steps

    for path in refusing(build_course, names, folder, out, answers=answers):
        click.echo(path)
    click.echo(next_steps(out))


@main.command()
@click.argument("name")
@click.option("--data", "root", type=FOLDER, help="Folder for the data; left out, PRUNING_LIB_DATA, else data/")
def download(name: str, root: Path | None) -> None:
    """Fetch a data set: digits, mnist, fashion_mnist or cifar10."""
    from pruning_lib.workbench import data

    if name not in data.NAMES:
        raise Refused(f"data is {name!r}, must be one of {', '.join(data.NAMES)}")
    root = root or Path(os.environ["PRUNING_LIB_DATA"])
    try:
        data.load(name, root=root, download=True)
    except Exception as error:  # no network, a full disk, torchvision missing: the reader's next step is the same
        reason, command = " ".join(str(error).split()), data.how_to_get(name, root)
        again = "" if command in reason else f"; to try again: {command}"
        raise click.ClickException(f"{name} did not get into {root}: {reason}{again}") from None
    click.echo(data.find(name, root))


@main.command()
@click.option("--data", "root", type=FOLDER, help="Folder of the data; left out, PRUNING_LIB_DATA, else data/")
def doctor(root: Path | None) -> None:
    """Check the installation; quote what it prints when you report a bug."""
    from pruning_lib.doctor import examine

    text, usable = examine(root or Path(os.environ["PRUNING_LIB_DATA"]))
    click.echo(text)
    sys.exit(0 if usable else 1)


if __name__ == "__main__":
    main(prog_name="python -m pruning_lib")
