"""Real workers on a real Postgres: every file accounted for, whatever ends or interrupts them."""

import asyncio
import http.server
import json
import os
import random
import re
import shutil
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from codebase_index.api.job import ErrorType, ExitCode, JobState
from codebase_indexer.content.skipping import Skip
from codebase_indexer.source.scan import scan
from tests.store.database_link import connect_through_link
from tests.store.harness import CHECKOUT, SUPERVISOR, WorkerHarness, make_tree, track
from tests.support.packages import PACKAGES
from tests.unit.indexer.source.test_disk_space import Repository


@pytest.fixture
def own_code(harness: WorkerHarness) -> Path:
    """The programs of this project, as a plain folder that nobody changes meanwhile."""
    folder = harness.root / "own"
    skipped = shutil.ignore_patterns("__pycache__", "*.npy")
    for name in PACKAGES:
        shutil.copytree(CHECKOUT / name, folder / name, ignore=skipped)
    (folder / "binary.dat").write_bytes(b"\0\1\2")
    (folder / "empty.py").write_bytes(b"")
    return folder


async def test_every_file_is_indexed_or_skipped_with_a_reason(harness: WorkerHarness, own_code: Path) -> None:
    job = await harness.job("own")
    code, row = await harness.run(job)
    assert (code, row.state) == (ExitCode.DONE, JobState.COMPLETED)
    listed = {e.path for e in scan(own_code, boundary=own_code)}
    indexed = {r["path"] for r in await harness.fetch("SELECT path FROM files")}
    skipped = {
        r["path"]: r["skip_reason"] for r in await harness.fetch("SELECT * FROM work WHERE state = 'skipped'")
    }
    assert indexed | skipped.keys() == listed
    assert not indexed & skipped.keys()
    assert skipped["binary.dat"] == Skip.BINARY
    assert skipped["empty.py"] == Skip.EMPTY
    assert (row.files_total, row.files_indexed, row.files_skipped) == (len(listed), len(indexed), len(skipped))
    assert row.percent == 100
    assert row.message.startswith(f"Complete: {len(indexed):,} files indexed")
    assert row.files_repeated == 0


async def test_the_chunks_of_a_file_are_the_file(harness: WorkerHarness, own_code: Path) -> None:
    job = await harness.job("own")
    _, row = await harness.run(job)
    chunks = await harness.fetch("SELECT path, text FROM chunks c JOIN files f ON f.id = c.file_id ORDER BY c.id")
    assert len(chunks) == row.chunks_created
    texts: dict[str, str] = {}
    for chunk in chunks:
        texts[chunk["path"]] = texts.get(chunk["path"], "") + chunk["text"]
    for path, text in texts.items():
        assert text.strip() == (own_code / path).read_text().strip()
    # Each has a vector, of unit length.
    (odd,) = await harness.fetch(
        "SELECT count(*) FILTER (WHERE e.embedding IS NULL) AS missing,"
        " max(abs(1 - l2_norm(e.embedding))) AS worst FROM chunks c LEFT JOIN embeddings e ON e.chunk_id = c.id"
    )
    assert odd["missing"] == 0
    assert odd["worst"] < 0.01


async def test_the_messages_name_every_phase_and_progress_never_falls(
    harness: WorkerHarness, own_code: Path
) -> None:
    async with harness.database.connection() as connection:
        await connection.execute(
            "CREATE TABLE seen (id serial, phase text, percent real, message text);"
            "CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
            " INSERT INTO seen (phase, percent, message) VALUES (NEW.phase, NEW.percent, NEW.message);"
            " RETURN NULL; END $$;"
            "CREATE TRIGGER note AFTER UPDATE ON jobs FOR EACH ROW EXECUTE FUNCTION note()"
        )
    await harness.run(await harness.job("own"))
    seen = await harness.fetch("SELECT * FROM seen ORDER BY id")
    said = " ".join(row["message"].lower() for row in seen)
    assert all(word in said for word in ("scanning", "chunking", "embedding", "writing", "complete"))
    percents = [row["percent"] for row in seen]
    assert percents == sorted(percents)
    phases = list(dict.fromkeys(row["phase"] for row in seen if row["phase"]))
    assert phases == ["scanning", "embedding", "writing", "complete"]


