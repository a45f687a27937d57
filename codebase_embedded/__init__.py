"""The embedded runtime: server, operator, indexers and Postgres as processes of one user, without Kubernetes."""
