"""Files cut into chunks along their syntax. Pure."""
