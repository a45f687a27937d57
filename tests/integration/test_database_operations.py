"""What is done to the embedded database on a cluster: passwords replaced, dumps made and restored."""

import base64
import json
import secrets
import time
from urllib.parse import urlsplit

import pytest

from hack.deployment.chart import NAMESPACE, RELEASE
from hack.deployment.commands import helm, kubectl, kubectl_json
from hack.deployment.mcp_client import connect
from tests.support.kube import POSTGRES, query
from tests.support.waiting import wait_for

pytestmark = pytest.mark.cluster

SECRET = f"{RELEASE}-database"
KUBELET_PATIENCE = 240
"""Seconds until a changed Secret is in the pods' files: the kubelet looks once a minute, from a cache."""


def secret_values() -> dict[str, str]:
    data = kubectl_json("get", "secret", "-n", NAMESPACE, SECRET)["data"]
    return {key: base64.b64decode(value).decode() for key, value in data.items()}


def restarts() -> dict[str, int]:
    """How often each container was started again, by pod: a new pod is another key."""
    pods = kubectl_json(
        "get", "pods", "-n", NAMESPACE, "-l", "app.kubernetes.io/component in (server,operator,postgres)"
    )["items"]
    return {
        f"{pod['metadata']['name']}/{container['name']}": container["restartCount"]
        for pod in pods
        for container in pod["status"].get("containerStatuses", [])
    }


def test_no_release_holds_a_password() -> None:
    values = secret_values()
    for revision in json.loads(helm("history", RELEASE, "--namespace", NAMESPACE, "--output", "json")):
        manifest = helm("get", "all", RELEASE, "--namespace", NAMESPACE, "--revision", str(revision["revision"]))
        assert not [key for key, value in values.items() if key.endswith("password") and value in manifest]


def test_each_program_connects_as_a_role_of_its_own() -> None:
    roles = query(
        "SELECT DISTINCT usename FROM pg_stat_activity WHERE datname = 'codebase' AND application_name <> 'psql'"
    )
    assert {"codebase_operator", "codebase_server"} <= set(roles.split())


async def test_a_replaced_secret_is_taken_by_all_and_restarts_nothing(server_url: str) -> None:
    before, old = restarts(), secret_values()
    new = {}
    for prefix in ("operator-", "server-", "indexer-", ""):
        password, url = secrets.token_hex(16), urlsplit(old[f"{prefix}url"])
        new[f"{prefix}password"] = password
        new[f"{prefix}url"] = old[f"{prefix}url"].replace(f":{url.password}@", f":{password}@")

    def given() -> list[int]:
        """How often its log says of each role that it was given a password."""
        log = kubectl("logs", "-n", NAMESPACE, POSTGRES, "-c", "postgres", "--tail=-1")
        return [log.count(f"role {role} has the password") for role in ("codebase", "codebase_server")]

    known = given()
    patch = json.dumps({"stringData": new})
    kubectl("patch", "secret", "-n", NAMESPACE, SECRET, "--type=merge", "-p", patch)
    started = time.monotonic()

    def taken() -> bool:
        return all(now > before for now, before in zip(given(), known, strict=True))

    wait_for(taken, "Postgres has given the roles their new passwords", patience=KUBELET_PATIENCE)
    ended = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename LIKE 'codebase%'"
    query(ended)  # all connect anew

    def connected() -> bool:
        roles = query("SELECT DISTINCT usename FROM pg_stat_activity WHERE datname = 'codebase'").split()
        return {"codebase_operator", "codebase_server"} <= set(roles)

    async with connect(server_url) as tools:
        wait_for(connected, f"all connect with the new ones, {time.monotonic() - started:.0f} s", patience=240)
        await tools.call("list_repositories")
    assert restarts() == before
    assert query("SHOW log_parameter_max_length") == "0"


def test_a_dump_of_the_backup_script_is_restored() -> None:
    """As the README says it: programs stopped, dumped, restored, started; what was indexed is found."""
    look = "SELECT count(*), coalesce(sum(chunks), 0) FROM files"
    run = ("exec", "-n", NAMESPACE, POSTGRES, "-c", "postgres", "--")
    ours = f"app.kubernetes.io/instance={RELEASE}"
    deployments = kubectl_json("get", "deployments", "-n", NAMESPACE, "-l", ours)
    replicas = {item["metadata"]["name"]: item["spec"]["replicas"] for item in deployments["items"]}
    try:
        for name in replicas:
            kubectl("scale", "-n", NAMESPACE, f"deployment/{name}", "--replicas=0")
        before = query(look)
        folder = 'rm -rf "$PGDATA.b" && mkdir "$PGDATA.b"'
        backup = 'BACKUP_FOLDER="$PGDATA.b" PGUSER=postgres PGDATABASE=codebase backup.sh'
        kubectl(*run, "sh", "-c", f'{folder} && {backup} && cat "$PGDATA.b/"*.dump | restore.sh')
        kubectl(*run, "sh", "-c", 'rm -r "$PGDATA.b"')
        assert query(look) == before
        assert int(query("SELECT count(*) FROM pg_policies")) > 0
    finally:
        for name, number in replicas.items():
            kubectl("scale", "-n", NAMESPACE, f"deployment/{name}", f"--replicas={number}")
        for name in replicas:
            kubectl("rollout", "status", "-n", NAMESPACE, f"deployment/{name}", "--timeout=5m")
