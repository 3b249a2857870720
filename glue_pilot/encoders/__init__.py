"""The study of encoders: which one is named best, and what holds under it."""
