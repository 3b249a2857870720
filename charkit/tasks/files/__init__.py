"""From the bytes of a file to a table of columns: one module for each kind of content."""
