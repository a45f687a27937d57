"""Several pods for one job on the real cluster: the same index as one pod's, whatever becomes of a worker."""

import uuid
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest

from hack.deployment.chart import NAMESPACE
from hack.deployment.commands import kubectl
from tests.support.kube import (
    apply_job,
    assert_consistent,
    delete_job,
    facts,
    indexer_pods,
    job_status,
    patch_job,
    pod_phases,
    query,
)
from tests.support.waiting import PATIENCE, wait_for

pytestmark = pytest.mark.cluster


def contents(repository: str) -> str:
    """A digest over every row of a repository's index, without the ids that differ from run to run."""
    return query(f"""
        SELECT md5(string_agg(digest, '' ORDER BY digest)) FROM (
            SELECT md5(concat_ws('|', f.path, encode(f.blob, 'hex'), c.start_line, c.end_line, c.symbol, c.text,
                                 encode(halfvec_send(e.embedding), 'hex'))) AS digest
            FROM indexes i JOIN files f ON f.index_id = i.id JOIN chunks c ON c.file_id = f.id
            JOIN embeddings e ON e.chunk_id = c.id WHERE i.source = '{repository}') AS rows""")


def run(repository: str, **spec: Any) -> str:
    """Index a repository, all of it; return the job's id when a pod is at work on its files."""
    name = f"wide-{uuid.uuid4().hex[:8]}"
    job_id = apply_job(name, repository, forceReindex=True, **spec)
    wait_for(lambda: (facts(job_id)["files_indexed"] or 0) > 0, "it is at work")
    return job_id


def completed(job_id: str) -> dict[str, object]:
    """Wait for the job's end, and for that of its pods; return its row."""
    wait_for(lambda: facts(job_id)["state"] in ("completed", "failed", "cancelled"), "it is over")
    wait_for(lambda: not facts(job_id)["slot"], "its slot is free")
    row = facts(job_id)
    assert row["state"] == "completed", row["error_message"]
    return row


def workers(job_id: str) -> list[str]:
    """The job's pods beside the one that holds its attempt."""
    return [pod for pod in indexer_pods(job_id) if "-w" in pod.rpartition("-a")[2]]


def test_two_pods_make_the_index_of_one(server_url: str, repository: str) -> None:
    completed(run(repository))
    expected = contents(repository)

    job_id = run(repository, parallelism=2)
    (worker,) = wait_for(lambda: workers(job_id), "it has a worker")
    claimed = f"SELECT count(*) FROM work WHERE job_id = '{job_id}' AND claimed_by = '{worker}'"
    wait_for(lambda: query(claimed) != "0", "the worker works")
    row = completed(job_id)
    assert (row["attempt"], row["files_repeated"]) == (1, 0)
    assert contents(repository) == expected
    wait_for(lambda: pod_phases(job_id) == ["Succeeded", "Succeeded"], "both pods ended by themselves")


@pytest.mark.large
def test_two_pods_share_a_large_repository(server_url: str, large_repository: str) -> None:
    """The figures of docs/performance.md: each pod has one processor, so that a second pod has one of its own."""
    seconds, found = [], set()
    for pods in (1, 2):
        row = completed(run(large_repository, parallelism=pods, resources={"cpu": "1"}))
        begin, end = (datetime.fromisoformat(str(row[f"{moment}_at"])) for moment in ("started", "completed"))
        seconds.append((end - begin).total_seconds())
        found.add(contents(large_repository))
    print(f"\n{row['files_total']} files: one pod {seconds[0]:.1f} s, two pods {seconds[1]:.1f} s")
    assert len(found) == 1, "two pods made another index than one"


def test_a_lost_worker_costs_its_batches_alone(server_url: str, repository: str) -> None:
    job_id = run(repository, parallelism=2)
    (worker,) = wait_for(lambda: workers(job_id), "it has a worker")
    kubectl("delete", "pod", "-n", NAMESPACE, worker, "--force", "--grace-period=0")
    row = completed(job_id)
    assert (row["attempt"], row["failures"]) == (1, 0)
    assert int(str(row["files_repeated"])) < 0.01 * int(str(row["files_total"]))
    assert_consistent(repository)


@pytest.mark.parametrize("spec", [{"cancel": True}, {"suspend": True}], ids=["cancelled", "suspended"])
def test_workers_go_with_their_job(
    server_url: str, new_repository: Callable[[int], str], spec: dict[str, bool]
) -> None:
    name = f"wide-{uuid.uuid4().hex[:8]}"
    job_id = apply_job(name, new_repository(500), parallelism=3)
    wait_for(lambda: workers(job_id), "it has a worker")
    patch_job(name, **spec)
    wait_for(lambda: not indexer_pods(job_id), "all of its pods are gone", 10)
    wait_for(
        lambda: job_status(name).get("phase") in ("Cancelled", "Suspended"),
        "the custom resource says so",
        PATIENCE,
    )
    delete_job(name)
