"""What cluster tests ask of the real thing, and do to it, with kubectl: jobs, pods, facts, faults."""

import json
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from codebase_index.api.job import GROUP, KIND, LABEL_COMPONENT, LABEL_JOB_ID, VERSION
from hack.deployment.chart import NAMESPACE
from hack.deployment.commands import environment, kubectl, kubectl_json, tool_path
from hack.deployment.mcp_client import Tools, follow
from tests.support import runtime
from tests.support.waiting import PATIENCE, wait_for

OPERATOR = "deployment/codebase-mcp-operator"
POSTGRES = "statefulset/codebase-mcp-postgres"


# --- jobs ------------------------------------------------------------------------------------------


def apply_job(name: str, path: str, *, git: dict[str, Any] | None = None, **spec: Any) -> str:
    """Create a job as a user of kubectl does; return its id."""
    manifest = {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": KIND,
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {"source": {"path": path, **({"git": git} if git else {})}, **spec},
    }
    made = json.loads(kubectl("create", "-f", "-", "-o", "json", stdin=json.dumps(manifest)))
    return str(made["metadata"]["uid"])


def patch_job(name: str, **spec: Any) -> None:
    """Change a job's spec as a user of kubectl does."""
    kubectl("patch", "ij", "-n", NAMESPACE, name, "--type=merge", "-p", json.dumps({"spec": spec}))


def delete_job(name: str) -> None:
    """Delete a job's custom resource."""
    kubectl("delete", "indexingjob", "-n", NAMESPACE, name, "--timeout=20s")


def hold_slots(*paths: str) -> list[str]:
    """Start jobs that hold their slots, at no cost, until cancelled: their embedding service is not there."""
    jobs = {}
    for path in paths:
        name = f"holder-{uuid.uuid4().hex[:8]}"
        jobs[name] = apply_job(name, path, embedding={"provider": "ollama"})
    phases = {"Blocked"}
    wait_for(lambda: {job_status(name).get("phase") for name in jobs} == phases, "each waits for its service")
    return list(jobs.values())


async def under_way(tools: Tools, repository: str) -> tuple[str, dict[str, Any]]:
    """Start a job; return its id and status when it has indexed some files."""
    job = await tools.call("start_indexing_background", repo_path=repository, force_reindex=True)
    async for status in follow(tools, job["job_id"], every=0.1, timeout=PATIENCE):
        if status["status"] == "running" and status["files_indexed"] > 20:
            return str(job["job_id"]), status
    raise AssertionError(f"the job was {status['status']} before it could be seen at work")


def name_of(job_id: str) -> str:
    """The name of the custom resource with this uid."""
    jobs = kubectl_json("get", "indexingjobs", "-n", NAMESPACE)["items"]
    return str(next(job["metadata"]["name"] for job in jobs if job["metadata"]["uid"] == job_id))


def job_status(name: str) -> dict[str, Any]:
    """The status of a job's custom resource."""
    return dict(kubectl_json("get", "indexingjob", "-n", NAMESPACE, name).get("status") or {})


# --- the facts in Postgres -------------------------------------------------------------------------


