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
    """The role's password, in the database and in the Secret."""

    secret: str
    url: str

    @property
    def role(self) -> str:
        return urlsplit(self.url).username or ""

    @property
    def original(self) -> str:
        return urlsplit(self.url).password or ""

    def rotate(self, password: str) -> None:
        """Change it in the database, and end the connections that were made with the other one."""
        query(f"ALTER ROLE {self.role} PASSWORD '{password}'")
        query(f"SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = '{self.role}'")

    def put_into_secret(self, password: str) -> None:
        url = self.url.replace(f":{self.original}@", f":{password}@")
        data = {"url": base64.b64encode(url.encode()).decode()}
        kubectl("patch", "secret", "-n", NAMESPACE, self.secret, "--type=merge", "-p", json.dumps({"data": data}))


@pytest.fixture
def password(server_url: str) -> Iterator[Password]:
    secrets = kubectl_json("get", "secrets", "-n", NAMESPACE)["items"]
    (secret,) = [secret for secret in secrets if "url" in (secret.get("data") or {})]
    password = Password(secret["metadata"]["name"], base64.b64decode(secret["data"]["url"]).decode())
    yield password
    password.rotate(password.original)
    password.put_into_secret(password.original)
    wait_for(lambda: ready(server_url)["status"] == "ok", "all is well again", patience=KUBELET_PATIENCE)


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
