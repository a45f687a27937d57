"""The catalog of indexes: created, listed, removed."""
