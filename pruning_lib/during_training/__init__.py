"""Pruning while the network is training: proximal methods, and gates that close."""
