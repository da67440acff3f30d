"""The YAML file of a sweep: a grid over a notebook's parameters and several seeds, checked before anything starts."""

import hashlib
import itertools
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pruning_lib.reproduction import NOTEBOOKS
from pruning_lib.reproduction.parameters import (
    check,
    declared,
    encodable,
    load_yaml,
    notebook_paths,
    read_notebook,
    read_profiles,
)
from pruning_lib.reproduction.results import finite

KEYS = ("notebook", "profile", "parameters", "grid", "seeds", "seed_parameter", "expected", "out")
EXPECTED_KEYS = ("quantity", "tolerance", "where", "differs")
RUNS = "runs"


@dataclass(frozen=True)
class Sweep:
    """A checked sweep.

    Parameters
    ----------
    source
        The notebook.
    folder
        Where its runs go.
    runs
        Name of each run, from its parameters only -> its parameters.
    seed_parameter
        The parameter that tells repetitions from settings; empty if there are no seeds.
    expected
        Where our setting is the paper's: ``{quantity, tolerance, where, differs}``, see `docs/reproduction.md`.
    """

    source: Path
    folder: Path
    runs: dict[str, dict[str, Any]]
    seed_parameter: str
    expected: list[dict[str, Any]]

    @property
    def plan(self) -> dict[str, Any]:
        """What makes two sweeps the same."""
        return {"notebook": self.source.stem, "seed_parameter": self.seed_parameter, "runs": self.runs}


def read_sweep(path: str | Path, out: str | Path | None = None, notebooks: str | Path = NOTEBOOKS) -> Sweep:
    """Return the sweep that the YAML file `path` describes; nothing is created.

    Parameters
    ----------
    path
        File with `notebook`, and `grid` (parameter -> list of values), `seeds` or both; maybe `profile`, `parameters`
        (parameter -> value, the same in all runs), `seed_parameter`, `expected`, and `out`, a folder below ``runs``.
    out
        Folder of the sweep; left out, ``runs`` and the file's `out` or its own name.
    notebooks
        Folder with the notebooks and ``profiles.yaml``.

    Raises
    ------
    ValueError
        For anything unknown, missing, empty, given twice, of the wrong type, or a path that leaves ``runs``.
    """
    path = Path(path)
    content = read_mapping(path)
    for key in content:
        if key not in KEYS:
            raise ValueError(f"{path}: key is {key!r}, must be one of {', '.join(KEYS)}")
    paths = notebook_paths(Path(notebooks))
    name = one_of(content.get("notebook"), paths, f"{path}: notebook")
    profiles = read_profiles(Path(notebooks), list(paths))[name]
    profile = one_of(content.get("profile", "smoke"), profiles, f"{path}: profile of {name}")
    types = declared(read_notebook(paths[name]), name)
    base = check(profiles[profile], types, f"{name}, profile {profile}")
    fixed = check(mapping(content, "parameters", path), types, f"{path}, parameters")
    grid = axes_of(content, types, path)
    seed_parameter, seeds = seeds_of(content, types, path)
    axes = grid | ({seed_parameter: seeds} if seeds else {})
    if not axes:
        raise ValueError(f"{path}: neither grid nor seeds is given, must have one of them")
    for key in fixed.keys() & axes.keys() | grid.keys() & {seed_parameter}:
        raise ValueError(f"{path}: {key} is given twice, must be in one of parameters, grid and seeds")
    runs = {}
    for values in itertools.product(*axes.values()):
        varied = dict(zip(axes, values, strict=True))
        parameters = base | fixed | varied
        runs[run_name(name, varied, parameters)] = parameters
    entries = listed(content["expected"], f"{path}: expected") if "expected" in content else []
    expected = [checked_expectation(entry, types, runs, seed_parameter, path) for entry in entries]
    for first, second in itertools.combinations(expected, 2):
        both = [
            name for name, given in runs.items() if all(matches(entry["where"], given) for entry in (first, second))
        ]
        if both and first["quantity"] == second["quantity"]:
            raise ValueError(f"{path}: expected has {first['quantity']!r} twice for {both[0]}, must have it once")
    return Sweep(paths[name].resolve(), folder_of(path, content, out), runs, seed_parameter, expected)


def read_mapping(path: Path) -> dict[str, Any]:
    """Return the mapping in the YAML file `path`; ValueError in one line if it is none."""
    try:
        content = load_yaml(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"{path} can't be read: {error.strerror}") from None
    except ValueError as error:
        raise ValueError(f"{path} is no plain YAML: {error}") from None
    if not isinstance(content, dict) or not content:
        raise ValueError(f"{path} must map {', '.join(KEYS[:6])} to values")
    return content


def mapping(content: dict[str, Any], key: str, path: Path) -> dict[str, Any]:
    """Return the mapping under `key`, {} if it is not there; an empty one is refused."""
    if key not in content:
        return {}
    value = content[key]
    if not isinstance(value, dict) or not value or not all(isinstance(name, str) for name in value):
        raise ValueError(f"{path}: {key} is {value!r}, must map names of parameters to values")
    return value


