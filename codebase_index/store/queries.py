"""Loads the queries of `sql/*.sql`: `-- name: fetch_job`, a line of description, the text."""

import re
from functools import cache
from importlib.resources import files


@cache
def load(module: str) -> dict[str, str]:
    """Return the queries of `sql/<module>.sql` by name."""
    text = (files("codebase_index.store") / "sql" / f"{module}.sql").read_text()
    parts = re.split(r"^-- name: (\w+)\n", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], (part.strip() for part in parts[2::2]), strict=True))
