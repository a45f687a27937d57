"""An ordinary user with an empty home has all of it: nothing needs root, and nothing is left behind."""

import json
import os
import pwd
import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.fixtures.generate_test_repo import generate

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="makes a user")

SCRIPT = """
import asyncio, json, sys
from codebase_embedded import instance
from codebase_embedded.settings import Settings
from hack.deployment.mcp_client import connect, finished

async def main():
    found = instance.ensure(Settings.from_env())
    async with connect(found.url.removesuffix("/mcp"), token=found.token()) as tools:
        job = await tools.call("start_indexing_background", repo_path=sys.argv[1])
        status = await finished(tools, job["job_id"], timeout=100)
        answer = await tools.call("search_code", query="class", repo=sys.argv[1])
    print(json.dumps({"status": status["status"], "data": found.data, "results": len(answer["results"])}))

asyncio.run(main())
instance.stop(Settings.from_env().data)
"""


@dataclass(frozen=True)
class User:
    name: str
    id: int
    home: Path

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        environment = {
            "HOME": str(self.home), "PATH": os.environ["PATH"], "LANG": "C.UTF-8",
            "PYTHONPATH": os.pathsep.join(path for path in sys.path if path), "PYTHONDONTWRITEBYTECODE": "1",
        }  # fmt: skip
        return subprocess.run(
            command, env=environment, cwd=self.home, user=self.id, group=self.id, extra_groups=[], text=True,
            capture_output=True, timeout=300, check=False,
        )  # fmt: skip


@pytest.fixture
def user() -> Iterator[User]:
    name = f"cb{uuid.uuid4().hex[:8]}"
    subprocess.run(["useradd", "--create-home", "--user-group", name], check=True)
    entry = pwd.getpwnam(name)
    yield User(name, entry.pw_uid, Path(entry.pw_dir))
    subprocess.run(["userdel", "--remove", name], check=True, capture_output=True)


@pytest.fixture
def python(user: User) -> str:
    """A Python of this version that the user may run: this one, or the system's."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for found in (sys.executable, shutil.which(version, path="/usr/bin:/usr/local/bin")):
        try:
            if found and user.run(found, "-c", "import asyncpg, mcp, codebase_embedded.instance").returncode == 0:
                return found
        except PermissionError:
            continue
    pytest.skip("no Python with our packages that another user may run")


def test_an_ordinary_user_indexes_and_searches(user: User, python: str) -> None:
    repository = user.home / "shop"
    generate(repository, file_count=20, avg_lines=50)
    subprocess.run(["chown", "-R", f"{user.id}:{user.id}", repository], check=True)
    done = user.run(python, "-c", SCRIPT, str(repository))
    assert done.returncode == 0, done.stderr[-2000:]
    told = json.loads(done.stdout)
    assert told == {
        "status": "completed",
        "data": f"{user.home}/.local/share/codebase-mcp",
        "results": told["results"],
    }
    assert told["results"] > 0
    left = subprocess.run(["pgrep", "-u", user.name, "-a"], capture_output=True, text=True, check=False)
    assert left.stdout == ""
