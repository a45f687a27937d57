"""One instance a folder: it is found, joined, replaced and ended, and is its owner's alone."""

import json
import os
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import httpx
import psutil
import pytest

from codebase_embedded import instance as embedded
from codebase_embedded.instance import Instance, InstanceFailed
from codebase_embedded.settings import Settings
from hack.deployment.mcp_client import finished
from tests.support.embedded import EmbeddedRuntime, command_of, running, settings_for
from tests.support.waiting import PATIENCE, wait_for

MAX_BYTES_AT_REST = 250_000_000


@pytest.fixture
def settings(own_data_folder: Path, repositories: Path) -> Settings:
    return settings_for(own_data_folder, repositories)


def test_nothing_runs_in_a_new_folder(settings: Settings) -> None:
    assert embedded.find(settings.data) is None
    assert embedded.stop(settings.data) is False


def test_two_starts_at_once_are_one_instance(settings: Settings) -> None:
    with ThreadPoolExecutor(2) as pool, running(settings):
        first, second = pool.map(embedded.ensure, [settings, settings])
        assert first == second == embedded.find(settings.data)


def test_an_instance_ends_with_all_that_it_started_and_goes_on_under_its_address(settings: Settings) -> None:
    with running(settings) as runtime:
        first = runtime.instance()
        everything = runtime.processes()
        assert len(everything) >= 3
        assert embedded.stop(settings.data) is True
        assert embedded.find(settings.data) is None
        assert [command_of(process) for process in everything if process.alive()] == []
        second = runtime.instance()
        assert (second.url, second.token()) == (first.url, first.token())
        assert second.process != first.process


def test_an_instance_of_another_version_is_replaced(settings: Settings) -> None:
    with running(settings) as runtime:
        old = runtime.instance()
        replace(old, version="0.0.1").write()
        new = embedded.ensure(settings)
        assert new.process != old.process and new.version == old.version


def test_a_state_file_that_was_left_behind_names_no_instance(settings: Settings) -> None:
    settings.data.mkdir(exist_ok=True)
    own = psutil.Process()
    Instance(str(settings.data), own.pid, "boot-1", "0.1.0", "127.0.0.1", 1, (), True).write()
    assert embedded.find(settings.data) is None


def test_an_instance_in_the_background_ends_when_nobody_uses_it(own_data_folder: Path, repositories: Path) -> None:
    settings = settings_for(own_data_folder, repositories, idle_seconds=10)
    with running(settings) as runtime:
        instance = runtime.instance()
        wait_for(lambda: not instance.process.alive(), "it has ended by itself", 60)


def test_a_start_that_fails_says_why(own_data_folder: Path, repositories: Path) -> None:
    settings = settings_for(own_data_folder, repositories)
    (own_data_folder / "postgres").mkdir(parents=True)
    (own_data_folder / "postgres" / "PG_VERSION").write_text("16\n")
    with pytest.raises(InstanceFailed, match="was made by Postgres 16, and this package brings 18"):
        embedded.ensure(settings)


def test_the_endpoint_asks_for_the_token(embedded_runtime: EmbeddedRuntime) -> None:
    instance = embedded_runtime.instance()
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Basic {instance.token()}"}):
        answer = httpx.post(instance.url, headers=headers, json={})
        assert answer.status_code == 401
        assert answer.headers["WWW-Authenticate"].startswith('Bearer realm="codebase-mcp"')
    assert httpx.post(instance.url, headers=_bearer(instance), json={}).status_code != 401


def _bearer(instance: Instance) -> dict[str, str]:
    return {"Authorization": f"Bearer {instance.token()}"}


def test_files_are_for_the_owner_alone(embedded_runtime: EmbeddedRuntime) -> None:
    folder = embedded_runtime.instance().folder
    for file in (folder.token, folder.database_url, folder.instance, folder.root / "database-password"):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file
    assert stat.S_IMODE(folder.socket.stat().st_mode) == 0o600
    for inner in (folder.logs, folder.pods):
        assert stat.S_IMODE(inner.stat().st_mode) == 0o700, inner
    passage = 0o711 if os.geteuid() == 0 else 0o700
    assert stat.S_IMODE(folder.root.stat().st_mode) == passage


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user")
def test_another_user_can_neither_read_nor_connect(embedded_runtime: EmbeddedRuntime) -> None:
    instance = embedded_runtime.instance()
    script = f"""
import json, os, socket
os.setgroups([]); os.setgid(65533); os.setuid(65533)
refused = []
for file in {[str(f) for f in (instance.token_file, instance.database_url_file, instance.folder.instance)]}:
    try: open(file)
    except PermissionError: refused.append(file)
try: socket.socket(socket.AF_UNIX).connect({str(instance.socket)!r})
except PermissionError: refused.append("socket")
try: socket.socket(socket.AF_UNIX).connect({str(instance.folder.postgres_socket / ".s.PGSQL.5432")!r})
except PermissionError: refused.append("Postgres")
for folder in {[str(instance.folder.root), str(instance.folder.postgres)]}:
    try: os.listdir(folder)
    except PermissionError: refused.append(folder)
print(json.dumps(refused))
"""
    answer = subprocess.run([sys.executable, "-I", "-c", script], capture_output=True, text=True, check=True)
    assert len(json.loads(answer.stdout)) == 7


async def test_an_instance_at_rest_is_small(
    own_data_folder: Path, repositories: Path, small_repository: str
) -> None:
    """One of its own: Postgres keeps pages that it has read, up to its shared buffers, and others read many."""
    with running(settings_for(own_data_folder, repositories)) as runtime:
        async with runtime.connect() as tools:
            job = await tools.call("start_indexing_background", repo_path=small_repository)
            assert (await finished(tools, job["job_id"], timeout=PATIENCE))["status"] == "completed"
            assert (await tools.call("search_code", query="class", repo=small_repository))["results"]
        claim = f"all its processes together are below {MAX_BYTES_AT_REST / 1e6:.0f} MB"
        wait_for(lambda: sum(memory_of(runtime).values()) < MAX_BYTES_AT_REST, claim, patience=30, every=1)
        print("\n" + "\n".join(f"{size / 1e6:6.1f} MB {name}" for name, size in memory_of(runtime).items()))


def memory_of(runtime: EmbeddedRuntime) -> dict[str, int]:
    """The memory of each process of an instance, in bytes: of what several share, each has its part."""
    shares = {}
    for process in {runtime.service("manager"), *runtime.processes()}:
        with suppress(psutil.NoSuchProcess):
            found = psutil.Process(process.pid)
            memory = found.memory_full_info()
            shares[f"{process.pid} {' '.join(found.cmdline())[-40:]}"] = getattr(memory, "pss", memory.uss)
    return shares
