"""Workers that are slow enough to be struck between two files, and such that may not read everything."""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.store.database_link import connect_through_link
from tests.store.harness import WorkerHarness


@pytest.fixture
def slow(harness: WorkerHarness, tmp_path: Path) -> WorkerHarness:
    """The harness, with a disk that needs 1 ms for each file: time enough to strike between two of them."""
    (tmp_path / "disk").mkdir()
    (tmp_path / "disk" / "sitecustomize.py").write_text(
        "import sys, time\n"
        "if any('parser_process import serve' in argument for argument in sys.orig_argv):\n"
        "    from codebase_index.beneath import Tree\n"
        "    read = Tree.read\n"
        "    Tree.read = lambda *arguments: (time.sleep(0.001), read(*arguments))[1]\n"
    )
    harness.env["PYTHONPATH"] = os.pathsep.join([str(tmp_path / "disk"), os.environ.get("PYTHONPATH", "")])
    return harness


@pytest.fixture
async def unprivileged(slow: WorkerHarness, tmp_path: Path) -> AsyncIterator[WorkerHarness]:
    """The harness, with workers that may not read everything."""
    link = await connect_through_link(
        slow, tmp_path
    )  # without its capabilities root can not reach Postgres either
    if os.getuid() == 0:
        slow.prefix = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"]
    yield slow
    await link.cut()
