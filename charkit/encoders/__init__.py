"""Encoders: texts in, pooled states of every layer out."""

from charkit.lazy import attach

__getattr__, __dir__, __all__ = attach(__name__, __file__)
