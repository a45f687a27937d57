"""Postgres: jobs, the work list of each, and the index. Only this package speaks SQL."""
