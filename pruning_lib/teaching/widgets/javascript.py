"""A widget's JavaScript and its styles in one piece each, as anywidget and hand-outs without a kernel need them."""

import re
from pathlib import Path

HERE = Path(__file__).parent
IMPORT = re.compile(r'^import \{[^}]*\} from "\./([\w.]+)";$', re.MULTILINE)


def bundle(name: str) -> str:
    """Text of the module `name` in this folder, each `import {…} from "./other.js"` replaced by that module's text.

    A module that several import is there once. All modules of one widget thus share one scope: their top-level names
    must differ.
    """
    there = set()

    def text(module: str) -> str:
        if module in there:
            return ""
        there.add(module)
        return IMPORT.sub(lambda match: text(match[1]), (HERE / module).read_text(encoding="utf-8"))

    return text(name)


def styles(*names: str) -> str:
    """Text of the style sheet that all widgets share, followed by those named."""
    return "".join((HERE / name).read_text(encoding="utf-8") for name in ("charts.css", *names))
