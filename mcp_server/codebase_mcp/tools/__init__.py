"""The five tools: descriptions, schemas, checked arguments, error texts."""
