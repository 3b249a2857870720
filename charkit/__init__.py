"""charkit: how many labels, what accuracy, which layer of which encoder.

The public names are imported when first used, so that ``import charkit`` loads nothing heavy.
"""

from charkit.lazy import attach

__version__ = "0.1.0"
__getattr__, __dir__, __all__ = attach(__name__, __file__)
