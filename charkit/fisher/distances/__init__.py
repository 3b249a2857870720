"""Distances between Fisher embeddings, with intervals."""
