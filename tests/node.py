"""JavaScript of the widgets, run by Node."""

import json
import shutil
import subprocess
from typing import Any

import pytest

from pruning_lib.teaching.widgets.javascript import bundle

SCRIPT = """
import {{ readFileSync }} from "node:fs";
import {{ {names} }} from "./module.mjs";
const given = JSON.parse(readFileSync(0));
console.log(JSON.stringify({expression}));
"""


def computed(folder, module: str, names: str, expression: str, given: Any) -> Any:
    """What a JavaScript `expression` about `given` is, with functions that the module exports; skipped without Node."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed: the browser tests compare the texts only")
    (folder / "module.mjs").write_text(bundle(f"{module}.js"), encoding="utf-8")
    (folder / "script.mjs").write_text(SCRIPT.format(names=names, expression=expression), encoding="utf-8")
    command = [node, "script.mjs"]
    answered = subprocess.run(
        command, input=json.dumps(given), cwd=folder, capture_output=True, text=True, check=True, timeout=60
    )
    return json.loads(answered.stdout)
