"""A server over a real database. Its Kubernetes API is a closed port, unless a test brings the cluster."""

import json
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import numpy as np
import pytest
from kubernetes.aio import client
from mcp import Client
from mcp.server import Server
from mcp_types import CallToolResult

from codebase_index.api.job import Phase
from codebase_index.api.resource import IndexingJob
from codebase_index.api.source_policy import SourcePolicy
from codebase_index.definitions import Definitions, pack
from codebase_index.embedding.static import StaticEmbedder
from codebase_index.languages import detect
from codebase_index.store.catalog.indexes import Indexes
from codebase_index.store.database import Database
from codebase_index.store.ingest.batch import Chunk, IndexedFile
from codebase_index.store.ingest.chunks import Chunks, Writer
from codebase_index.store.ingest.sweep import Sweep
from codebase_index.store.ingest.work import ScanEntry, Work
from codebase_index.store.jobs.jobs import Jobs, Progress
from codebase_index.store.jobs.rows import JobRow
from codebase_index.symbols import Symbol
from codebase_indexer.chunking.chunker import split
from codebase_mcp.identity.access import VisibleIndexes
from codebase_mcp.identity.gate import Gate
from codebase_mcp.jobs.kubernetes_cluster import KubernetesCluster
from codebase_mcp.jobs.service import JobService
from codebase_mcp.reading.service import ReadingService
from codebase_mcp.removal import IndexRemoval
from codebase_mcp.search.service import SearchService
from codebase_mcp.tools.tools import build_server
from tests.mcp.http_server import KUBECONFIG, run_server
from tests.support.terms import encode_texts, packed

Call = Callable[..., Awaitable[CallToolResult]]


@pytest.fixture(scope="session")
def embedder() -> StaticEmbedder:
    return StaticEmbedder.load()


