"""The tools: descriptions, schemas, checked arguments, error texts."""
