"""The YAML file of a sweep: a grid over a notebook's parameters and several seeds, checked before anything starts."""

import hashlib
import itertools
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, Field, FiniteFloat

from pruning_lib.reproduction import NOTEBOOKS
from pruning_lib.reproduction.parameters import (
    Text,
    check_parameters,
    notebook_paths,
    of_profile,
    one_of,
    read_profiles,
    read_yaml,
    strictly,
)

_RUNS = "runs"
SEEDS = ("seeds", "seed")  # parameters that tell repetitions from settings, where nothing else is said
Some = Field(min_length=1)


class Expected(BaseModel, extra="forbid"):
    """Where our setting is the paper's, see `docs/reproduction.md`."""

    quantity: Text
    tolerance: Annotated[FiniteFloat, Field(ge=0)]
    where: dict[str, Any] = {}
    differs: Text = ""
    against: Text = ""  # the quantity that the paper's claim compares with: the difference must be near as well


class _GivenExpected(Expected):
    where: Annotated[dict[str, Any], Some] = {}


class _SweepFile(BaseModel, extra="forbid"):
    """What the file holds."""

    notebook: Any = None
    profile: Any = "smoke"
    parameters: Annotated[dict[str, Any], Some] = {}
    grid: Annotated[dict[str, Annotated[list, Some]], Some] = {}
    seeds: Annotated[list, Some] = []
    seed_parameter: Any = None
    expected: Annotated[list, Some] = []
    out: Any = None


@dataclass(frozen=True)
class Sweep:
    """A checked sweep."""

    source: Path  # the notebook
    folder: Path  # where its runs go
    runs: dict[str, dict[str, Any]]  # name, which depends on the parameters only -> parameters
    seed_parameter: str  # tells repetitions from settings; empty if there are no seeds
    expected: list[dict[str, Any]]  # each an `Expected`

    @property
    def plan(self) -> dict[str, Any]:
        """What makes two sweeps the same."""
        return {"notebook": self.source.stem, "seed_parameter": self.seed_parameter, "runs": self.runs}


def read_sweep(path: str | Path, out: str | Path | None = None, notebooks: str | Path = NOTEBOOKS) -> Sweep:
    """Return the sweep that the YAML file `path` describes; nothing is created.

    The file gives `notebook`, and `grid` (parameter -> list of values), `seeds` or both; maybe `profile`, `parameters`
    (parameter -> value, the same in all runs), `seed_parameter`, `expected`, and `out`, a folder below ``runs``. The
    sweep's folder is the argument `out`, else ``runs`` and the file's `out` or its own name. In the folder `notebooks`
    there is ``profiles.yaml`` too. ValueError for anything unknown, missing, empty, given twice, of the wrong type, or
    a path that leaves ``runs``.
    """
    path, paths = Path(path), notebook_paths(Path(notebooks))
    file = strictly(_SweepFile, read_yaml(path), str(path))
    name = one_of(file.notebook, paths, f"{path}: notebook")
    profiles = read_profiles(Path(notebooks), list(paths))[name]
    types, of_file = of_profile(paths[name], file.profile, profiles, f"{path}: ")
    fixed = check_parameters(file.parameters, types, f"{path}, parameters")
    grid = {key: _distinct(key, values, types, f"{path}, grid") for key, values in file.grid.items()}
    seed_parameter, seeds = _seeds_of(file, types, path)
    axes = grid | ({seed_parameter: seeds} if seeds else {})
    if not axes:
        raise ValueError(f"{path}: neither grid nor seeds is given, must have one of them")
    for key in fixed.keys() & axes.keys() | grid.keys() & {seed_parameter}:
        raise ValueError(f"{path}: {key} is given twice, must be in one of parameters, grid and seeds")
    base = of_file | fixed
    points = [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]
    runs = {_run_name(name, varied, base | varied): base | varied for varied in points}
    expected = [_expectation(entry, types, runs, seed_parameter, path) for entry in file.expected]
    for first, second in itertools.combinations(expected, 2):
        both = [run for run, given in runs.items() if all(matches(each["where"], given) for each in (first, second))]
        if both and first["quantity"] == second["quantity"]:
            raise ValueError(f"{path}: expected has {first['quantity']!r} twice for {both[0]}, must have it once")
    return Sweep(paths[name].resolve(), _folder_of(path, file.out, out), runs, seed_parameter, expected)


def matches(where: dict[str, Any], parameters: dict[str, Any]) -> bool:
    """Whether all that `where` asks for is among `parameters`."""
    return where.items() <= parameters.items()


def _distinct(name: str, values: list[Any], types: dict[str, str], where: str) -> list[Any]:
    """Return the `values` of a parameter, checked, if no two are the same."""
    fitted = [check_parameters({name: value}, types, where)[name] for value in values]
    for value in fitted:
        if fitted.count(value) > 1:
            raise ValueError(f"{where}: {name} has {value!r} {fitted.count(value)} times: two runs would be the same")
    return fitted


def _seeds_of(file: _SweepFile, types: dict[str, str], path: Path) -> tuple[str, list[Any]]:
    """Return the seed parameter and its value in each repetition: [seed] where it takes a list."""
    if not file.seeds:
        if file.seed_parameter is not None:
            raise ValueError(f"{path}: seed_parameter is given without seeds")
        return "", []
    allowed = [name for name, kind in types.items() if kind in ("int", "list[int]")]
    name = file.seed_parameter
    if name is None:
        name = next((usual for usual in SEEDS if usual in types), None)
    one_of(name, allowed, f"{path}: seed_parameter")
    values = [[seed] if types[name] == "list[int]" else seed for seed in file.seeds]
    return name, _distinct(name, values, types, f"{path}, seeds")


def _run_name(notebook: str, varied: dict[str, Any], parameters: dict[str, Any]) -> str:
    """Return a readable name that depends on notebook and parameters only, not on the place in the grid."""
    digest = hashlib.sha256(json.dumps([notebook, parameters], sort_keys=True).encode()).hexdigest()
    words = [f"{name}-{json.dumps(value)}" for name, value in varied.items()]
    words = [re.sub(r"[^A-Za-z0-9._]+", "-", word).strip("-") for word in words]
    return "_".join(words)[:80] + f"-{digest[:10]}"


def _expectation(
    entry: Any, types: dict[str, str], runs: dict[str, dict], seed_parameter: str, path: Path
) -> dict[str, Any]:
    """Return one entry of `expected`, all of its keys filled in."""
    entry = strictly(_GivenExpected, entry, f"{path}: expected").model_dump()
    where = entry["where"] = check_parameters(entry["where"], types, f"{path}, expected")
    if seed_parameter in where:
        raise ValueError(f"{path}: expected of {entry['quantity']!r} is where {where}, must hold for all seeds")
    if not any(matches(where, parameters) for parameters in runs.values()):
        raise ValueError(f"{path}: expected of {entry['quantity']!r} is where {where}, which no run of the sweep has")
    return entry


def _folder_of(path: Path, name: Any, out: str | Path | None) -> Path:
    """Return the sweep's folder: `out`, else the one below ``runs`` that the file names, which must stay there."""
    if out is not None:
        return Path(out).resolve()
    base, name = Path(_RUNS).resolve(), path.stem if name is None else name
    try:
        folder = (base / strictly(Text, name, "out")).resolve()  # ValueError for \\0 too
        if base in folder.parents:
            return folder
    except ValueError:
        pass
    raise ValueError(f"{path}: out is {name!r}, must be a folder below {_RUNS}; another one is given by --out")
