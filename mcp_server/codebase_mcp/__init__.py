"""The MCP server: tools with which an agent has repositories indexed, and searches them."""
