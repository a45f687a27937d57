"""From candidates to an order. Pure."""
