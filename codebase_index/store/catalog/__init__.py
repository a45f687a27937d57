"""The indexes there are: found, listed, removed."""
