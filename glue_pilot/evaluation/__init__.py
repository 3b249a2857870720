"""The study of `charkit evaluate`."""
