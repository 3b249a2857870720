"""Judging a metamodel on corpora left out."""
