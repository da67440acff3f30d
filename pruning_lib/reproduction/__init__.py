"""Notebooks run from the command line, with checked parameters and kept results."""

from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]  # the folder that holds pruning_lib, notebooks and figures
NOTEBOOKS = CHECKOUT / "notebooks"
