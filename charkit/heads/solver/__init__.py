"""The solver of linear heads: objective, batched minimisation, leave-one-out."""
