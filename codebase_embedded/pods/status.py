"""What is said of a pod, in the API's shape: `codebase_operator.model.snapshot.Pod.parse` reads it. Pure."""

from collections.abc import Mapping
from typing import Any, Final

from codebase_embedded.processes import Process
from codebase_operator.model.snapshot import CONTAINER

LOST_EXIT_CODE: Final = 137
"""What a kubelet tells of a container whose end it did not see, with the reason ContainerStatusUnknown."""

_SCHEME: Final = "process://"


def running(pod: Mapping[str, Any], process: Process, now: str) -> dict[str, Any]:
    """Return the status of a pod whose process was started."""
    previous = _container(pod)
    state = {"running": {"startedAt": now}}
    restarts = previous["restartCount"] + 1 if previous else 0
    last = (previous or {}).get("state") or {}
    return _status("Running", state, last if "terminated" in last else {}, restarts, process)


def ended(pod: Mapping[str, Any], exit_code: int, at: str, reason: str | None = None) -> dict[str, Any]:
    """Return the status of a pod whose process has ended.

    As with restartPolicy OnFailure: done after exit code 0, or if it was to be deleted. Otherwise the container is
    down, to be started again; the second time, a kubelet waits, and the operator makes another pod.
    """
    container = _container(pod)
    restarts = container["restartCount"] if container else 0
    terminated = {
        "exitCode": exit_code, "reason": reason or _reason(exit_code), "finishedAt": at,
        **(((container or {}).get("state") or {}).get("running") or {}),
    }  # fmt: skip
    if exit_code == 0 or "deletionTimestamp" in pod["metadata"]:
        phase = "Succeeded" if exit_code == 0 else "Failed"
        return _status(phase, {"terminated": terminated}, {}, restarts, None)
    if restarts == 0:
        return _status("Running", {"terminated": terminated}, {}, restarts, None)
    waiting = {"reason": "CrashLoopBackOff", "message": "it is not started a third time: the operator replaces it"}
    return _status("Running", {"waiting": waiting}, {"terminated": terminated}, restarts, None)


def node_lost(pod: Mapping[str, Any], at: str) -> dict[str, Any]:
    """Return the status of a pod that was lost with its instance: a disruption, and nobody's failure."""
    container = _container(pod)
    terminated = {"exitCode": LOST_EXIT_CODE, "reason": "ContainerStatusUnknown", "finishedAt": at}
    told = _status("Failed", {"terminated": terminated}, {}, container["restartCount"] if container else 0, None)
    return {**told, "reason": "NodeLost", "message": "the instance ended, and its indexers with it"}


def refused(message: str) -> dict[str, Any]:
    """Return the status of a pod whose process cannot be started."""
    waiting = {"reason": "CreateContainerError", "message": message}
    return _status("Pending", {"waiting": waiting}, {}, 0, None)


def process_of(pod: Mapping[str, Any]) -> Process | None:
    """Return the process that a pod runs, as far as its status says."""
    container = _container(pod) or {}
    return Process.parse(str(container.get("containerID") or "").removeprefix(_SCHEME))


def is_down(pod: Mapping[str, Any]) -> bool:
    """Whether the container has ended, and is to be started again."""
    state = (_container(pod) or {}).get("state") or {}
    return not is_finished(pod) and "terminated" in state


def is_finished(pod: Mapping[str, Any]) -> bool:
    """Whether it has ended for good."""
    return (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")


def was_started(pod: Mapping[str, Any]) -> bool:
    """Whether it has a process, or had one and is to have another."""
    return (pod.get("status") or {}).get("phase") == "Running"


def is_new(pod: Mapping[str, Any]) -> bool:
    """Whether it was never started."""
    return _container(pod) is None


def _reason(exit_code: int) -> str:
    return "Completed" if exit_code == 0 else "Error"


def _container(pod: Mapping[str, Any]) -> dict[str, Any] | None:
    statuses = (pod.get("status") or {}).get("containerStatuses") or []
    return dict(statuses[0]) if statuses else None


def _status(
    phase: str, state: dict[str, Any], last: dict[str, Any], restarts: int, process: Process | None
) -> dict[str, Any]:
    identity = {"containerID": f"{_SCHEME}{process}"} if process else {}
    container = {
        "name": CONTAINER, "state": state, "lastState": last, "restartCount": restarts, **identity,
    }  # fmt: skip
    return {"phase": phase, "containerStatuses": [container]}
