"""The Fisher embedding of a task: `charkit embed`."""
