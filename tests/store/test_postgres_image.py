"""The image for Postgres, on real binaries: a first start, a rotated password, an end; a dump that is restored."""

import asyncio
import os
import pwd
import signal
import socket
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

import asyncpg
import pytest

from tests.support.postgres import open_programs, running
from tests.support.waiting import wait_for

IMAGE = Path(__file__).resolve().parents[2] / "postgres_image"
ENTRYPOINT = IMAGE / "entrypoint.sh"
FIRST, SECOND = "it's the first", "second; it's"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


async def query(port: int, password: str, sql: str, user: str = "codebase") -> object:
    connection = await asyncpg.connect(
        host="127.0.0.1", port=port, user=user, password=password, database="codebase"
    )
    try:
        return await connection.fetchval(sql)
    finally:
        await connection.close()


async def answered(port: int, password: str, sql: str, user: str = "codebase") -> object:
    """The answer, once the server takes this password."""
    async with asyncio.timeout(300):  # for a machine that is busy
        while True:
            try:
                return await query(port, password, sql, user)
            except (OSError, asyncpg.PostgresError):
                await asyncio.sleep(0.2)  # between two questions to another process


async def test_a_replaced_secret_is_the_password_without_a_restart() -> None:
    user = pwd.getpwnam("nobody").pw_uid if os.geteuid() == 0 else None
    programs, port = open_programs(), free_port()
    with TemporaryDirectory(prefix="codebase-image-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        (folder / "entrypoint.sh").write_text(ENTRYPOINT.read_text())
        secret = folder / "password"
        secret.write_text(FIRST)
        if user is not None:
            for path in (folder, secret):
                os.chown(path, user, -1)
        environment = {
            "PATH": f"{programs}:/usr/bin:/bin", "PGDATA": f"{name}/data", "PGHOST": name, "PGPORT": str(port),
            "LANG": "C.UTF-8", "POSTGRES_PASSWORD_FILE": str(secret),
        }  # fmt: skip
        with subprocess.Popen(  # noqa: ASYNC220 - at once, and only here
            ["sh", f"{name}/entrypoint.sh"], env=environment, cwd=name, user=user, start_new_session=True,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        ) as process:  # fmt: skip
            try:
                # What Postgres counts as its own, pg_dump would leave out.
                own = "SELECT oid < 16384 FROM pg_extension WHERE extname = 'vector'"
                assert await answered(port, FIRST, own) is False
                started = await query(port, FIRST, "SELECT pg_postmaster_start_time()")
                secret.write_text(SECOND)
                assert await answered(port, SECOND, "SELECT pg_postmaster_start_time()") == started
                # The Secret of the release after: a role for each program, on a server that runs.
                for program in ("operator", "server"):
                    new = secret.with_name(f"{program}-password")
                    new.write_text(FIRST)
                    if user is not None:
                        os.chown(new, user, -1)
                signals = "SELECT pg_has_role('pg_signal_backend', 'USAGE')"
                assert await answered(port, FIRST, signals, "codebase_operator") is False
                assert await answered(port, FIRST, signals, "codebase_server") is False
                assert await query(port, SECOND, signals) is True
                process.send_signal(signal.SIGTERM)
                wait_for(lambda: process.poll() is not None, "Postgres has ended")
                assert process.returncode == 0
            finally:
                os.killpg(process.pid, signal.SIGKILL)  # in a container, all processes end with the first


def test_a_dump_takes_the_place_of_the_database_as_a_whole_or_not_at_all(tmp_path: Path) -> None:
    with running() as address:
        environment = {
            "PATH": f"{open_programs()}:/usr/bin:/bin", "LANG": "C.UTF-8", "RESTORE_FOLDER": str(tmp_path),
            "PGHOST": address.rpartition("host=")[2], "PGUSER": "postgres",
        }  # fmt: skip

        def run(*command: str | Path, given: bytes = b"") -> bytes:
            done = subprocess.run(command, env=environment, input=given, capture_output=True, check=True)
            return bytes(done.stdout)

        def rows() -> bytes:
            return run("psql", "-tAc", "SELECT count(*) FROM numbers", "codebase").strip()

        restore = ("sh", IMAGE / "restore.sh")
        run(*restore, "--empty")
        run("psql", "-c", "CREATE TABLE numbers AS SELECT generate_series(1, 100000) AS number", "codebase")
        dump = run("pg_dump", "--format=custom", "codebase")
        run("psql", "-c", "DELETE FROM numbers WHERE number > 10", "codebase")
        with pytest.raises(subprocess.CalledProcessError) as broken:  # its table of contents is there
            run(*restore, given=dump[: len(dump) // 2])
        assert b"the database is as it was" in broken.value.stderr
        assert rows() == b"10"
        run(*restore, given=dump)
        assert rows() == b"100000"
        assert run("psql", "-tAc", "SELECT datname FROM pg_database WHERE datname LIKE 'codebase%'").split() == [
            b"codebase"
        ]
        assert not list(tmp_path.iterdir())