async def test_indexing_again_writes_only_what_changed(harness: WorkerHarness) -> None:
    folder = harness.root / "tree"
    make_tree(folder, 40)
    first = await harness.job("tree")
    await harness.run(first)
    before = {r["path"]: r["id"] for r in await harness.fetch("SELECT path, min(c.id) AS id FROM chunks c"
              " JOIN files f ON f.id = c.file_id GROUP BY path")}  # fmt: skip
    (folder / "package_0" / "module_0.py").write_text("changed = True\n")
    (folder / "package_1" / "module_1.py").unlink()
    (folder / "new.py").write_text("new = True\n")
    code, row = await harness.run(await harness.job("tree"))
    after = {r["path"]: r["id"] for r in await harness.fetch("SELECT path, min(c.id) AS id FROM chunks c"
             " JOIN files f ON f.id = c.file_id GROUP BY path")}  # fmt: skip
    assert (code, row.files_indexed) == (ExitCode.DONE, 40)
    assert "1 deleted files removed" in row.message
    assert after.keys() == before.keys() - {"package_1/module_1.py"} | {"new.py"}
    kept = {path for path in after if before.get(path) == after[path]}
    assert kept == after.keys() - {"new.py", "package_0/module_0.py"}


async def test_what_git_knows_to_be_unmodified_is_not_read_again(harness: WorkerHarness) -> None:
    folder = harness.root / "tree"
    make_tree(folder, 30)
    track(folder)
    await harness.run(await harness.job("tree"))
    before = await harness.fetch("SELECT id, chunks FROM files ORDER BY id")
    (folder / "package_2" / "module_2.py").rename(folder / "moved.py")
    track(folder)
    code, row = await harness.run(await harness.job("tree"))
    assert (code, row.state) == (ExitCode.DONE, JobState.COMPLETED)
    assert (row.files_total, row.files_indexed, row.files_unchanged) == (30, 30, 30)
    assert row.chunks_created == sum(r["chunks"] for r in before)
    assert "(30 unchanged)" in row.message
    assert await harness.fetch("SELECT id, chunks FROM files ORDER BY id") == before


async def test_force_reindex_does_all_again(harness: WorkerHarness) -> None:
    make_tree(harness.root / "tree", 10)
    await harness.run(await harness.job("tree"))
    (before,) = await harness.fetch("SELECT max(id) AS last, count(*) AS count FROM chunks")
    await harness.run(await harness.job("tree", forceReindex=True))
    (after,) = await harness.fetch("SELECT min(id) AS first, count(*) AS count FROM chunks")
    assert after["first"] > before["last"]
    assert after["count"] == before["count"]


async def test_a_worker_killed_again_and_again_repeats_next_to_nothing(harness: WorkerHarness) -> None:
    make_tree(harness.root / "tree", 500)
    clean = await harness.job("tree", ref=None)
    await harness.run(clean)
    expected = await harness.index_of(clean)
    async with harness.database.connection() as connection:
        await connection.execute("DELETE FROM indexes")
    job = await harness.job("tree")
    supervisor = await harness.start(job, program=SUPERVISOR)
    kills = 3
    for kill in range(kills):
        # Each time after some more files are done, at any moment between two commits.
        await harness.until(job, lambda row, least=kill * 120 + 50: row.files_indexed >= least)  # type: ignore[misc]
        await asyncio.sleep(random.uniform(0, 0.05))
        os.kill(_child_of(supervisor.pid), signal.SIGKILL)
    assert await asyncio.wait_for(supervisor.wait(), 120) == 0
    row = await harness.row(job)
    assert (row.state, row.files_indexed) == (JobState.COMPLETED, 500)
    assert row.files_repeated < 0.01 * 500 + kills
    assert await harness.index_of(job) == expected
    assert row.chunks_created == len(expected)


def _child_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])


