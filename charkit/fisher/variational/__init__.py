"""Variational Fisher embeddings: the noise that weights stand."""
