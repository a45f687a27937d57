"""Builds the project's images without needing a registry; loads them into the local cluster or pushes them."""
