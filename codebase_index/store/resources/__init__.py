"""Custom resources and pods in a table, for the embedded runtime."""
