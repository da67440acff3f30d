"""Pruning before training: from random weights, before the first step."""
