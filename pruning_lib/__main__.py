"""The command line: ``python -m pruning_lib COMMAND``. Each command imports what it needs, so that help is quick."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from pruning_lib import __version__
from pruning_lib.reproduction import CHECKOUT, NOTEBOOKS

FOLDER = click.Path(file_okay=False, path_type=Path)


class Refused(click.ClickException):
    """Wrong input: shown in one line, exit code 2."""

    exit_code = 2


def refusing(function: Callable, *arguments: Any, **keywords: Any) -> Any:
    """Call `function`, its ValueError shown as a refusal."""
    try:
        return function(*arguments, **keywords)
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


@main.command()
@click.argument("names", metavar="NOTEBOOK...", nargs=-1, required=True)
@click.option("--profile", default="smoke", show_default=True, help="Parameters from notebooks/profiles.yaml.")
@click.option(
    "-p", "given", nargs=2, multiple=True, metavar="NAME VALUE", help="One parameter; lists as '[0.9, 0.95]'."
)
@click.option("--out", default="runs", show_default=True, type=FOLDER, help="Folder for copies and results.")
@click.option("--notebooks", "folder", default=NOTEBOOKS, type=FOLDER, help="Folder with the notebooks.")
def run(names: tuple[str, ...], profile: str, given: tuple[tuple[str, str], ...], out: Path, folder: Path) -> None:
    """Run notebooks (02_snip, or all) and print their headline numbers beside the papers'."""
    from pruning_lib.reproduction.run import execute, plan, table

    for name, _ in given:
        if [other for other, _ in given].count(name) > 1:
            raise Refused(f"-p {name} is given twice, must be given once")
    runs = refusing(plan, names, profile, dict(given), out, folder)
    outcomes = []
    for number, each in enumerate(runs, 1):
        values = ", ".join(f"{name}={value}" for name, value in each.parameters.items()) or "defaults"
        click.echo(f"{each.name} ({number} of {len(runs)}), profile {profile}: {values}", err=True)
        outcomes.append(execute(each, None if sys.stderr.isatty() else progress))
        if outcomes[-1].failure:
            click.echo(outcomes[-1].failure, err=True)
        if outcomes[-1].interrupted:
            break
    click.echo(f"\n{table(outcomes)}\n")
    for outcome in outcomes:
        click.echo(f"{outcome.run.name}: {outcome.seconds:.0f} s, {outcome.run.folder}")
    if outcomes[-1].interrupted:
        sys.exit(130)
    report([outcome.failure for outcome in outcomes if outcome.failure], len(runs))


def progress(line: str) -> None:
    """Print where a run is, apart from its results."""
    click.echo(line, err=True)


def report(failures: list[str], total: int) -> None:
    """Name the failures, if any, and end with exit code 1."""
    if failures:
        click.echo(f"\n{len(failures)} of {total} failed:", err=True)
        for failure in failures:
            click.echo(f"  {failure}", err=True)
        sys.exit(1)


@main.command()
@click.argument("names", metavar="[NOTEBOOK]...", nargs=-1)
@click.option("--notebooks", "folder", default=NOTEBOOKS, type=FOLDER, help="Folder with the notebooks.")
def notebooks(names: tuple[str, ...], folder: Path) -> None:
    """Run the committed notebooks in place, with their own defaults, and save them cleaned."""
    from pruning_lib.reproduction.committed import refresh
    from pruning_lib.reproduction.parameters import chosen, notebook_paths

    paths = refusing(notebook_paths, folder)
    names = refusing(chosen, list(names or ["all"]), paths)
    failures = []
    for name in names:
        failure = refusing(refresh, paths[name], progress)
        click.echo(failure or f"{name}: saved", err=bool(failure))
        failures += [failure] if failure else []
    report(failures, len(names))


@main.command()
@click.option("--out", default=CHECKOUT / "figures", type=FOLDER, help="Folder for the figures.")
def figures(out: Path) -> None:
    """Draw the figures and print their paths."""
    from pruning_lib.teaching.figures import draw_all

    for path in draw_all(out):
        click.echo(path)


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
