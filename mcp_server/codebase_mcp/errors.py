"""The error whose text is for the model."""

from typing import Any


class UserError(Exception):
    """Something the caller can act on. The text says what happened, why, and what to do next.

    It reaches the model as it is, so it never holds credentials or content of repositories. `repair` are the
    arguments that would make the call right, beside the others as they were; None leaves one out. The refusal then
    ends with the repaired call.
    """

    def __init__(self, text: str, **repair: Any) -> None:
        super().__init__(text)
        self.repair = repair


class NotIndexed(UserError):
    """There is no index of what the caller names. `text` follows the words `not indexed: `."""

    def __init__(self, text: str, **repair: Any) -> None:
        super().__init__(f"not indexed: {text}", **repair)
