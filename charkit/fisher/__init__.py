"""Fisher embeddings: the squared gradients of an encoder's weights that a task causes."""

from charkit.lazy import attach

__getattr__, __dir__, __all__ = attach(__name__, __file__)
