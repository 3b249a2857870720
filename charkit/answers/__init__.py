"""The answers to the questions of a user, one folder a question."""
