"""Repository content is untrusted: files opened beneath a folder, programs run within bounds."""
