"""What a search reads: candidates by words and by vectors, symbols, lines of text."""
