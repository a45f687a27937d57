"""The program in an indexer pod: reads a repository, cuts it into chunks, embeds them, writes the index."""
