"""What read_code shows is the file to the byte: real workers index it, a real client reads it page by page."""

from pathlib import Path
from typing import Any

import pytest
from mcp import Client
from mcp.server import Server

from codebase_index import untrusted_text
from codebase_index.embedding.static import StaticEmbedder
from codebase_index.store.database import Database
from codebase_mcp.jobs.kubernetes_cluster import KubernetesCluster
from tests.mcp.conftest import serving
from tests.store.harness import WorkerHarness

TOKEN = "ghp_" + "aB3dE5fG7hJ9kL1mN2pQ4rS6tU8vW0xY1zA2"

FILES: dict[str, bytes] = {
    "blank.py": b"\n\n" + b"a = 1\n" + b"\n" * 3000 + b"b = 2\n\n\n",
    "no_end.py": b"a = 1\n\n\n    b",
    "windows.c": b"int a;\r\n\r\n\r\nint b;\r\n" * 200,
    "form_feed.el": b"(a)\n\f\n(b)\n\x0b\n" * 200,
    "wide.md": ("Größe 日本語 \U0001f600 " * 9 + "\n\n").encode() * 300,
    "spaces.txt": b"x\n" + b" " * 4000 + b"\n\t\t\n" * 700 + b"y",
    "utf16.cs": "class Größe { }\r\n\r\n".encode("utf-16"),
    "latin.py": "# -*- coding: latin-1 -*-\n\n# Größe\n".encode("latin-1"),
    "mark.go": b"\xef\xbb\xbfpackage a\n\n\nfunc A() {}\n",
    "long.md": b"one paragraph of many words " * 200 + b"\n\nend\n",
}
DECODED = {
    "utf16.cs": FILES["utf16.cs"].decode("utf-16"),
    "latin.py": FILES["latin.py"].decode("latin-1"),
    "mark.go": FILES["mark.go"].decode("utf-8-sig"),
}


@pytest.fixture
def harness(database: Database, dsn: str, tmp_path: Path) -> WorkerHarness:
    root = tmp_path / "repositories"
    root.mkdir()
    return WorkerHarness(database, dsn, root)


async def read_whole(client: Client, path: str) -> str:
    text, line = "", 1
    while True:
        result = await client.call_tool("read_code", {"path": path, "start_line": line})
        assert not result.is_error, result.content
        answer: Any = result.structured_content
        text += "".join(part["text"] for part in answer["parts"])
        if "next_line" not in answer:
            return text
        line = answer["next_line"]


async def test_whole_files_are_read_to_the_byte(
    harness: WorkerHarness, database: Database, cluster: KubernetesCluster, embedder: StaticEmbedder, roots: Path
) -> None:
    files = FILES | {
        f"own/{path.name}": path.read_bytes() for path in Path(__file__).parents[2].glob("fixtures/*.py")
    }
    for name, data in files.items():
        path = harness.root / "shop" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    (harness.root / "shop" / "key.py").write_text(f'A = 1\n\n\nTOKEN = "{TOKEN}"\n\n')
    code, row = await harness.run(await harness.job("shop"))
    assert (code, row.files_skipped) == (0, 0)
    async with serving(database, cluster, roots, embedder, "code") as server, Client(server) as client:
        for name, data in files.items():
            text = DECODED.get(name) or data.decode()
            assert await read_whole(client, name) == untrusted_text.code(text), name
        redacted = 'A = 1\n\n\nTOKEN = "[redacted: github-token]"\n\n'
        assert await read_whole(client, "key.py") == redacted


async def test_characters_that_nobody_sees_are_shown_and_said(shop: Any, server: Server[Any]) -> None:
    await shop.completed({"a.py": "x = 1 # \u202e hidden"})
    async with Client(server) as client:
        result = await client.call_tool("read_code", {"path": "a.py"})
    answer: Any = result.structured_content
    assert answer["parts"][0]["text"] == r"x = 1 # \u202e hidden"
    assert "invisible" in answer["message"]
