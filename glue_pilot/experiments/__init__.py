"""The experiments of the study: one file a question; a table, a figure and a finding each."""
