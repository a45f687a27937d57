"""Repository content is untrusted: programs run on it within bounds."""
