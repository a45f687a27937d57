"""MCP over HTTP: connections, middleware, probes."""
