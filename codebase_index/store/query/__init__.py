"""Search queries: candidates by terms and by vectors, symbols, lines of text."""
