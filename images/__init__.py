"""Builds the project's container images without needing a registry, and loads them into the local cluster."""
