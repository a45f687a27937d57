"""The command `codebase-mcp`: starts each program, and holds the administrator's."""