async def test_cancel_stops_the_worker_and_nothing_is_written_after_it(harness: WorkerHarness) -> None:
    make_tree(harness.root / "tree", 500)
    job = await harness.job("tree")
    process = await harness.start(job)
    await harness.until(job, lambda row: row.files_indexed > 20)
    cancelled = await harness.jobs.cancel(UUID(job.metadata.uid))
    (then,) = await harness.fetch("SELECT (SELECT count(*) FROM files), (SELECT count(*) FROM chunks)")
    assert await asyncio.wait_for(process.wait(), 30) == ExitCode.FENCED
    (now,) = await harness.fetch("SELECT (SELECT count(*) FROM files), (SELECT count(*) FROM chunks)")
    assert tuple(now) == tuple(then)
    row = await harness.row(job)
    assert (row.state, row.files_indexed) == (JobState.CANCELLED, cancelled.files_indexed)


async def test_sigterm_gives_back_what_was_in_flight(harness: WorkerHarness) -> None:
    make_tree(harness.root / "tree", 500)
    job = await harness.job("tree")
    process = await harness.start(job)
    await harness.until(job, lambda row: row.files_indexed > 20)
    process.send_signal(signal.SIGTERM)
    assert await asyncio.wait_for(process.wait(), 30) == ExitCode.STOPPED
    held = await harness.fetch("SELECT seq FROM work WHERE state = 'todo' AND claimed_by IS NOT NULL")
    assert held == []
    (harness.root / "tree" / "late.py").write_text("late = True\n")
    code, row = await harness.run(job, attempt=2)
    # The frozen list stands: what came later is the next job's.
    assert (code, row.state, row.files_total, row.files_indexed) == (ExitCode.DONE, JobState.COMPLETED, 500, 500)


async def test_nothing_is_lost_while_the_database_is_away(harness: WorkerHarness, tmp_path: Path) -> None:
    make_tree(harness.root / "tree", 400)
    link = await connect_through_link(harness, tmp_path)
    job = await harness.job("tree")
    process = await harness.start(job)
    for least in (50, 250):
        await harness.until(job, lambda row, least=least: row.files_indexed >= least)  # type: ignore[misc]
        await link.cut()
        await asyncio.sleep(0.7)
        assert process.returncode is None
        await link.restore()
    assert await asyncio.wait_for(process.wait(), 120) == ExitCode.DONE
    await link.cut()
    row = await harness.row(job)
    assert (row.state, row.files_indexed) == (JobState.COMPLETED, 400)
    (count,) = await harness.fetch("SELECT count(*) AS chunks, count(DISTINCT file_id) AS files FROM chunks")
    assert (count["chunks"], count["files"]) == (row.chunks_created, 400)


class _Ollama(http.server.BaseHTTPRequestHandler):
    """Answers as Ollama's /api/embed does, when it is up."""

    up = False

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if not _Ollama.up:
            self.send_error(503, "loading the model")
            return
        answer = {"embeddings": [[float(len(text)), 1.0, 2.0] for text in request["input"]]}
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def ollama() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Ollama)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    _Ollama.up = False
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


async def test_a_job_waits_for_its_embedding_service_and_goes_on_by_itself(
    harness: WorkerHarness, ollama: str
) -> None:
    make_tree(harness.root / "tree", 5)
    harness.env = {"OLLAMA_URL": ollama}
    job = await harness.job("tree", embedding={"provider": "ollama", "model": "all-minilm"})
    process = await harness.start(job)
    blocked = await harness.until(job, lambda row: row.state is JobState.BLOCKED)
    assert re.match(r"Waiting for the embedding service since \d\d:\d\d:\d\d UTC: ", blocked.message)
    assert blocked.blocked_since is not None
    first = blocked.heartbeat_at
    assert first is not None
    later = await harness.until(job, lambda row: row.heartbeat_at is not None and row.heartbeat_at > first)
    assert later.message == blocked.message  # the heartbeat keeps the reason
    _Ollama.up = True
    assert await asyncio.wait_for(process.wait(), 60) == ExitCode.DONE
    row = await harness.row(job)
    assert (row.state, row.files_indexed, row.blocked_since) == (JobState.COMPLETED, 5, None)
    (model,) = await harness.fetch("SELECT DISTINCT model, vector_dims(embedding) AS dims FROM embeddings")
    assert tuple(model) == ("ollama/all-minilm", 3)


