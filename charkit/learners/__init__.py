"""Learners: the ways to train a classifier on labelled texts, from a linear head to all weights."""

from charkit.lazy import attach

__getattr__, __dir__, __all__ = attach(__name__, __file__)
