"""A repository as it lies on disk: which folders and commits are its own. All of it is untrusted."""
