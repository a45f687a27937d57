"""Loads the queries of `sql/*.sql`: `-- name: fetch_job`, a line of description, the text."""

import re
from functools import cache
from importlib.resources import files


@cache
def load(module: str) -> dict[str, str]:
    """Return the queries of `sql/<module>.sql` by name."""
    text = (files("codebase_index.store") / "sql" / f"{module}.sql").read_text()
    parts = re.split(r"^-- name: (\w+)\n", text, flags=re.MULTILINE)
    queries = dict(zip(parts[1::2], (part.strip() for part in parts[2::2]), strict=True))
    _names.update({query: f"{module}.{name}" for name, query in queries.items()})
    return queries


_names: dict[str, str] = {}


def name_of(query: str) -> str:
    """Return what a query is called, as `jobs.claim`; `query` for one that is in no file."""
    return _names.get(query, "query")
