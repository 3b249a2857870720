"""The study of `charkit next`."""
