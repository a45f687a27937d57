"""Installs the product on the cluster of `make up` and runs its main job where everyone can watch."""
