"""What to label next: `charkit next`."""
