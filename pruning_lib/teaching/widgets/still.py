"""The still figures beside the widgets: what all of them share."""

from collections.abc import Iterator
from contextlib import contextmanager

from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from pruning_lib.teaching import palette

COLORED = ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color")


@contextmanager
def still_figure(width: float, height: float) -> Iterator[Figure]:
    """A figure of that many inches to draw into, whose text and axes are readable on a light and on a dark page.

    >>> with still_figure(10, 5) as figure:
    ...     figure.subplots().plot([1, 2])
    """
    figure = plt.figure(figsize=(width, height), layout="constrained")  # outside: pyplot may first load its backend
    plt.close(figure)  # else a notebook shows it twice: as the cell's value and as an open figure
    with plt.rc_context(dict.fromkeys(COLORED, palette.MUTED)):
        yield figure
    for part in (figure, *figure.subfigs, *figure.axes):
        part.patch.set_alpha(0)
