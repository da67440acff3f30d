"""The suite's still pictures, drawn by code from the same functions that the notebooks use."""

import os
from collections.abc import Callable
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

from pruning_lib.files import written_whole
from pruning_lib.teaching.figures.decision_card import decision_card
from pruning_lib.teaching.figures.hessian_synchronization import hessian_synchronization
from pruning_lib.teaching.figures.pipelines import pipelines
from pruning_lib.teaching.figures.scheme import poster, scheme
from pruning_lib.teaching.figures.sparsegpt_algorithm import sparsegpt_algorithm
from pruning_lib.teaching.figures.speeds import speeds
from pruning_lib.teaching.figures.structures import structures
from pruning_lib.teaching.figures.two_four import two_four

FIGURES: dict[str, Callable[[], Figure]] = {
    draw.__name__: draw
    for draw in (
        structures,
        pipelines,
        scheme,
        poster,
        hessian_synchronization,
        sparsegpt_algorithm,
        two_four,
        speeds,
        decision_card,
    )
}
PRINTED = ("poster", "decision_card")  # as PDF, too


def draw_all(folder: str | os.PathLike) -> list[Path]:
    """Draw all into `folder` as SVG and PNG, what is printed as PDF too, the same bytes each time; return the paths."""
    paths = []
    formats = [(".svg", {"Date": None, "Creator": None}), (".png", {"Software": None})]
    # Without a salt matplotlib numbers the parts of an SVG at random; without metadata there is no date in the files.
    with matplotlib.rc_context({"svg.hashsalt": "pruning_lib"}):
        for name, draw in FIGURES.items():
            figure = draw()
            for suffix, metadata in formats + [(".pdf", {"CreationDate": None})] * (name in PRINTED):
                path = Path(folder) / f"{name}{suffix}"
                with written_whole(path) as temporary:
                    figure.savefig(temporary, dpi=110, metadata=metadata, bbox_inches="tight", pad_inches=0.12)
                paths.append(path)
    return paths


__all__ = ["FIGURES", "PRINTED", "draw_all", *FIGURES]
