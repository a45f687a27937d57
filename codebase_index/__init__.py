"""The domain that the operator, the indexer and the MCP server share; it imports none of them."""
