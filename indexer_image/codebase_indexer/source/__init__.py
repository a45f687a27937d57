"""The repository: opened or cloned, listed as git lists it, looked at again."""
