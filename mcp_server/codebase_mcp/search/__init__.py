"""What search_code does: the request, the repositories, a page of results."""
