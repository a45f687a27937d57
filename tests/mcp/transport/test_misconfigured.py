"""The server over a database that answers and refuses: probes stay green and say why, answers say what to do."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import httpx
import pytest
from aiohttp.test_utils import TestServer

from codebase_index.store.database import Database
from codebase_mcp.transport.answer_cache import CACHE_SECONDS
from tests.mcp.http_server import run_server as serving
from tests.operator.fake_api import FakeApi

TERMINATE = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = $1"
SMOKE_TEST = Path(__file__).resolve().parents[3] / "charts/codebase-mcp/files/smoke_test.py"


@pytest.fixture
async def role(postgres: str, dsn: str) -> AsyncIterator[str]:
    """A role that may do all in this test's database, for the server."""
    name = f"server_{uuid4().hex[:8]}"
    inside = await asyncpg.connect(dsn)
    await inside.execute(f"CREATE ROLE {name} LOGIN")
    await inside.execute(f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {name}")
    await inside.execute(f"GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO {name}")
    yield name
    await inside.execute(f"DROP OWNED BY {name}; DROP ROLE {name}")
    await inside.close()


@pytest.fixture
async def site(environment: dict[str, str], role: str, dsn: str, tmp_path: Path) -> AsyncIterator[dict[str, str]]:
    """A server's environment: a Kubernetes API that answers, and the address of the database in a file."""
    file = tmp_path / "url"
    file.write_text(dsn.replace("postgres:@", f"{role}@").replace("//postgres@", f"//{role}@"))
    assert role in file.read_text()
    async with TestServer(FakeApi().application()) as api:
        kubeconfig = json.loads(Path(environment["KUBECONFIG"]).read_text())
        kubeconfig["clusters"][0]["cluster"]["server"] = str(api.make_url("")).rstrip("/")
        Path(environment["KUBECONFIG"]).write_text(json.dumps(kubeconfig))
        rest = {name: value for name, value in environment.items() if name != "CODEBASE_DATABASE_URL"}
        yield {**rest, "CODEBASE_DATABASE_URL_FILE": str(file), "CODEBASE_NAMESPACE": "ns"}


async def smoke_test(url: str) -> tuple[int | None, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(SMOKE_TEST),
        url,
        "0",
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    return process.returncode, output.decode()


@pytest.mark.parametrize(
    ("broken", "mended", "state", "says"),
    [
        pytest.param("", "", "ok", "", id="nothing"),
        pytest.param(
            "ALTER ROLE {role} NOLOGIN", "ALTER ROLE {role} LOGIN", "misconfigured", "let this role log in",
            id="the role may not log in",
        ),
        pytest.param(
            "ALTER ROLE {role} SET default_transaction_read_only = on", "ALTER ROLE {role} RESET ALL",
            "read-only", "takes no writes", id="read-only",
        ),
        pytest.param(
            "REVOKE INSERT ON jobs FROM {role}", "GRANT INSERT ON jobs TO {role}",
            "misconfigured", "write the table jobs", id="a right withdrawn",
        ),
        pytest.param(
            "REVOKE ALL ON jobs FROM {role}", "GRANT ALL ON jobs TO {role}",
            "misconfigured", "table jobs", id="all rights withdrawn",
        ),
        pytest.param(
            "ALTER TABLE jobs RENAME TO gone", "ALTER TABLE gone RENAME TO jobs",
            "misconfigured", "its schema is missing", id="the table is missing",
        ),
        pytest.param(
            "ALTER ROLE {role} CONNECTION LIMIT 0", "ALTER ROLE {role} CONNECTION LIMIT -1",
            "away", "too many connections", id="too many connections",
        ),
    ],
)  # fmt: skip
async def test_probes_stay_green_and_say_why_the_smoke_test_fails_and_it_passes_by_itself(
    site: dict[str, str], database: Database, role: str, broken: str, mended: str, state: str, says: str
) -> None:
    async def do(sql: str) -> None:
        async with database.connection() as connection:
            if sql:
                await connection.execute(sql.format(role=role))

    async with serving(site) as (url, process), httpx.AsyncClient(base_url=url) as http:
        await do(broken)
        async with database.connection() as connection:  # what is set for a role counts when it connects
            await connection.execute(TERMINATE, role)
        for _ in range(2):  # the first finds its connections gone; none is an answer of before
            await asyncio.sleep(CACHE_SECONDS)
            answers = [await http.get(path) for path in ("/healthz", "/readyz")]
        for answer in answers:
            assert answer.status_code == 200
            assert answer.json()["database"] == state
            assert says in answer.json().get("database_reason", "")
        alive, ready = (answer.json() for answer in answers)
        assert (alive["status"], ready["status"]) == ("ok", "ok" if state == "ok" else "degraded")
        code, output = await smoke_test(url)
        assert code == (0 if state == "ok" else 1), output
        assert says in output
        await do(mended)
        for _ in range(150):
            if (await http.get("/readyz")).json()["status"] == "ok":
                break
            await asyncio.sleep(0.2)
        assert (await http.get("/readyz")).json() == {"status": "ok", "database": "ok", "kubernetes": "ok"}
        assert process.returncode is None


async def test_a_caller_is_told_what_has_to_be_mended(
    call: Any, refused: Callable[..., str], database: Database
) -> None:
    async with database.connection() as connection:
        await connection.execute("ALTER TABLE jobs RENAME TO gone")
    text = refused(await call("list_indexing_jobs"))
    assert text.startswith("unavailable: ") and "its schema is missing" in text
    assert text.endswith("trying again will not help before that is done")
    assert "look at the operator's log" in text
