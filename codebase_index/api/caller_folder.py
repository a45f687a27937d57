"""How a client's bridge tells the server in which folder it was started. Light: a bridge starts often."""

from typing import Final

from codebase_index.api.job import GROUP

FOLDER_KEY: Final = f"{GROUP}/folder"
"""Key of `_meta` in a tool's call: an absolute path."""

MAX_FOLDER_LENGTH: Final = 4096
