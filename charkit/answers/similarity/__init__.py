"""How alike tasks are: `charkit compare` and `charkit nearest`."""
