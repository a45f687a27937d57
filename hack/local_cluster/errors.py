"""The one exception of this package."""


class ClusterError(Exception):
    """An expected failure. Its text says what happened, why, and what to do next; no traceback is shown."""
