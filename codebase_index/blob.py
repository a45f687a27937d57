"""git's name for a file's content. Pure.

By itself, since the processes that parse, which import no database, those that ask git and the server need it.
"""

import hashlib


def blob_id(data: bytes) -> bytes:
    """Return git's name for this content: 20 bytes."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).digest()
