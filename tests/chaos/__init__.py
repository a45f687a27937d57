"""Breaks the product on the real cluster, on purpose, and checks that nothing is lost."""
