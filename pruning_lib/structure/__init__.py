"""What is removed: single weights, patterns of weights, whole units; and how the choice is applied."""

# ruff: noqa: F401 - what is imported here is what this package offers

from pruning_lib.structure.masks import Masks, prunable, release
from pruning_lib.structure.removal import remove
from pruning_lib.structure.semi_structured import keep_n_of_m, keep_patterns, keep_stripes
from pruning_lib.structure.structured import choose_units, score_units, zero_units
from pruning_lib.structure.unstructured import keep_largest
