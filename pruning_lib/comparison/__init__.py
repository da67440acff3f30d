"""Which method to choose? All of them on one network, one data set and one training budget, seed by seed."""

# ruff: noqa: F401 - what is imported here is what this package offers

from pruning_lib.comparison.advice import advise
from pruning_lib.comparison.cell import run_cell
from pruning_lib.comparison.evidence import called, described
from pruning_lib.comparison.protocol import Case, Protocol
from pruning_lib.comparison.statistics import Difference, Spread, by_seed, difference, pareto, spread
from pruning_lib.comparison.variants import (
    CONTROLS,
    EVERY,
    GAMMAS,
    SPARSITIES,
    VARIANTS,
    Variant,
    smaller,
)