@pytest.mark.parametrize(
    "embedding", [None, {"provider": "ollama", "model": "all-minilm"}], ids=["static", "remote"]
)
async def test_a_file_that_ends_its_process_costs_its_batch_nothing_else(
    embedding: dict[str, str] | None, harness: WorkerHarness, ollama: str, tmp_path: Path
) -> None:
    _Ollama.up = True
    make_tree(harness.root / "tree", 700)
    killers = {f"package_{number}/killer.py" for number in range(0, 15, 5)}
    for path in killers:
        (harness.root / "tree" / path).write_text("# END THE PROCESS\n")
    # Python runs this at the start of every process: the parser now has a fault that a real one may have. Batches
    # of one file would hide what becomes of the others.
    (tmp_path / "fault").mkdir()
    (tmp_path / "fault" / "sitecustomize.py").write_text(
        "import os\n"
        "from codebase_indexer import main\n"
        "from codebase_indexer.pipeline import files, pipeline\n"
        "real = files.split\n"
        "files.split = lambda data, grammar: os.abort() if b'END THE PROCESS' in data else real(data, grammar)\n"
        "main.plan_concurrency = lambda *_: pipeline.Concurrency(lanes=3, batch_files=32)\n"
    )
    path = os.pathsep.join([str(tmp_path / "fault"), os.environ.get("PYTHONPATH", "")])
    harness.env = {"PYTHONPATH": path, "OLLAMA_URL": ollama}
    job = await harness.job("tree", **({"embedding": embedding} if embedding else {}))
    code, row = await harness.run(job)
    assert (code, row.state, row.files_indexed, row.files_skipped) == (ExitCode.DONE, JobState.COMPLETED, 700, 3)
    skipped = await harness.fetch("SELECT path, skip_reason FROM work WHERE state = 'skipped'")
    assert {tuple(row) for row in skipped} == {(path, Skip.CRASHED) for path in killers}
    assert len(await harness.index_of(job)) == row.chunks_created
    (packed,) = await harness.fetch("SELECT sum(chunks) AS chunks FROM segments")
    assert packed["chunks"] == row.chunks_created
    assert row.attempt == 1 and row.files_repeated == 0


async def test_a_site_that_requires_the_sandbox_ends_a_job_where_it_is_not_to_be_had(
    harness: WorkerHarness, tmp_path: Path
) -> None:
    make_tree(harness.root / "tree", 3)
    (tmp_path / "kernel").mkdir()
    (tmp_path / "kernel" / "sitecustomize.py").write_text(
        "from codebase_indexer.confinement import landlock\nlandlock._CREATE_RULESET = 9999\n"  # no kernel has it
    )
    path = os.pathsep.join([str(tmp_path / "kernel"), os.environ.get("PYTHONPATH", "")])
    harness.env = {"PYTHONPATH": path, "CODEBASE_REQUIRE_SANDBOX": "true"}
    code, row = await harness.run(await harness.job("tree"))
    assert (code, row.state, row.error_type) == (ExitCode.FAILED, JobState.FAILED, ErrorType.SANDBOX_UNAVAILABLE)
    assert "Landlock: the kernel does not have it" in (row.error_message or "")
    assert row.files_indexed == 0


@pytest.mark.parametrize(
    ("folder", "spec", "error", "message"),
    [
        pytest.param("gone", {}, ErrorType.SOURCE_NOT_FOUND, "not found", id="no such folder"),
        pytest.param("file", {}, ErrorType.SOURCE_REFUSED, "is not a directory", id="a file"),
        pytest.param("../etc", {}, ErrorType.SOURCE_REFUSED, "'..'", id="outside of the root"),
        pytest.param("empty", {}, ErrorType.EMPTY_REPOSITORY, "it has no files", id="no files"),
        pytest.param(
            "useless", {}, ErrorType.EMPTY_REPOSITORY, "2 files were skipped (1 binary, 1 empty)", id="no code"
        ),
        pytest.param(
            "tree", {"ref": "main"}, ErrorType.CLONE_FAILED, "not a git repository", id="a ref of no repository"
        ),
        pytest.param(
            "tree",
            {"embedding": {"provider": "static", "model": "nope"}},
            ErrorType.EMBEDDING_REFUSED,
            "nope",
            id="no model",
        ),
    ],
)
async def test_what_can_not_be_indexed_fails_with_a_reason(
    folder: str, spec: dict[str, Any], error: ErrorType, message: str, harness: WorkerHarness
) -> None:
    make_tree(harness.root / "tree", 1)
    (harness.root / "empty").mkdir()
    (harness.root / "useless").mkdir()
    (harness.root / "useless" / "a.png").write_bytes(b"\x89PNG\0")
    (harness.root / "useless" / "b.py").write_bytes(b"")
    (harness.root / "file").write_text("x")
    code, row = await harness.run(await harness.job(folder, **spec))
    assert (code, row.state, row.error_type) == (ExitCode.FAILED, JobState.FAILED, error.value)
    assert message in (row.error_message or "")


