"""A widget's JavaScript in one piece, as anywidget and hand-outs without a kernel need it."""

import re
from pathlib import Path

HERE = Path(__file__).parent
IMPORT = re.compile(r'^import \{[^}]*\} from "\./([\w.]+)";$', re.MULTILINE)


def bundle(name: str) -> str:
    """Text of the module `name` in this folder, each `import {…} from "./other.js"` replaced by that module's text.

    All modules of one widget thus share one scope: their top-level names must differ, and no module is imported twice.
    """
    return IMPORT.sub(lambda match: bundle(match[1]), (HERE / name).read_text(encoding="utf-8"))
