"""The parameters of a notebook: declared in its typed cell, given by a profile or on the command line, checked."""

import ast
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, FiniteFloat, TypeAdapter, ValidationError

_RESERVED = "out"
INJECTED = "injected-parameters"  # papermill's tag of the cell with the parameters that were given


def _encodable(text: str) -> str:
    """Return `text` unless it has half of a character, as bytes that are no UTF-8 become: no file holds it."""
    if text.encode(errors="ignore").decode() != text:
        raise ValueError("be text that UTF-8 can encode")
    return text


Text = Annotated[str, AfterValidator(_encodable)]
_SCALARS = {"int": int, "float": FiniteFloat, "str": Text, "bool": bool}
_TYPES = _SCALARS | {"list[int]": list[int], "list[float]": list[FiniteFloat], "list[str]": list[Text]}


def notebook_paths(folder: Path) -> dict[str, Path]:
    """Return the notebooks of `folder`, in order of name; ValueError if there are none."""
    paths = {path.stem: path for path in sorted(Path(folder).glob("*.ipynb"))}
    if not paths:
        raise ValueError(f"notebooks is {str(folder)!r}, must be a folder with .ipynb files: that of a checkout")
    return paths


def one_of(value: Any, allowed: Iterable[str], name: str) -> str:
    """Return `value` if it is one of `allowed`, else raise ValueError with the list."""
    allowed = list(allowed)
    if value not in allowed:
        raise ValueError(f"{name} is {value!r}, must be one of {', '.join(allowed)}")
    return value


def chosen_notebooks(names: list[str], paths: dict[str, Path]) -> list[str]:
    """Return `names` without repeats, `all` standing for every notebook; ValueError for an unknown one."""
    for name in names:
        if name != "all" and name not in paths:
            raise ValueError(f"notebook is {name!r}, must be one of {', '.join(paths)} or all")
    return list(paths) if "all" in names else list(dict.fromkeys(names))


def read_notebook(path: Path) -> Any:
    """Return the notebook at `path` as nbformat gives it; ValueError naming the file if it is none."""
    import nbformat

    try:
        return nbformat.read(path, as_version=4)
    except Exception as error:  # nbformat lets through whatever its JSON and schema readers raise
        raise ValueError(f"{path} is no notebook: {error}") from None


def declared(notebook: Any, name: str) -> dict[str, str]:
    """Return parameter name -> type name, as declared by the lines `name: type = default` of the parameters cell.

    The cell is read as Python: papermill's own inspection skips lines with a second `=`, as in a comment.

    Raises
    ------
    ValueError
        If there is not one cell tagged `parameters`, it is an executed copy, or a line declares no known type.
    """
    tags = [cell.metadata.get("tags", []) for cell in notebook.cells]
    if any(INJECTED in of_cell for of_cell in tags):
        raise ValueError(f"{name} holds injected parameters: it is an executed copy, not the notebook itself")
    found = [cell for cell, of_cell in zip(notebook.cells, tags, strict=True) if "parameters" in of_cell]
    if len(found) != 1:
        raise ValueError(f"{name} has {len(found)} cells tagged 'parameters', must have one")
    types = {}
    try:
        lines = ast.parse(found[0].source).body
    except SyntaxError as error:
        raise ValueError(f"{name}: the parameters cell is no Python: {error}") from None
    for line in lines:
        if not isinstance(line, ast.AnnAssign) or line.value is None:
            raise ValueError(f"{name}: {ast.unparse(line)!r} in the parameters cell, must be 'name: type = default'")
        types[ast.unparse(line.target)] = ast.unparse(line.annotation)
    for parameter, type_name in types.items():
        if type_name not in _TYPES:
            raise ValueError(f"{name}: type of {parameter} is {type_name}, must be one of {', '.join(_TYPES)}")
    if types.pop(_RESERVED, None) != "str":
        raise ValueError(f"{name}: the parameters cell must declare '{_RESERVED}: str = \"\"', where results go")
    return types


