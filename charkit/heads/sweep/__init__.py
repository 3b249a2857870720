"""The sweep: heads of every layer on growing samples."""
