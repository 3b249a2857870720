"""The meta-dataset that the metamodel learns from."""
