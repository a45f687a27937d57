"""The contract: the custom resource, its job's life, and what a spec may name."""
