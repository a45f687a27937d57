"""What each process of a job imports: a small job is mostly that, and who parses untrusted files needs little."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    ("program", "module", "why"),
    [
        ("codebase_indexer.pipeline.parser_process", "asyncpg", "it has no database"),
        ("codebase_indexer.pipeline.parser_process", "httpx", "it asks no service"),
        (
            "codebase_indexer.pipeline.parser_process",
            "chardetng_py",
            "few repositories have files that are not UTF-8",
        ),
        ("codebase_indexer.main", "httpx", "few jobs follow a redirect or ask an embedding service"),
        ("codebase_indexer.main", "codebase_index.embedding.static", "the parser processes have the model"),
    ],
)
def test_a_process_starts_without_what_it_may_never_need(program: str, module: str, why: str) -> None:
    code = f"import {program}, sys; print({module!r} in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.strip()
    assert found == "False", f"{program} imports {module}, though {why}"
