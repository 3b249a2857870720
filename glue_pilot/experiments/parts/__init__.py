"""Parts of experiments that would be too long as one file."""
