"""Where callers are: the folders that a request names as its client's own."""

from contextlib import AbstractContextManager
from contextvars import ContextVar

from codebase_index.context_value import set_for_block

Folders = tuple[str, ...]

_folders: ContextVar[Folders] = ContextVar("folders", default=())


def current() -> Folders:
    """Return the folders of the client whose request is being answered; none: it has not said."""
    return _folders.get()


def folders_context(folders: Folders) -> AbstractContextManager[None]:
    """Make `current` return these folders, in the block and in the tasks that it starts."""
    return set_for_block(_folders, folders)