async def test_a_folder_that_may_not_be_read_is_an_error_of_its_own(
    harness: WorkerHarness, tmp_path: Path
) -> None:
    link = await connect_through_link(
        harness, tmp_path
    )  # without its capabilities root can not reach Postgres either
    make_tree(harness.root / "tree", 1)
    (harness.root / "tree").chmod(0)
    if os.getuid() == 0:  # root may read anything, unless it gave that capability away
        harness.prefix = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"]
    code, row = await harness.run(await harness.job("tree"))
    (harness.root / "tree").chmod(0o755)
    await link.cut()
    assert (code, row.error_type) == (ExitCode.FAILED, ErrorType.SOURCE_UNREADABLE.value)
    assert "chmod" in (row.error_message or "")


async def test_a_full_disk_ends_the_job_and_says_what_to_do(harness: WorkerHarness) -> None:
    make_tree(harness.root / "tree", 60)
    async with harness.database.connection() as connection:
        # The error that Postgres itself raises when its volume has no room left.
        await connection.execute(
            "CREATE FUNCTION no_room() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
            " IF (SELECT count(*) FROM files) > 20 THEN RAISE EXCEPTION 'could not extend file'"
            " USING ERRCODE = 'disk_full'; END IF; RETURN NEW; END $$;"
            "CREATE TRIGGER no_room BEFORE INSERT ON chunks FOR EACH ROW EXECUTE FUNCTION no_room()"
        )
    code, row = await harness.run(await harness.job("tree"))
    assert (code, row.state) == (ExitCode.FAILED, JobState.FAILED)
    assert row.error_type == ErrorType.INSUFFICIENT_STORAGE.value
    assert "enlarge the database's volume" in (row.error_message or "")
    assert row.files_indexed == 20  # what was committed before is kept


async def test_an_attempt_that_was_replaced_before_it_began_changes_nothing(harness: WorkerHarness) -> None:
    make_tree(harness.root / "tree", 3)
    job = await harness.job("tree")
    assert await harness.jobs.fence(UUID(job.metadata.uid), 1, failed=False, message="Starting")
    job_id = UUID(job.metadata.uid)
    await harness.jobs.claim(job_id, 1, "another-pod")
    before = await harness.row(job)
    code, row = await harness.run(job)
    assert code == ExitCode.FENCED
    assert row == before


async def test_a_checkout_that_does_not_fit_ends_the_job_at_once_and_leaves_nothing(
    harness: WorkerHarness, tmp_path: Path
) -> None:
    """A small repository whose checkout is twenty times the volume for clones."""
    repository = Repository(harness.root)
    blob = repository.blob(bytes(2**20))
    repository.commit(repository.tree({f"z{number}.bin": f"blob {blob}" for number in range(200)}))
    (tmp_path / "work").mkdir()
    harness.env = {"CODEBASE_WORK_BYTES": str(10 * 2**20), "TMPDIR": str(tmp_path / "work")}
    code, row = await harness.run(await harness.job("bare.git"))
    assert (code, row.error_type) == (ExitCode.FAILED, ErrorType.REPOSITORY_TOO_LARGE.value)
    assert "takes 200.0 MiB in 200 files, and there is room for 9.0 MiB" in (row.error_message or "")
    assert list((tmp_path / "work").glob("job-*")) == []
