"""git's name for a file's content. Pure.

A module of its own: the processes that parse need it, and they import no database driver.
"""

import hashlib


def blob_id(data: bytes) -> bytes:
    """Return git's name for this content: 20 bytes."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).digest()
