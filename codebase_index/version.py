"""The version of the installed distribution, which `pyproject.toml` alone says."""

from importlib.metadata import version
from typing import Final

DISTRIBUTION: Final = "codebase-mcp-server"
"""Its name. Not `codebase-mcp`, which another project has on PyPI."""

VERSION: Final = version(DISTRIBUTION)
