"""A second release in a namespace is refused by helm, which asks the API server whose the lease is."""

import json
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.unit.chart.rendering import helm

CHART = Path(__file__).resolve().parents[3] / "charts" / "codebase-mcp"
GROUP = "coordination.k8s.io"
EXTENSIONS = "apiextensions.k8s.io"
APPS = "apps"
PLURAL = "customresourcedefinitions"
LEASES = f"/apis/{GROUP}/v1/namespaces/ns/leases"


def resources(group_version: str, name: str, kind: str, *, namespaced: bool = True) -> dict[str, Any]:
    listed = {"name": name, "singularName": kind.lower(), "namespaced": namespaced, "kind": kind, "verbs": ["get"]}
    return {"kind": "APIResourceList", "groupVersion": group_version, "resources": [listed]}


ANSWERS: dict[str, dict[str, Any]] = {
    "/version": {"major": "1", "minor": "34", "gitVersion": "v1.34.0"},
    "/api": {"kind": "APIVersions", "versions": ["v1"]},
    "/apis": {
        "kind": "APIGroupList", "apiVersion": "v1",
        "groups": [
            {"name": name, "versions": [{"groupVersion": f"{name}/v1", "version": "v1"}]}
            for name in (GROUP, EXTENSIONS, APPS)
        ],
    },
    "/api/v1": resources("v1", "secrets", "Secret"),
    f"/apis/{GROUP}/v1": resources(f"{GROUP}/v1", "leases", "Lease"),
    f"/apis/{EXTENSIONS}/v1": resources(f"{EXTENSIONS}/v1", PLURAL, "CustomResourceDefinition", namespaced=False),
    f"/apis/{EXTENSIONS}/v1/{PLURAL}/indexingjobs.indexing.codebase-mcp.io": {
        "kind": "CustomResourceDefinition", "apiVersion": f"{EXTENSIONS}/v1",
        "metadata": {"name": "indexingjobs.indexing.codebase-mcp.io", "annotations": {
            "meta.helm.sh/release-name": "first", "meta.helm.sh/release-namespace": "ns",
        }},
    },
    f"/apis/{APPS}/v1": resources(f"{APPS}/v1", "statefulsets", "StatefulSet"),
    f"/apis/{APPS}/v1/namespaces/ns/statefulsets/first-codebase-mcp-postgres": {
        "kind": "StatefulSet", "apiVersion": f"{APPS}/v1",
        "metadata": {"name": "first-codebase-mcp-postgres"},
        "spec": {"volumeClaimTemplates": [
            {"metadata": {"name": "data"}, "spec": {"resources": {"requests": {"storage": "7Gi"}}}},
        ]},
    },
    f"{LEASES}/codebase-mcp-operator": {
        "kind": "Lease", "apiVersion": f"{GROUP}/v1",
        "metadata": {"name": "codebase-mcp-operator", "annotations": {"meta.helm.sh/release-name": "first"}},
    },
}  # fmt: skip


class ApiServer(BaseHTTPRequestHandler):
    """As much of an API server as helm's `lookup` asks for."""

    def do_GET(self) -> None:
        found = ANSWERS.get(self.path.partition("?")[0])
        body = json.dumps(
            found or {"kind": "Status", "status": "Failure", "reason": "NotFound", "code": 404}
        ).encode()
        self.send_response(200 if found else 404)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def api() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), ApiServer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def template(api: str, release: str, namespace: str, *more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [helm(), "template", release, str(CHART), f"--namespace={namespace}", "--kube-version=1.34.0",
         f"--kube-apiserver={api}", "--dry-run=server", "--set=repositories.gitHosts={example.org}", *more],
        capture_output=True, text=True, timeout=60, check=False,
        env={"KUBECONFIG": "/dev/null", "HOME": "/nonexistent"},
    )  # fmt: skip


def test_another_size_leaves_the_claim_of_the_stateful_set_that_is_there_as_it_is(api: str) -> None:
    """Kubernetes refuses to change it, and helm would end half-way."""
    enlarged = "--set=postgres.storage.size=50Gi"
    assert "storage: 7Gi" in template(api, "first", "ns", enlarged).stdout
    assert "storage: 50Gi" in template(api, "first", "elsewhere", enlarged).stdout


@pytest.mark.parametrize(("release", "namespace", "refused"), [
    ("second", "ns", True), ("first", "ns", False), ("second", "elsewhere", False),
])  # fmt: skip
def test_a_namespace_has_one_release(api: str, release: str, namespace: str, refused: bool) -> None:
    done = template(api, release, namespace)
    says = "release first of codebase-mcp runs the jobs of namespace ns, which can have only one: upgrade"
    assert (done.returncode != 0) is refused, done.stderr
    # The definition stays with the release that made it; helm would end with "invalid ownership metadata".
    assert ("kind: CustomResourceDefinition" in done.stdout) == (release == "first")
    assert (says in done.stderr) is refused
