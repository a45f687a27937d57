"""Which server is asked, how it is reached, and what is said to it."""
