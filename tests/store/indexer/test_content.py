"""What a job does to the content of files, through real workers, to the last table: secrets and encodings."""

import pytest

from codebase_index.api.job import ExitCode, JobState
from codebase_indexer.content.skipping import Skip
from tests.fixtures import secrets
from tests.store.harness import WorkerHarness, make_tree, track

TOKEN = "ghp_" + secrets.of(secrets.ALL, 36)
PASSWORD = "pw" + secrets.of(secrets.ALL, 30)
KEY = secrets.private_key()


@pytest.fixture
def tree(harness: WorkerHarness) -> WorkerHarness:
    folder = harness.root / "tree"
    make_tree(folder, 12)
    (folder / "client.py").write_text(f'def connect():\n    return login("{TOKEN}")\n')
    (folder / "tls.go").write_text(f"package tls\n\nconst key = `{KEY}`\n")
    (folder / f"dump-{TOKEN}.py").write_text("DUMP = 1\n")
    (folder / ".env").write_text(f"PASSWORD={PASSWORD}\n")
    (folder / "prod.yaml").write_text(f"kind: Config\nusers:\n- user:\n    token: {PASSWORD}\n")
    (folder / ".env.example").write_text("PASSWORD=\n")
    track(folder)
    return harness


async def stored(harness: WorkerHarness, text: str) -> set[str]:
    """The tables of which a row holds a text, in any column. Terms are in lower case."""
    tables = await harness.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    found = set()
    for table in (row["tablename"] for row in tables):
        (row,) = await harness.fetch(
            f"SELECT EXISTS (SELECT FROM {table} t WHERE strpos(lower(t::text), lower($1)) > 0) AS holds", text
        )
        if row["holds"]:
            found.add(table)
    return found


async def reasons(harness: WorkerHarness) -> dict[str, str]:
    rows = await harness.fetch("SELECT path, skip_reason FROM work WHERE state = 'skipped'")
    return {row["path"]: row["skip_reason"] for row in rows}


async def test_no_table_holds_a_secret_and_the_job_says_what_it_did(tree: WorkerHarness) -> None:
    code, row = await tree.run(await tree.job("tree"))
    assert (code, row.state) == (ExitCode.DONE, JobState.COMPLETED)
    assert await reasons(tree) == {
        ".env": Skip.SENSITIVE_NAME, "prod.yaml": Skip.SENSITIVE_CONTENT,
        "dump-[redacted: github-token].py": Skip.SENSITIVE_PATH,
    }  # fmt: skip
    for secret in (TOKEN, TOKEN.partition("_")[2], PASSWORD, *KEY.splitlines()[1:-1]):
        assert await stored(tree, secret) == set()
    assert (row.files_indexed, row.files_skipped, row.secrets_redacted) == (15, 3, 2)
    assert "2 secrets redacted" in row.message
    (chunk,) = await tree.fetch("SELECT text FROM chunks WHERE text LIKE '%connect%'")
    assert chunk["text"] == 'def connect():\n    return login("[redacted: github-token]")\n'


async def test_switching_a_setting_makes_the_index_anew(tree: WorkerHarness) -> None:
    _, first = await tree.run(await tree.job("tree"))
    _, again = await tree.run(await tree.job("tree"))
    assert (first.files_unchanged, again.files_unchanged) == (0, 15)
    tree.env = {"CODEBASE_REDACT_SECRETS": "false", "CODEBASE_SKIP_SECRET_FILES": "false"}
    _, off = await tree.run(await tree.job("tree"))
    assert (off.files_indexed, off.files_skipped, off.files_unchanged, off.secrets_redacted) == (18, 0, 0, 0)
    assert "chunks" in await stored(tree, TOKEN) and "chunks" in await stored(tree, PASSWORD)
    tree.env = {}
    _, on = await tree.run(await tree.job("tree"))
    assert (on.files_indexed, on.files_skipped, on.files_unchanged, on.secrets_redacted) == (15, 3, 0, 2)
    assert "3 deleted files removed" in on.message
    for secret in (TOKEN, PASSWORD, KEY.splitlines()[1]):
        assert not await stored(tree, secret) & {
            "chunks",
            "files",
            "embeddings",
            "embedding_cache",
            "work",
            "jobs",
        }


async def test_the_job_counts_what_was_decoded_from_other_encodings(harness: WorkerHarness) -> None:
    folder = harness.root / "tree"
    make_tree(folder, 5)
    (folder / "wide.py").write_bytes("\ufeff# größe\nx = 1\n".encode("utf-16-le"))
    (folder / "chinese.py").write_bytes("# 初始化配置文件\nx = 1\n".encode("gbk"))
    (folder / "dos.py").write_bytes("# Größe über\nx = 1\n".encode("cp437"))
    code, row = await harness.run(await harness.job("tree"))
    assert (code, row.files_indexed, row.files_skipped, row.files_transcoded) == (ExitCode.DONE, 7, 1, 2)
    assert await reasons(harness) == {"dos.py": Skip.UNDECODABLE}
    assert "2 decoded from other encodings than UTF-8" in row.message
    texts = {r["text"] for r in await harness.fetch("SELECT text FROM chunks WHERE text LIKE '# %'")}
    assert texts == {"# größe\nx = 1\n", "# 初始化配置文件\nx = 1\n"}
