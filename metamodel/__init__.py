"""Tables in, predictions with intervals out; knows no torch, no text, no GLUE."""
