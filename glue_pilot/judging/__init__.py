"""The scorecard: the shipped metamodel on corpora left out."""
