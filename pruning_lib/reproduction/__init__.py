"""Notebooks run from the command line, with checked parameters and kept results."""

from pruning_lib.files import CHECKOUT

NOTEBOOKS = CHECKOUT / "notebooks"
