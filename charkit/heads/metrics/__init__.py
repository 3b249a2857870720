"""Metrics of heads, their intervals, and the choice of the best by them."""
