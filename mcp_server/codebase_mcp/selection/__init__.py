"""Which indexes and which of their files a call is about, from what agents write."""
