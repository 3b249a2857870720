"""Readers of files, folders and the hub: from their rows to texts and labels."""
