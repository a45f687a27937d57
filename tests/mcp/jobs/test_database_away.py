"""What is said while neither the database nor the Kubernetes API answers.

With the API: unit/server/jobs/.
"""

from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import pytest

from codebase_index.store.database import Database


@pytest.fixture
async def database(closed_port: int) -> AsyncIterator[Database]:
    """A pool on a port where nobody listens."""
    database = await Database.open(f"postgresql://u:secret@127.0.0.1:{closed_port}/x", name="test", timeout=2)
    yield database
    await database.close()


@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        ("get_indexing_status", {"job_id": str(uuid4())}),
        ("cancel_indexing_background", {"job_id": str(uuid4())}),
        ("list_indexing_jobs", {}),
        ("search_code", {"query": "checkout"}),
    ],
)
async def test_the_answer_says_so_and_when_to_try_again(
    tool: str, arguments: dict[str, Any], call: Any, refused: Any
) -> None:
    text = refused(await call(tool, **arguments))
    assert text.startswith("unavailable: ") and "does not answer" in text and "try again in 10 seconds" in text
    assert "secret" not in text
