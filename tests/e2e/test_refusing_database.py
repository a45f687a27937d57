"""A database that answers and refuses: it is told everywhere, nothing restarts, and it passes once mended."""

import base64
import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from hack.deployment.chart import NAMESPACE, RELEASE
from hack.deployment.commands import CommandFailed, helm, kubectl, kubectl_json
from hack.deployment.mcp_client import connect, finished
from tests.support.kube import apply_job, job_status, query
from tests.support.waiting import PATIENCE, wait_for

pytestmark = pytest.mark.cluster

KUBELET_PATIENCE = 240
"""Seconds until a changed Secret is in the pods' files: the kubelet looks once a minute, from a cache."""


@dataclass
class Password:
    """The passwords of the programs' roles, in the database and in the Secret."""

    secret: str
    urls: dict[str, str]

    def rotate(self, password: str | None = None) -> None:
        """Change them in the database, or back, and end the connections that were made with the others."""
        for url in map(urlsplit, self.urls.values()):
            role, theirs = url.username, f"usename = '{url.username}'"
            query(f"ALTER ROLE {role} PASSWORD '{password or url.password}'")
            query(f"SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE {theirs}")

    def put_into_secret(self, password: str | None = None) -> None:
        data = {}
        for key, url in self.urls.items():
            own = urlsplit(url).password
            changed = url.replace(f":{own}@", f":{password or own}@")
            data[key] = base64.b64encode(changed.encode()).decode()
        kubectl("patch", "secret", "-n", NAMESPACE, self.secret, "--type=merge", "-p", json.dumps({"data": data}))


@pytest.fixture
def password(server_url: str) -> Iterator[Password]:
    secrets = kubectl_json("get", "secrets", "-n", NAMESPACE)["items"]
    (secret,) = [secret for secret in secrets if "url" in (secret.get("data") or {})]
    data = {key: base64.b64decode(value).decode() for key, value in secret["data"].items()}
    own = {key: url for key, url in data.items() if key.endswith("-url")} or {"url": data["url"]}
    password = Password(secret["metadata"]["name"], own)
    yield password
    password.put_into_secret()
    password.rotate()
    # A server that has not tried to connect since then still says that all is well.
    since = query("SELECT now()")
    made = f"""SELECT count(DISTINCT usename) FROM pg_stat_activity
               WHERE usename IN ('codebase_operator', 'codebase_server') AND backend_start > '{since}'"""
    wait_for(lambda: query(made) == "2", "both have connected with their own", patience=KUBELET_PATIENCE)
    wait_for(lambda: ready(server_url)["status"] == "ok", "all is well again")


def ready(url: str) -> dict[str, Any]:
    answer = httpx.get(f"{url}/readyz", timeout=10)
    assert answer.status_code == 200
    return dict(answer.json())


def restarts() -> dict[str, int]:
    """How often each container of the operator and the server was started again."""
    pods = kubectl_json("get", "pods", "-n", NAMESPACE, "-l", "app.kubernetes.io/component in (server,operator)")[
        "items"
    ]
    return {
        f"{pod['metadata']['name']}/{container['name']}": container["restartCount"]
        for pod in pods
        for container in pod["status"].get("containerStatuses", [])
    }


async def test_a_rotated_password_restarts_nothing_and_is_read_again(
    server_url: str, password: Password, small_repository: str
) -> None:
    before = restarts()
    password.rotate("rotated-by-the-test")
    wait_for(lambda: ready(server_url)["database"] == "misconfigured", "the server says that it is refused")
    assert "correct the password" in ready(server_url)["database_reason"]
    name = f"patient-{uuid.uuid4().hex[:8]}"
    job_id = apply_job(name, small_repository)
    wait_for(lambda: job_status(name).get("reason") == "DatabaseMisconfigured", "the job says so, too")
    # It waits for a minute, which is also how long the kubelet takes to give up a container whose probes fail.
    with pytest.raises(CommandFailed):
        helm("test", RELEASE, "--namespace", NAMESPACE, "--timeout", "3m")
    kubectl("delete", "pod", "-n", NAMESPACE, f"{RELEASE}-test", "--ignore-not-found")
    assert restarts() == before
    password.put_into_secret("rotated-by-the-test")
    wait_for(lambda: ready(server_url)["status"] == "ok", "the new one was read", patience=KUBELET_PATIENCE)
    async with connect(server_url) as tools:
        assert (await finished(tools, job_id, timeout=PATIENCE))["status"] == "completed"
    assert restarts() == before
