"""The recipe of a counter in CONTRIBUTING.md: what its four places bring about, through a real job."""

import asyncio
from pathlib import Path

from tests.support.recipes import COUNTER, ask

SCRIPT = """
import asyncio, json, sys
from pathlib import Path
from codebase_index.api.crd import document
from codebase_index.api.resource import Progress
from codebase_index.store.database import Database
from codebase_mcp.jobs.answers import JobStatus
from tests.store.harness import WorkerHarness, track

async def main(dsn, root):
    database = await Database.open(dsn, name="copy")
    await database.migrate()
    harness = WorkerHarness(database, dsn, Path(root))
    (harness.root / "app").mkdir(parents=True)
    (harness.root / "app" / "main.py").write_text("limit = 3\\n")
    track(harness.root / "app")
    _, row = await harness.run(await harness.job("app"))
    await database.close()
    mirror = Progress(**row.counts()).model_dump(by_alias=True)
    answer = JobStatus.from_row(row, stale=False, skipped=[]).model_dump(mode="json")
    return [row.message, row.counts(), answer, mirror, JobStatus.model_json_schema()["properties"], document()]

print(json.dumps(asyncio.run(main(*sys.argv[1:]))))
"""


async def test_a_counter_takes_four_places_and_is_seen_everywhere(dsn: str, tmp_path: Path) -> None:
    tree = await asyncio.to_thread(COUNTER.follow, tmp_path / "tree")
    message, counts, answer, mirror, schema, crd = await asyncio.to_thread(
        ask, tree, SCRIPT, dsn, str(tmp_path / "roots")
    )
    size = len("limit = 3\n")
    assert counts["bytes_indexed"] == answer["bytes_indexed"] == mirror["bytesIndexed"] == size
    assert f"{size} bytes read" in message
    assert schema["bytes_indexed"]["description"] == "size of all"
    assert "bytesIndexed:" in crd and "Bytes of the files that were read." in crd
