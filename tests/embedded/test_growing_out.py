"""The way up: what is indexed on one machine goes by commands into another database, and its namespace."""

import asyncio
import os
import sys
from pathlib import Path

from codebase_embedded.settings import DATA_VARIABLE
from codebase_index.store.address import FILE_VARIABLE
from codebase_index.store.catalog.indexes import Indexes
from codebase_index.store.database import Database
from hack.deployment.mcp_client import finished
from tests.support.embedded import EmbeddedRuntime


async def test_the_indexes_of_this_machine_go_into_a_cluster_s_database(
    embedded_runtime: EmbeddedRuntime, small_repository: str, database: Database, dsn: str, tmp_path: Path
) -> None:
    async with embedded_runtime.connect() as tools:
        job = await tools.call("start_indexing_background", repo_path=small_repository)
        assert (await finished(tools, job["job_id"], timeout=300))["status"] == "completed"
    address, dump = tmp_path / "database-url", tmp_path / "codebase.dump"
    address.write_text(f"{dsn}\n")

    await command("export", str(dump), **{DATA_VARIABLE: str(embedded_runtime.settings.data)})
    await command("import", str(dump), "--namespace", "team", **{FILE_VARIABLE: str(address)})

    (index,) = [row for row in await Indexes(database, ["team"]).list() if row.source == small_repository]
    assert len((await Indexes(database).files(index.id, 100)).unpack()) > 10


async def command(*arguments: str, **environment: str) -> None:
    started = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "codebase_cli", *arguments, env={**os.environ, **environment}
    )
    assert await started.wait() == 0