@pytest.fixture(scope="session")
def closed_port() -> int:
    """A port of loopback on which nobody listens: a service that is away."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def roots(tmp_path: Path) -> Path:
    """The one configured root, with a repository `shop` and a file."""
    (tmp_path / "shop").mkdir()
    (tmp_path / "a-file").write_text("not a directory")
    return tmp_path


@pytest.fixture
async def cluster(closed_port: int) -> AsyncIterator[KubernetesCluster]:
    configuration = client.Configuration(host=f"http://127.0.0.1:{closed_port}")
    async with client.ApiClient(configuration) as api:
        yield KubernetesCluster(api, "default")


@asynccontextmanager
async def serving(
    database: Database,
    cluster: KubernetesCluster,
    roots: Path,
    embedder: StaticEmbedder,
    namespace: str = "default",
    removal: IndexRemoval | None = None,
) -> AsyncIterator[Server[Any]]:
    """A server for the jobs and indexes of a namespace."""
    policy = SourcePolicy.from_env(
        {"CODEBASE_ROOTS": json.dumps([{"path": str(roots)}]), "CODEBASE_GIT_HOSTS": "git.example.org"}
    )
    visible = VisibleIndexes.every(database, [namespace])
    jobs = JobService(policy, cluster, Jobs(database, [namespace]), Work(database))
    search = SearchService.from_database(database, lambda _: embedder, visible, policy)
    reading = ReadingService.from_database(database, visible)
    yield build_server(jobs, search, reading, Gate.of_owner(), removal)
    await jobs.close()
    search.close()


@pytest.fixture
async def server(
    database: Database, cluster: KubernetesCluster, roots: Path, embedder: StaticEmbedder
) -> AsyncIterator[Server[Any]]:
    async with serving(database, cluster, roots, embedder, cluster.namespace) as server:
        yield server


@pytest.fixture(scope="session")
def environment_of(closed_port: int, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., dict[str, str]]:
    """Return the environment of a server with this database, on a port of its own; nothing else is there."""

    def environment_of(
        dsn: str = f"postgresql://u:p@127.0.0.1:{closed_port}/x", root: Path | None = None
    ) -> dict[str, str]:
        folder = tmp_path_factory.mktemp("server")
        kubeconfig = folder / "kubeconfig"
        kubeconfig.write_text(json.dumps(KUBECONFIG).replace("{port}", str(closed_port)))
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("KUBERNETES_")}
        return {
            **inherited,
            "CODEBASE_DATABASE_URL": dsn,
            "CODEBASE_ROOTS": json.dumps([{"path": str(root or folder)}]),
            "CODEBASE_ALLOWED_HOSTS": "mcp.example.org",
            "CODEBASE_PORT": str(port),
            "CODEBASE_AUTH": "none",
            "KUBECONFIG": str(kubeconfig),
        }

    return environment_of


@pytest.fixture
def environment(environment_of: Callable[..., dict[str, str]], dsn: str, roots: Path) -> dict[str, str]:
    return environment_of(dsn, roots)


@pytest.fixture(scope="session")
def serving_http() -> Callable[[dict[str, str]], Any]:
    """Run the server with an environment: yields its address and its process once it answers."""
    return run_server


@pytest.fixture
async def url(environment: dict[str, str]) -> AsyncIterator[str]:
    async with run_server(environment) as (url, _):
        yield url


@pytest.fixture(params=["auto", "legacy"], ids=["2026-07-28", "2025-11-25"])
def era(request: pytest.FixtureRequest) -> str:
    """How the client speaks: the current protocol, or the one with sessions."""
    return str(request.param)


@pytest.fixture
def call(server: Server[Any], era: str) -> Call:
    """Call a tool as a client of either era does."""

    async def call(tool: str, **arguments: Any) -> CallToolResult:
        async with Client(server, mode=era) as mcp_client:
            return await mcp_client.call_tool(tool, arguments)

    return call


def text_of(result: CallToolResult) -> str:
    (block,) = result.content
    assert block.type == "text"
    return block.text


@pytest.fixture
def answered() -> Callable[[CallToolResult], dict[str, Any]]:
    """Return the structured content of an answer that is no error."""

    def answered(result: CallToolResult) -> dict[str, Any]:
        assert not result.is_error, text_of(result)
        assert isinstance(result.structured_content, dict)
        return result.structured_content

    return answered


@pytest.fixture
def refused() -> Callable[[CallToolResult], str]:
    """Return the text of an answer that is an error."""

    def refused(result: CallToolResult) -> str:
        assert result.is_error, text_of(result)
        return text_of(result)

    return refused


class Shop:
    """Puts jobs and indexes into the database, with the store's own methods: what the indexer does."""

    def __init__(self, database: Database, embedder: StaticEmbedder) -> None:
        self.jobs, self.work = Jobs(database), Work(database)
        self._indexes, self._chunks, self._embedder = Indexes(database), Chunks(database), embedder
        self._sweep = Sweep(database)

    async def pending(self, path: str = "/work/shop", namespace: str = "default", **spec: Any) -> UUID:
        meta = {"name": f"j-{uuid4().hex[:8]}", "namespace": namespace, "uid": str(uuid4()),
                "creationTimestamp": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"}  # fmt: skip
        job = IndexingJob.parse({"metadata": meta, "spec": {"source": {"path": path}, **spec}})
        await self.jobs.create(job)
        return UUID(job.metadata.uid)

    async def running(self, path: str = "/work/shop", percent: float = 42.7, **spec: Any) -> UUID:
        job_id = await self.pending(path, **spec)
        assert await self.jobs.fence(job_id, 1, failed=False, message="Starting")
        await self.jobs.claim(job_id, 1, "p1")
        await self.jobs.heartbeat(job_id, 1, Progress(Phase.EMBEDDING, percent, "Embedding", eta_seconds=90))
        return job_id

    async def failed(self, path: str = "/work/shop") -> UUID:
        job_id = await self.running(path)
        await self.fail(job_id)
        return job_id

    async def fail(self, job_id: UUID) -> None:
        await self.jobs.fail(job_id, 1, "CloneFailed", "the host does not answer; check the URL")

    async def indexing(
        self, files: dict[str, str], path: str = "/work/shop", more: Sequence[str] = (), **spec: Any
    ) -> tuple[JobRow, Writer]:
        """A running job that has stored these files, one chunk for each ten lines, and has `more` to do."""
        job_id = await self.running(path, percent=30, **spec)
        row, index_id = await self.opened(job_id)
        writer = Writer(job_id, 1, index_id, self._embedder.name, "test-1")
        listed = {**files, **dict.fromkeys(more, "")}
        await self.work.freeze(job_id, 1, [ScanEntry(name, len(text)) for name, text in listed.items()])
        await self.work.claim(job_id, 1, "p1", len(files))
        results = [self._indexed(i, *item) for i, item in enumerate(files.items())]
        terms = encode_texts([f"{r.path} {c.text}" for r in results for c in r.chunks])
        await self._chunks.commit_batch(writer, packed(results, terms))
        return row, writer

    async def opened(self, job_id: UUID) -> tuple[JobRow, int]:
        """A job's row, and the id of the index that it fills."""
        row = await self.jobs.get(job_id)
        return row, await self._indexes.ensure(row, self._embedder.name)

    async def completed(self, files: dict[str, str], path: str = "/work/shop", **spec: Any) -> UUID:
        row, writer = await self.indexing(files, path, **spec)
        await self.jobs.set_commit(row.id, 1, "c0ffee" * 6 + "beef")
        await self._sweep.remove(writer, await self._sweep.unseen(writer))
        await self._chunks.complete(writer, "Complete")
        return row.id

    def _indexed(self, seq: int, name: str, text: str) -> IndexedFile:
        lines = text.splitlines()
        language = detect(name, text.encode())
        places = split(text.encode(), language.grammar).definitions
        begun = [(d.first_line, Symbol(d.name, d.name.split(".")[-1], d.kind)) for d in Definitions(pack(places))]
        chunks = [
            Chunk(
                first + 1, first + len(part), None, "\n".join(part),
                defines=[symbol for line, symbol in begun if first < line <= first + len(part)],
            )
            for first in range(0, len(lines), 10)
            for part in [lines[first : first + 10]]
        ]  # fmt: skip
        vectors = self._embedder.embed_documents([c.text for c in chunks])
        return IndexedFile(
            seq, name, language.name, bytes(20), chunks, np.asarray(vectors, dtype=np.float32),
            definitions=places,
        )  # fmt: skip


@pytest.fixture
def shop(database: Database, embedder: StaticEmbedder) -> Shop:
    return Shop(database, embedder)
