"""The entrypoint of the image for Postgres, with programs in the place of Postgres' own that fail when asked."""

import os
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.packages import CHECKOUT
from tests.support.waiting import wait_for

ENTRYPOINT = CHECKOUT / "postgres_image" / "entrypoint.sh"


def program(folder: Path, name: str, script: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


@contextmanager
def started(folder: Path, **more: str) -> Iterator[Path]:
    """Run the entrypoint over a database that is there; yield its folder. `psql` ends with the code in `exit`."""
    data, programs = folder / "data", folder / "programs"
    for made in (data, programs):
        made.mkdir(exist_ok=True)
    (data / "PG_VERSION").write_text("17")
    look = f'ls -A "$PGDATA" {folder} >{folder}/found; echo >{folder}/started'
    program(programs, "postgres", f"{look}; exec sleep 600")
    program(programs, "pg_isready", "exit 0")
    program(programs, "psql", f'cat >>{folder}/asked; exit "$(cat {folder}/exit)"')
    environment = {
        "PATH": f"{programs}:/usr/bin:/bin", "PGDATA": str(data), "PGHOST": str(folder),
        "POSTGRES_PASSWORD": "it's", **more,
    }  # fmt: skip
    with subprocess.Popen(
        ["sh", ENTRYPOINT], env=environment, start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    ) as process:  # fmt: skip
        try:
            yield data
        finally:
            os.killpg(process.pid, signal.SIGKILL)


def test_a_password_that_postgres_did_not_take_is_set_later(tmp_path: Path) -> None:
    asked, code = tmp_path / "asked", tmp_path / "exit"
    code.write_text("2")  # as when all connections are taken, or its disk is full
    with started(tmp_path) as data:
        wait_for(lambda: asked.exists() and asked.read_text().count("PASSWORD 'it''s'") > 1, "it is tried again")
        applied = data.with_name("data.password")
        assert not applied.exists()
        code.write_text("0")
        wait_for(lambda: applied.exists() and applied.read_text(), "it is set")


def test_the_locks_of_a_killed_server_keep_no_other_from_starting(tmp_path: Path) -> None:
    (tmp_path / "exit").write_text("0")
    (tmp_path / "data").mkdir()
    locks = (tmp_path / "data" / "postmaster.pid", tmp_path / ".s.PGSQL.5432.lock")
    for lock in locks:
        lock.write_text(f"{os.getpid()}\n")  # of a process that lives and is no Postgres
    with started(tmp_path):
        wait_for((tmp_path / "started").exists, "Postgres is started")
    found = (tmp_path / "found").read_text().split()
    assert "PG_VERSION" in found and [lock.name for lock in locks if lock.name in found] == []


def test_the_roles_of_the_programs_are_there_all_at_once(tmp_path: Path) -> None:
    """The operator would give no rights to one that is made after it has looked."""
    asked, secret = tmp_path / "asked", tmp_path / "secret"
    (tmp_path / "exit").write_text("0")
    secret.mkdir()
    for name in ("password", "operator-password", "server-password", "indexer-password"):
        (secret / name).write_text("it's")
    with started(tmp_path, POSTGRES_PASSWORD_FILE=str(secret / "password")):
        wait_for(lambda: asked.exists() and "PASSWORD" in asked.read_text(), "Postgres is asked")
    transaction = asked.read_text().partition("COMMIT;")[0]
    made = re.findall(r"'CREATE ROLE (\w+) LOGIN'", transaction)
    assert transaction.startswith("BEGIN;")
    assert made == ["codebase", "codebase_operator", "codebase_server", "codebase_indexer"]
