"""The vectors of queries, by each model that the indexes have."""
