"""The study: which tasks, which grid, which figures."""
