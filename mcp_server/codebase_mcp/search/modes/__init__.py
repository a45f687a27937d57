"""One module a mode of search_code: auto, symbol, text and regex."""
