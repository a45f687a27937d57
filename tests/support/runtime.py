"""The product where it runs: what the integration tests ask of it and do to it, on the cluster and embedded."""

import json
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

from hack.deployment.mcp_client import Tools
from tests.support.waiting import wait_for


class Runtime(ABC):
    """One of the two, with a server that clients can reach."""

    @abstractmethod
    def connect(self) -> AbstractAsyncContextManager[Tools]:
        """Open an MCP session as a client does. Raises when the server does not answer for long."""

    @abstractmethod
    def query(self, sql: str) -> str:
        """Ask the product's database; return a line for each row."""

    @abstractmethod
    def kill_server(self) -> None:
        """Kill the MCP server, as the kernel does: with SIGKILL."""

    @abstractmethod
    def kill_indexers(self, job_id: str) -> None:
        """Kill the first process of each of a job's pods."""

    @abstractmethod
    def settle(self) -> None:
        """Wait until every job is over, and end those that a test left unfinished."""

    def facts(self, job_id: str) -> dict[str, Any]:
        """The job's row. Times are in ISO format."""
        select = f"SELECT row_to_json(j) FROM jobs j WHERE id = '{job_id}'"
        return dict(json.loads(wait_for(lambda: self.query(select), f"job {job_id} has a row")))

    def assert_consistent(self, repository: str) -> None:
        """Check the repository's index."""
        assert_consistent(self.query, repository)


def assert_consistent(query: Callable[[str], str], repository: str) -> None:
    """Each file of the repository's index is there once, with all of its chunks, and no chunk without a file."""
    index = f"(SELECT id FROM indexes WHERE source = '{repository}')"
    files, paths = query(f"SELECT count(*), count(DISTINCT path) FROM files WHERE index_id = {index}").split("|")
    assert files == paths
    incomplete = f"""SELECT count(*) FROM files f WHERE index_id = {index}
        AND chunks <> (SELECT count(*) FROM chunks c WHERE c.file_id = f.id)"""
    assert query(incomplete) == "0"
    orphans = f"SELECT count(*) FROM chunks WHERE index_id = {index} AND file_id NOT IN (SELECT id FROM files)"
    assert query(orphans) == "0"
