"""The error whose text is for the model."""


class UserError(Exception):
    """Something the caller can act on. The text says what happened, why, and what to do next.

    It reaches the model as it is, so it never holds credentials or content of repositories.
    """
