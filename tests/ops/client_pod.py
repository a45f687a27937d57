"""A pod of the cluster that calls the server through its Service, as agents do, while a test changes something."""

import json
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hack.deployment.chart import NAMESPACE
from hack.deployment.commands import kubectl, kubectl_json
from tests.support.waiting import wait_for

_STOP = "/tmp/stop"
_URL = f"http://codebase-mcp-server.{NAMESPACE}.svc:8080/mcp"
_RESTRICTED = {
    "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]},
}  # fmt: skip

Calls = list[tuple[str, dict[str, Any]]]


@contextmanager
def calling(calls: Calls, rate: float, lanes: int = 10) -> Iterator[Callable[[], dict[str, int]]]:
    """Call these tools in turn, `rate` times a second, over so many connections.

    Yield what ends that and returns the outcomes, counted.
    """
    name = f"caller-{uuid.uuid4().hex[:8]}"
    kubectl("create", "-f", "-", stdin=json.dumps(_manifest(name, calls, rate, lanes)))

    def stop() -> dict[str, int]:
        kubectl("exec", "-n", NAMESPACE, name, "--", "touch", _STOP)
        wait_for(lambda: _phase(name) in ("Succeeded", "Failed"), "the client has ended")
        said = kubectl("logs", "-n", NAMESPACE, name)
        assert _phase(name) == "Succeeded", said
        return dict(json.loads(said.splitlines()[-1]))

    try:
        wait_for(lambda: _phase(name) == "Running", "the client runs")
        time.sleep(2)  # it has begun to call
        yield stop
    finally:
        kubectl("delete", "pod", "-n", NAMESPACE, name, "--grace-period=1")


def _phase(name: str) -> str:
    return str(kubectl_json("get", "pod", "-n", NAMESPACE, name)["status"]["phase"])


def _manifest(name: str, calls: Calls, rate: float, lanes: int) -> dict[str, Any]:
    """The server's image has all that is needed; the namespace enforces Pod Security restricted."""
    server = kubectl_json("get", "deployment", "-n", NAMESPACE, "codebase-mcp-server")
    (container,) = server["spec"]["template"]["spec"]["containers"]
    words = [word for tool, arguments in calls for word in (tool, json.dumps(arguments))]
    program = (Path(__file__).parent / "caller.py").read_text()
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "securityContext": {
                "runAsNonRoot": True, "runAsUser": 10001, "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [
                {
                    "name": "caller", "image": container["image"], "imagePullPolicy": container["imagePullPolicy"],
                    "command": ["python3", "-c", program, _URL, str(rate), str(lanes), _STOP, *words],
                    "securityContext": _RESTRICTED,
                    "resources": {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"memory": "256Mi"}},
                    "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
                }
            ],
            "volumes": [{"name": "tmp", "emptyDir": {}}],
        },
    }  # fmt: skip
