"""The modes of search_code: auto, symbol, text and regex."""
