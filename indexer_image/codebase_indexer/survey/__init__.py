"""A job's view of its source, from opening it to finding deleted files."""
