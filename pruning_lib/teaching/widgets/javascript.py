"""A widget's JavaScript and its styles in one piece each, as anywidget and hand-outs without a kernel need them."""

import json
import re
from pathlib import Path

import anywidget

from pruning_lib.teaching import palette

HERE = Path(__file__).parent
_IMPORT = re.compile(r'^import \{[^}]*\} from "\./([\w.]+)";$', re.MULTILINE)
_COLORS = {name: getattr(palette, name.upper()) for name in ("kept", "pruned", "updated", "accent", "good", "muted")}
_COLORS |= {"violet": palette.SERIES[3]}


class Drawn(anywidget.AnyWidget):
    """A widget that the browser draws: the class in X.py has its script in X.js, and styles in X.css if there is one.

    TypeError for an argument that is none of its traits.
    """

    def __init_subclass__(cls, **arguments):
        if not hasattr(cls, "_esm"):  # traitlets derives a class of its own for every instance
            name = cls.__module__.rpartition(".")[-1]
            cls._esm, cls._css = bundle(f"{name}.js"), _styles(f"{name}.css")
        super().__init_subclass__(**arguments)

    def __init__(self, **shown):
        if unknown := sorted(set(shown) - set(self.trait_names())):
            raise TypeError(f"{type(self).__name__} has no {', '.join(unknown)}")
        super().__init__(**shown)


def check_range(name: str, value: float, low: float, high: float) -> float:
    """Return `value` if it is from `low` to `high`, else raise ValueError."""
    if not low <= value <= high:  # False for nan too
        raise ValueError(f"{name} is {value}, must be from {low:g} to {high:g}")
    return value


def bundle(name: str) -> str:
    """Text of the module `name` in this folder, each `import {…} from "./other.js"` replaced by that module's text.

    A module that several import is there once. All modules of one widget thus share one scope: their top-level names
    must differ. In it stands also the constant `palette`, the colors by name.
    """
    there = set()

    def text(module: str) -> str:
        if module in there:
            return ""
        there.add(module)
        return _IMPORT.sub(lambda match: text(match[1]), (HERE / module).read_text(encoding="utf-8"))

    return f"const palette = {json.dumps(_COLORS)};\n{text(name)}"


def _styles(name: str) -> str:
    """Text of the style sheet that all widgets share, followed by the one named if it exists."""
    own = HERE / name
    return (HERE / "charts.css").read_text(encoding="utf-8") + (own.read_text(encoding="utf-8") if own.exists() else "")
