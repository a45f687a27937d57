"""The command `codebase-mcp`: for a person, a script, and an MCP client that wants standard input and output."""
