"""Embedding services that are called over HTTP."""
