"""The arguments of tools: what clients are told of them, and how what agents send is read."""
