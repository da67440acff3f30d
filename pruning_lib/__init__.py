"""Neural-network pruning: score the weights, choose what stays, apply the choice, compensate, measure."""

__version__ = "0.1.0"
