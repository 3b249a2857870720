"""HTML pages: the answer of `charkit estimate`, and a folder of results."""
