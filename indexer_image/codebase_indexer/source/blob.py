"""git's name for a file's content. Pure.

By itself, since both the processes that parse, which import no database, and those that ask git need it.
"""

import hashlib


def blob_id(data: bytes) -> bytes:
    """Return git's name for this content: 20 bytes."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).digest()
