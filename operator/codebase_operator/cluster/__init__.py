"""The edge to Kubernetes: what is seen of it, and each action as one call."""
