"""The MCP server: five tools with which an agent has repositories indexed, and searches them."""
