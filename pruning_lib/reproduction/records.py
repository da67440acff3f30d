"""Recorded experiments: many runs with one set of settings in one JSON file, added to run by run."""

import json
from pathlib import Path
from typing import Any

from pruning_lib.files import written_whole
from pruning_lib.reproduction.results import provenance


def finished(path: Path, settings: dict[str, Any]) -> list[dict]:
    """Runs already in the file at `path`; ValueError if they were made with other settings."""
    if not path.exists():
        return []
    record = json.loads(path.read_text(encoding="utf-8"))
    if record["settings"] != settings:
        raise ValueError(f"{path} holds runs with settings {record['settings']}, must be {settings}: move it away")
    return record["runs"]


def save(path: Path, about: str, settings: dict[str, Any], runs: list[dict]) -> None:
    """Write all `runs`, each with its "seconds", to `path`, a line each; what they are `about` and their provenance."""
    record = {"about": about} | provenance()
    record |= {"seconds": sum(run["seconds"] for run in runs), "settings": settings, "runs": []}
    lines = json.dumps(record, ensure_ascii=False, indent=1)[: -len("[]\n}")]
    lines += "[\n" + ",\n".join(json.dumps(run, separators=(",", ":"), ensure_ascii=False) for run in runs) + "\n]\n}\n"
    with written_whole(path) as temporary:
        temporary.write_text(lines, encoding="utf-8")
