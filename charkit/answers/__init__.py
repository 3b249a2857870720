"""The answers: which layer."""
