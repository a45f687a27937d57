"""The program itself as a process, with static tokens, a Kubernetes API of the test's own, and secrets to find."""

import hashlib
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from tests.mcp.attacks.rows import EXPIRED, HOST, ROOT, TOKEN, make_folders
from tests.mcp.http_server import KUBECONFIG, run_server
from tests.mcp.identity.api_server import ApiServer

DATABASE_PASSWORD: Final = "the-password-of-the-database"
API_TOKEN: Final = "the-token-of-the-server-at-the-kubernetes-api"
SECRETS: Final = (
    TOKEN, EXPIRED, DATABASE_PASSWORD, API_TOKEN, hashlib.sha256(TOKEN.encode()).hexdigest(), "root:x:0",
)  # fmt: skip
"""What no answer and no line of the log may hold; the last is the beginning of /etc/passwd."""

FAULTS: Final = ("Traceback", "internal error", "Internal Server Error", 'File "/')
"""What an answer has that tells of the inside of a server."""


@dataclass(frozen=True)
class Attacked:
    """A server that is attacked, and what tells whether an attack has done something."""

    url: str
    api: ApiServer
    log: Path

    def left_in_log(self) -> list[str]:
        """Return the secrets and faults that the log has."""
        written = self.log.read_text(errors="replace")
        return [text for text in (*SECRETS, "Traceback", "crashed") if text in written]


def found_in(answer: str) -> list[str]:
    """Return the secrets and faults that an answer has."""
    return [text for text in (*SECRETS, *FAULTS) if text in answer]


@pytest.fixture
async def attacked(
    environment_of: Callable[..., dict[str, str]], dsn: str, shop: Any, tmp_path: Path
) -> AsyncIterator[Attacked]:
    await shop.completed({f"till{n or ''}.py": f"def till_{n}():\n    return {n}" for n in range(9)})
    mount, tokens, kubeconfig = tmp_path / "mount", tmp_path / "tokens.yaml", tmp_path / "kubeconfig"
    mount.mkdir()
    make_folders(mount)
    entries = [
        {"name": "attacker", "sha256": hashlib.sha256(TOKEN.encode()).hexdigest(), "role": "owner"},
        {"name": "gone", "sha256": hashlib.sha256(EXPIRED.encode()).hexdigest(), "role": "owner",
         "expires": "2020-01-01T00:00:00Z"},
    ]  # fmt: skip
    tokens.write_text(yaml.safe_dump({"tokens": entries}))
    async with ApiServer().serving() as api:
        user = {"name": "x", "user": {"token": API_TOKEN}}
        known = json.dumps({**KUBECONFIG, "users": [user]}).replace("http://127.0.0.1:{port}", api.url)
        kubeconfig.write_text(known)
        environment = environment_of(f"{dsn}&password={DATABASE_PASSWORD}", mount) | {
            "CODEBASE_AUTH": "tokens", "CODEBASE_TOKENS_FILE": str(tokens), "KUBECONFIG": str(kubeconfig),
            "CODEBASE_ROOTS": json.dumps([{"path": ROOT, "mount": str(mount)}]), "CODEBASE_GIT_HOSTS": HOST,
            "CODEBASE_ALLOW_DELETION": "true", "CODEBASE_LOG_LEVEL": "DEBUG",
        }  # fmt: skip
        log = tmp_path / "log"
        async with run_server(environment, log) as (url, _):
            yield Attacked(url, api, log)
