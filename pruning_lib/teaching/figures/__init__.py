"""The suite's still pictures, drawn by code from the same functions that the notebooks use."""

import os
from collections.abc import Callable
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

from pruning_lib.files import written_whole
from pruning_lib.teaching.figures.pipelines import pipelines
from pruning_lib.teaching.figures.scheme import scheme
from pruning_lib.teaching.figures.structures import structures

FIGURES: dict[str, Callable[[], Figure]] = {"structures": structures, "pipelines": pipelines, "scheme": scheme}


def draw_all(folder: str | os.PathLike) -> list[Path]:
    """Draw every figure into `folder` as SVG and PNG, the same bytes each time; return the paths."""
    paths = []
    # Without a salt matplotlib numbers the parts of an SVG at random; without metadata there is no date in the files.
    with matplotlib.rc_context({"svg.hashsalt": "pruning_lib"}):
        for name, draw in FIGURES.items():
            figure = draw()
            for suffix, metadata in ((".svg", {"Date": None, "Creator": None}), (".png", {"Software": None})):
                path = Path(folder) / f"{name}{suffix}"
                with written_whole(path) as temporary:
                    figure.savefig(temporary, dpi=110, metadata=metadata, bbox_inches="tight", pad_inches=0.12)
                paths.append(path)
    return paths


__all__ = ["FIGURES", "draw_all", "pipelines", "scheme", "structures"]
