"""The tool search_code: the request, the indexes, a page of results."""