def query(sql: str) -> str:
    """The answer of the product's database, a line for each row."""
    psql = ("psql", "-X", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-U", "postgres", "-d", "codebase", "-c", sql)
    return kubectl("exec", "-n", NAMESPACE, POSTGRES, "-c", "postgres", "--", *psql).strip()


def facts(job_id: str) -> dict[str, Any]:
    """The job's row, which the operator makes soon after the custom resource. Times are in ISO format.

    Nothing says when a machine is busy how soon that is, so every reader of a row waits for it.
    """
    select = f"SELECT row_to_json(j) FROM jobs j WHERE id = '{job_id}'"
    return dict(json.loads(wait_for(lambda: query(select), f"job {job_id} has a row")))


def assert_consistent(repository: str) -> None:
    """Each file of the repository's index is there once, with all of its chunks, and no chunk without a file."""
    runtime.assert_consistent(query, repository)


def nobody_holds_a_slot() -> bool:
    """Whether every job is over, with its pods."""
    return query("SELECT count(*) FROM jobs WHERE slot OR state IN ('pending', 'running', 'blocked')") == "0"


# --- pods ------------------------------------------------------------------------------------------


def indexer_pods(job_id: str) -> list[str]:
    """Names of the pods of a job that exist now."""
    return _names(f"{LABEL_JOB_ID}={job_id}")


def pod_phases(job_id: str) -> list[str]:
    """Phases of the pods of a job that exist now."""
    pods = kubectl_json("get", "pods", "-n", NAMESPACE, "-l", f"{LABEL_JOB_ID}={job_id}")["items"]
    return [pod["status"]["phase"] for pod in pods]


def server_pods() -> list[str]:
    """Names of the MCP server's pods."""
    return _names(f"{LABEL_COMPONENT}=server")


def _names(selector: str) -> list[str]:
    pods = kubectl_json("get", "pods", "-n", NAMESPACE, "-l", selector)["items"]
    return [pod["metadata"]["name"] for pod in pods]


def uid_of(pod: str) -> str:
    """The uid of a pod, by which its processes are found (tests.chaos.harness.containers)."""
    return str(kubectl_json("get", "pod", "-n", NAMESPACE, pod)["metadata"]["uid"])


@contextmanager
def scaled_to_zero(workload: str) -> Iterator[None]:
    """A Deployment or StatefulSet without pods while the block runs."""
    replicas = kubectl_json("get", "-n", NAMESPACE, workload)["spec"]["replicas"]
    component = workload.rpartition("-")[2]
    kubectl("scale", "-n", NAMESPACE, workload, "--replicas=0")
    try:
        wait_for(lambda: not _names(f"{LABEL_COMPONENT}={component}"), f"{workload} has no pod")
        yield
    finally:
        kubectl("scale", "-n", NAMESPACE, workload, f"--replicas={replicas}")
        kubectl("rollout", "status", "-n", NAMESPACE, workload, "--timeout=90s")


class PodHistory:
    """Every change of the indexers' pods over a time, in the API server's order."""

    def __init__(self, events: list[dict[str, Any]]) -> None:
        self._events = events

    def most_jobs_at_once(self) -> int:
        """The largest number of jobs that had an unfinished pod at one instant."""
        alive: dict[str, str] = {}
        most = 0
        for event in self._events:
            meta, phase = event["object"]["metadata"], event["object"]["status"].get("phase")
            if event["type"] == "DELETED" or phase in ("Succeeded", "Failed"):
                alive.pop(meta["uid"], None)
            else:
                alive[meta["uid"]] = meta["labels"][LABEL_JOB_ID]
            most = max(most, len(set(alive.values())))
        return most

    def first_starts(self) -> list[str]:
        """Ids of the jobs in the order in which their first pods were made."""
        made = (e["object"]["metadata"] for e in self._events if e["type"] == "ADDED")
        return list(dict.fromkeys(meta["labels"][LABEL_JOB_ID] for meta in made))


@contextmanager
def pod_watch() -> Iterator[Callable[[], PodHistory]]:
    """Watch the indexers' pods while the block runs; nothing is sampled. Yield what tells the history so far."""
    selector = f"{LABEL_COMPONENT}=indexer"
    # The version of a listing: the watch goes on from exactly there, whenever it begins.
    pods = f"/api/v1/namespaces/{NAMESPACE}/pods?labelSelector={selector}"
    listed = json.loads(kubectl("get", "--raw", pods))
    path = f"{pods}&watch=1&resourceVersion={listed['metadata']['resourceVersion']}"
    # Read through a file of its own: one that is shared with kubectl shares its place too, and seeking
    # to the start would make kubectl write there.
    with tempfile.NamedTemporaryFile("w") as stream:
        watch = subprocess.Popen([tool_path("kubectl"), "get", "--raw", path], stdout=stream, env=environment())

        def history() -> PodHistory:
            time.sleep(1)  # what has happened is on its way
            assert watch.poll() is None, "the watch has ended early"
            before = [{"type": "BEFORE", "object": pod} for pod in listed["items"]]
            with Path(stream.name).open() as told:
                return PodHistory(before + [json.loads(line) for line in told if line.endswith("\n")])

        try:
            yield history
        finally:
            watch.terminate()
            watch.wait(timeout=10)