def strictly(kind: Any, value: Any, where: str, allowed: str = "") -> Any:
    """Return `value` as `kind`, a type or a model of pydantic, has it; ValueError in one line with what is allowed.

    An int will do for a float; True is no int, and nan and infinite numbers are none at all.
    """
    try:
        return TypeAdapter(kind).validate_python(value, strict=True)
    except ValidationError as error:
        first, fields = error.errors(include_url=False)[0], ", ".join(getattr(kind, "model_fields", ()))
        if first["type"] in ("extra_forbidden", "invalid_key"):
            raise ValueError(f"{where}: key is {first['loc'][-1]!r}, must be one of {fields}") from None
        if first["loc"][-1:] == ("[key]",):
            place = ": ".join([where, *map(str, first["loc"][:-2])])
            raise ValueError(f"{place}: key is {first['input']!r}, must be text") from None
        if first["type"] == "missing":
            raise ValueError(f"{where} is {value!r}, must have {first['loc'][-1]}") from None
        must = f"map {fields} to values" if first["type"] == "model_type" else allowed
        if not must or not first["type"].endswith("_type"):
            must = re.sub(r"^(\w+ should|Value error,) | after validation.*", "", first["msg"])
        if not allowed or isinstance(value, dict):  # which may be a whole file
            where, value = ": ".join([where, *map(str, first["loc"])]), first["input"]
        raise ValueError(f"{where} is {value!r}, must {must}") from None


def fault(error: ValidationError) -> str:
    """Return in one line where the first fault is, if at a place within the whole, and what it is."""
    first = error.errors(include_url=False)[0]
    return " ".join(filter(None, [": ".join(map(str, first["loc"])), first["msg"]]))


def check_parameters(values: dict[str, Any], types: dict[str, str], where: str) -> dict[str, Any]:
    """Return `values` fitted to `types`, else raise ValueError with the name, the value and what is allowed."""
    result = {}
    for name, value in values.items():
        if name == _RESERVED:
            raise ValueError(f"{where}: parameter {_RESERVED!r} is set by the runner, use --out for the folder")
        if name not in types:
            known = ", ".join(f"{known}: {type_name}" for known, type_name in types.items()) or "none"
            raise ValueError(f"{where}: parameter is {name!r}, must be one of {known}")
        result[name] = strictly(_TYPES[types[name]], value, f"{where}: {name}", f"be of type {types[name]}")
    return result


def load_yaml(text: str) -> Any:
    """Return what the YAML `text` says, with 1e-3, nan and inf as floats, which PyYAML takes for strings.

    A key given twice is an error, where PyYAML would take the last; tags that would call code are one too. All errors
    are a ValueError in one line.
    """
    import yaml

    class Loader(yaml.SafeLoader):
        def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
            keys = [key.value for key, _ in node.value]
            for key in keys:
                if keys.count(key) > 1:
                    raise yaml.constructor.ConstructorError(None, None, f"{key!r} is given twice", node.start_mark)
            return super().construct_mapping(node, deep)

    number = re.compile(r"[-+]?(?:(?:\d+\.?\d*|\.\d+)[eE][-+]?\d+|inf|nan)$")
    Loader.add_implicit_resolver("tag:yaml.org,2002:float", number, list("-+.0123456789in"))
    try:
        return yaml.load(text, Loader)
    except Exception as error:  # beside its own, what its constructors raise: of a date 2026-13-40, of a thousand "["
        raise ValueError(" ".join(str(error).split())) from None


def read_yaml(path: Path) -> Any:
    """Return what the YAML file `path` says; ValueError in one line if it can't be read or is none."""
    try:
        return load_yaml(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"{path} can't be read: {error.strerror}") from None
    except ValueError as error:
        raise ValueError(f"{path} is no plain YAML: {error}") from None


def value_of(text: str, name: str, type_name: str | None) -> Any:
    """Return the value that `text` stands for on the command line: as it is for a str, else read as YAML."""
    if type_name == "str":
        return text
    try:
        return load_yaml(text)
    except ValueError:
        raise ValueError(f"{name} is {text!r}, must be YAML for a value of type {type_name}") from None


def read_profiles(folder: Path, names: list[str]) -> dict[str, dict[str, dict[str, Any]]]:
    """Return notebook -> profile -> parameters from `folder`/profiles.yaml, each notebook of `names` with a `smoke`.

    A notebook for which the file gives no `smoke` has its defaults there.
    """
    path = Path(folder) / "profiles.yaml"
    profiles = (read_yaml(path) if path.exists() else None) or {}
    strictly(dict[str, dict[str, dict[str, Any]]], profiles, str(path), "map notebook -> profile -> {parameter: value}")
    for name in profiles:
        one_of(name, names, f"{path}: notebook")
    return {name: {"smoke": {}} | profiles.get(name, {}) for name in names}


def of_profile(path: Path, profile: str, profiles: dict[str, dict], where: str = "") -> tuple[dict[str, str], dict]:
    """Return the types that the notebook at `path` declares and what `profile`, one of its `profiles`, gives.

    All of them are checked. `where` begins the message for a `profile` that is not among them.
    """
    one_of(profile, profiles, f"{where}profile of {path.stem}")
    types = declared(read_notebook(path), path.stem)
    checked = {key: check_parameters(values, types, f"{path.stem}, profile {key}") for key, values in profiles.items()}
    return types, checked[profile]
