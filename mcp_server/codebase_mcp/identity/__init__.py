"""Who calls, what they may, and the one gate that every call of a tool passes."""
