"""What `python3 -m hack.local_cluster status` prints ."""

import http.client
from typing import Any

from . import cleanup, kind, processes
from .api import Api
from .paths import State


def report(state: State) -> bool:
    """Print the cluster's condition in lines for people; returns whether all is well."""
    on_kind = kind.is_ours(state)
    if not (on_kind or cleanup.owner() == state):
        print("No cluster of this checkout runs. Start one with `make up`.")
        return False
    dead = [] if on_kind else _programs()
    try:
        api = Api(state.kubeconfig)
        version = api.request("GET", "/version")[1]["gitVersion"]
        ready = _nodes(api)
        waiting = _pods(api)
    except (OSError, ValueError, http.client.HTTPException) as error:
        print(f"API server  does not answer ({error}). `make up` starts what is missing.")
        return False
    print(f"Kubernetes  {version}")
    print(f"kubeconfig  {state.kubeconfig}")
    print(
        f"audit log   {state.audit_log}; logs of the programs: {state.logs if not on_kind else 'kind export logs'}"
    )
    return ready and not dead and not waiting


def _programs() -> list[str]:
    """Print which programs live; returns the names of those that do not."""
    pids = {name: processes.pid_of(name) for name in processes.known()}
    dead = [name for name, pid in pids.items() if pid is None]
    print(f"programs    {len(pids) - len(dead)} of {len(pids)} alive: {', '.join(sorted(set(pids) - set(dead)))}")
    if dead:
        print(f"            dead: {', '.join(dead)}. `make up` starts them again.")
    return dead


def _nodes(api: Api) -> bool:
    """Print a line for each node; returns whether there are some and all are Ready."""
    nodes = api.items("/api/v1/nodes")
    states = {node["metadata"]["name"]: _condition(node, "Ready") for node in nodes}
    for name, condition in states.items():
        well = condition.get("status") == "True"
        print(f"node        {name}: {'Ready' if well else 'not ready: ' + condition.get('message', 'unknown')}")
    return bool(states) and all(condition.get("status") == "True" for condition in states.values())


def _pods(api: Api) -> list[str]:
    """Print a line for each pod that is neither ready nor finished; returns their names."""
    pods = api.items("/api/v1/pods")
    waiting = [pod for pod in pods if not _is_well(pod)]
    print(f"pods        {len(pods) - len(waiting)} of {len(pods)} ready or finished")
    for pod in waiting:
        print(f"            {_pod_name(pod)}: {pod['status'].get('phase')}, {_why(pod)}")
    return [_pod_name(pod) for pod in waiting]


def _is_well(pod: dict[str, Any]) -> bool:
    phase = pod["status"].get("phase")
    return phase == "Succeeded" or (phase == "Running" and _condition(pod, "Ready").get("status") == "True")


def _why(pod: dict[str, Any]) -> str:
    states = [status["state"] for status in pod["status"].get("containerStatuses", [])]
    reasons = [detail.get("reason") for state in states for detail in state.values() if detail.get("reason")]
    return ", ".join(reasons) or _condition(pod, "PodScheduled").get("message") or "not ready yet"


def _pod_name(pod: dict[str, Any]) -> str:
    return f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"


def _condition(thing: dict[str, Any], kind: str) -> dict[str, Any]:
    conditions: list[dict[str, Any]] = thing["status"].get("conditions", [])
    return next((condition for condition in conditions if condition["type"] == kind), {})
