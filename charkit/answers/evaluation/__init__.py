"""Which rows to label for a test, and how well a classifier does: `charkit evaluate`."""
