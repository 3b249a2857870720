"""Other ways of training than a linear head on one layer."""