def one_of(value: Any, allowed: Any, name: str) -> str:
    """Return `value` if it is among `allowed`, else raise ValueError with the list."""
    if not isinstance(value, str) or value not in allowed:
        raise ValueError(f"{name} is {value!r}, must be one of {', '.join(map(str, allowed))}")
    return value


def listed(values: Any, name: str) -> list[Any]:
    """Return `values` if it is a list with something in it."""
    if not isinstance(values, list) or not values:
        raise ValueError(f"{name} is {values!r}, must be a list of one value or more")
    return values


def distinct(values: list[Any], name: str) -> list[Any]:
    """Return `values` if no two are the same."""
    texts = [json.dumps(value) for value in values]
    for value, text in zip(values, texts, strict=True):
        if texts.count(text) > 1:
            raise ValueError(f"{name} has {value!r} {texts.count(text)} times: two runs would be the same")
    return values


def axes_of(content: dict[str, Any], types: dict[str, str], path: Path) -> dict[str, list[Any]]:
    """Return parameter -> its values, of the grid."""
    axes = {}
    for name, values in mapping(content, "grid", path).items():
        where = f"{path}, grid"
        check({name: None} if name not in types else {}, types, where)  # the name before its values
        fitted = [check({name: value}, types, where)[name] for value in listed(values, f"{where}: {name}")]
        axes[name] = distinct(fitted, f"{where}: {name}")
    return axes


def seeds_of(content: dict[str, Any], types: dict[str, str], path: Path) -> tuple[str, list[Any]]:
    """Return the seed parameter and its value in each repetition: [seed] where it takes a list."""
    if "seeds" not in content:
        if "seed_parameter" in content:
            raise ValueError(f"{path}: seed_parameter is given without seeds")
        return "", []
    seeds = listed(content["seeds"], f"{path}: seeds")
    usual = [name for name in ("seeds", "seed") if name in types]
    name = content.get("seed_parameter", usual[0] if usual else None)
    if name not in types or types[name] not in ("int", "list[int]"):
        allowed = [known for known, kind in types.items() if kind in ("int", "list[int]")]
        raise ValueError(f"{path}: seed_parameter is {name!r}, must be one of {', '.join(allowed)}")
    values = [[seed] if types[name] == "list[int]" else seed for seed in seeds]
    fitted = [check({name: value}, types, f"{path}, seeds")[name] for value in values]
    return name, distinct(fitted, f"{path}: seeds")


def run_name(notebook: str, varied: dict[str, Any], parameters: dict[str, Any]) -> str:
    """Return a readable name that depends on notebook and parameters only, not on the place in the grid."""
    content = json.dumps([notebook, parameters], sort_keys=True)
    digest = hashlib.sha256(content.encode()).hexdigest()[:10]
    words = [f"{name}-{json.dumps(value)}" for name, value in varied.items()]
    words = [re.sub(r"[^A-Za-z0-9._]+", "-", word).strip("-") for word in words]
    return "_".join(words)[:80] + f"-{digest}"


def checked_expectation(
    entry: Any, types: dict[str, str], runs: dict[str, dict], seed_parameter: str, path: Path
) -> dict[str, Any]:
    """Return one entry of `expected`, all of its keys filled in."""
    if not isinstance(entry, dict) or not {"quantity", "tolerance"} <= entry.keys() <= set(EXPECTED_KEYS):
        raise ValueError(f"{path}: expected has {entry!r}, must have quantity and tolerance, maybe where and differs")
    quantity, differs = entry["quantity"], entry.get("differs", "")
    for key, value in (("quantity", quantity), ("differs", differs)):
        if not isinstance(value, str) or not encodable(value):
            raise ValueError(f"{path}: {key} is {value!r}, must be text")
    tolerance = finite(entry["tolerance"], f"{path}: tolerance of {quantity!r}")
    if tolerance < 0:
        raise ValueError(f"{path}: tolerance of {quantity!r} is {tolerance}, must be at least 0")
    where = check(mapping(entry, "where", path), types, f"{path}, expected")
    if seed_parameter in where:
        raise ValueError(f"{path}: expected of {quantity!r} is where {where}, must hold for all seeds")
    if not any(matches(where, parameters) for parameters in runs.values()):
        raise ValueError(f"{path}: expected of {quantity!r} is where {where}, which no run of the sweep has")
    return {"quantity": quantity, "tolerance": tolerance, "where": where, "differs": differs}


def matches(where: dict[str, Any], parameters: dict[str, Any]) -> bool:
    """Whether all that `where` asks for is among `parameters`."""
    return all(name in parameters and parameters[name] == value for name, value in where.items())


def folder_of(path: Path, content: dict[str, Any], out: str | Path | None) -> Path:
    """Return the sweep's folder: `out`, else the one below ``runs`` that the file names, which must stay there."""
    if out is not None:
        return Path(out).resolve()
    base = Path(RUNS).resolve()
    name = content.get("out", path.stem)
    if not isinstance(name, str) or "\0" in name or not encodable(name) or base not in (base / name).resolve().parents:
        raise ValueError(f"{path}: out is {name!r}, must be a folder below {RUNS}; another one is given by --out")
    return (base / name).resolve()
