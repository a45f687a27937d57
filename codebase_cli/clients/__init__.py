"""The configuration files of MCP clients: which there are, and how an entry gets in and out."""
