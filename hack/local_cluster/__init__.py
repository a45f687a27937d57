"""A real Kubernetes on one machine, for development, tests and the demo.

Standard library only: it runs with the system's Python, before any virtual environment exists.
Where a Docker engine answers it drives kind; elsewhere it builds Kubernetes from Go modules and runs
the programs itself, inside network namespaces of its own. docs/local-cluster.md tells the whole story.
"""
