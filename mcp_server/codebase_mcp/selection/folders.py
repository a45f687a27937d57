"""Where callers are: the folders that a request names as its client's own."""

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar

Folders = tuple[str, ...]

_folders: ContextVar[Folders] = ContextVar("folders", default=())


def current() -> Folders:
    """Return the folders of the client whose request is being answered; none: it has not said."""
    return _folders.get()


@contextlib.contextmanager
def folders_context(folders: Folders) -> Iterator[None]:
    """Make `current` return these folders, in the block and in the tasks that it starts."""
    token = _folders.set(folders)
    try:
        yield
    finally:
        _folders.reset(token)
