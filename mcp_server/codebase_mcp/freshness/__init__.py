"""Whether local repositories are newer than their indexes, and their indexing again by itself."""
