"""The lexical index: words, terms, packed postings and BM25. Pure."""
