"""Tasks: labelled texts, where they come from, and subsets of them."""

from charkit.lazy import attach

__getattr__, __dir__, __all__ = attach(__name__, __file__)
