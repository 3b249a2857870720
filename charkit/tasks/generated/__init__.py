"""Small word-level grammars whose sentences carry a label with a known probability."""
