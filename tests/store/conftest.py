"""The bench that runs real workers."""

from pathlib import Path

import pytest

from codebase_index.store.database import Database
from tests.store.bench import Bench


@pytest.fixture
def bench(database: Database, dsn: str, tmp_path: Path) -> Bench:
    root = tmp_path / "roots"
    root.mkdir()
    return Bench(database, dsn, root)
