"""The life of jobs under the operator, on a real API server."""

import asyncio
import signal
from typing import Any
from uuid import UUID

import pytest
from kubernetes.aio import client

from codebase_index.api.job import LABEL_JOB, JobState, Phase
from codebase_index.store.jobs.jobs import Progress
from tests.operator.wiring.environment import Cluster, Operator, eventually

pytestmark = pytest.mark.cluster


async def test_three_run_and_the_others_follow_in_order(cluster: Cluster, operator: Operator) -> None:
    ids = {}
    for name in ("j1", "j2", "j3", "j4", "j5"):
        ids[name] = await cluster.create(name)
        await asyncio.sleep(1.1)  # creation times have whole seconds

    async def fourth_is_queued() -> bool:
        return (await cluster.status("j4")).get("message") == "Queued: 1st of 2, 3 jobs running"

    await eventually("the fourth is told its place", fourth_is_queued)
    assert await cluster.pods() == {"j1-a1", "j2-a1", "j3-a1"}
    assert (await cluster.status("j4"))["phase"] == "Pending"
    assert (await cluster.row(ids["j5"])).message == "Queued: 2nd of 2, 3 jobs running"

    await play_to_the_end(cluster, ids["j2"], "j2-a1")
    await remove_pod(cluster, "j2-a1")

    async def next_one_runs() -> bool:
        return await cluster.pods() == {"j1-a1", "j3-a1", "j4-a1"}

    await eventually("the next in the queue gets the slot", next_one_runs)

    async def completed() -> bool:
        return (await cluster.status("j2")).get("phase") == "Completed"

    await eventually("the mirror says completed", completed)
    assert (await cluster.status("j2"))["progress"]["percent"] == 100
    assert {"Queued", "Admitted", "Started", "Completed"} <= set(await cluster.events("j2"))


async def play_to_the_end(cluster: Cluster, job_id: UUID, pod: str) -> None:
    """Do in the database what the indexer does."""
    await cluster.jobs.claim(job_id, 1, pod)
    await cluster.jobs.heartbeat(job_id, 1, Progress(Phase.EMBEDDING, 40.0, "Embedding: 4 of 10 files"))
    done = "state = 'completed', percent = 100, phase = 'complete', completed_at = now()"
    async with cluster.database.connection() as connection:
        await connection.execute(f"UPDATE jobs SET {done} WHERE id = $1", job_id)


async def remove_pod(cluster: Cluster, name: str) -> None:
    await cluster.core.delete_namespaced_pod(
        name, cluster.namespace, body=client.V1DeleteOptions(grace_period_seconds=0)
    )


async def test_a_pod_is_owned_restricted_and_without_a_token(cluster: Cluster, operator: Operator) -> None:
    job_id = await cluster.create("owned")

    async def one_pod() -> list[Any]:
        return await cluster.all_pods()

    (pod,) = await eventually("the pod is created", one_pod)
    assert [o.uid for o in pod.metadata.owner_references] == [str(job_id)]
    assert pod.metadata.labels[LABEL_JOB] == "owned"
    assert pod.spec.automount_service_account_token is False
    assert pod.spec.containers[0].security_context.read_only_root_filesystem is True

    async def reason_is_shown() -> bool:
        return (await cluster.status("owned")).get("reason") == "ImagePullFailed"

    await eventually("the missing image is the reason that is shown", reason_is_shown)


async def test_cancel_fences_the_job_and_removes_its_pod(cluster: Cluster, operator: Operator) -> None:
    job_id = await cluster.create("doomed")

    async def has_pod() -> bool:
        return await cluster.pods() == {"doomed-a1"}

    await eventually("the pod is created", has_pod)
    await cluster.patch("doomed", cancel=True)

    async def cancelled() -> bool:
        return (await cluster.status("doomed")).get("phase") == "Cancelled" and not await cluster.all_pods()

    await eventually("the job is cancelled and its pod is gone", cancelled)
    row = await cluster.row(job_id)
    assert (row.state, row.attempt) == (JobState.CANCELLED, 2)
    with pytest.raises(client.ApiException, match="stays cancelled"):
        await cluster.patch("doomed", cancel=False)


async def test_a_deleted_pod_is_replaced_uncounted(cluster: Cluster, operator: Operator) -> None:
    job_id = await cluster.create("hurt")

    async def has_pod() -> bool:
        return await cluster.pods() == {"hurt-a1"}

    await eventually("the pod is created", has_pod)
    await cluster.jobs.claim(job_id, 1, "hurt-a1")
    await remove_pod(cluster, "hurt-a1")

    async def replaced() -> bool:
        return await cluster.pods() == {"hurt-a2"}

    await eventually("the next attempt's pod is created", replaced)
    row = await cluster.row(job_id)
    assert (row.attempt, row.failures, row.pod) == (2, 0, None)
    assert (await cluster.events("hurt")).count("Retried") <= 1


async def test_delete_leaves_nothing_behind(cluster: Cluster, operator: Operator) -> None:
    job_id = await cluster.create("gone")

    async def has_pod() -> bool:
        return await cluster.pods() == {"gone-a1"}

    await eventually("the pod is created", has_pod)
    assert "finalizers" not in (await cluster.read("gone"))["metadata"]
    assert "annotations" not in (await cluster.read("gone"))["metadata"]
    await cluster.delete("gone")

    async def nothing_left() -> bool:
        return not await cluster.all_pods() and (await cluster.row(job_id)).state is JobState.CANCELLED

    await eventually("pod and active row are gone", nothing_left)


async def test_a_job_deleted_while_the_operator_is_down_is_cancelled_afterwards(
    cluster: Cluster, operator: Operator
) -> None:
    job_id = await cluster.create("orphan")

    async def has_pod() -> bool:
        return await cluster.pods() == {"orphan-a1"}

    await eventually("the pod is created", has_pod)
    operator.stop(signal.SIGKILL)
    await cluster.delete("orphan")
    operator.start()

    async def cancelled() -> bool:
        return (await cluster.row(job_id)).state is JobState.CANCELLED

    await eventually("the row is cancelled", cancelled)


async def test_suspend_and_resume_under_a_new_token(cluster: Cluster, operator: Operator) -> None:
    job_id = await cluster.create("pausing")

    async def has_pod() -> bool:
        return await cluster.pods() == {"pausing-a1"}

    await eventually("the pod is created", has_pod)
    await cluster.jobs.claim(job_id, 1, "pausing-a1")
    await cluster.patch("pausing", suspend=True)

    async def suspended() -> bool:
        return (await cluster.status("pausing")).get("phase") == "Suspended" and not await cluster.all_pods()

    await eventually("the job is suspended", suspended)
    await cluster.patch("pausing", suspend=False)

    async def resumed() -> bool:
        # The suspend took one token, and giving back the slot another: neither's pod may take the job any more.
        return await cluster.pods() == {"pausing-a3"}

    await eventually("the job has a pod again", resumed)


async def test_over_quota_the_job_stays_pending_with_the_reason(cluster: Cluster, operator: Operator) -> None:
    quota = client.V1ResourceQuota(
        metadata=client.V1ObjectMeta(name="none"), spec=client.V1ResourceQuotaSpec(hard={"pods": "0"})
    )
    await cluster.core.create_namespaced_resource_quota(cluster.namespace, quota)
    await cluster.create("poor")

    async def refused() -> bool:
        status = await cluster.status("poor")
        return (status.get("phase"), status.get("reason")) == ("Pending", "QuotaExceeded")

    await eventually("the quota is the reason that is shown", refused)
    await cluster.core.delete_namespaced_resource_quota("none", cluster.namespace)

    async def has_pod() -> bool:
        return await cluster.pods() == {"poor-a1"}

    await eventually("the pod is created when there is room", has_pod)


async def test_the_api_server_refuses_what_the_contract_forbids(cluster: Cluster) -> None:
    for spec, why in (
        ({"source": {}}, "exactly one of path and git"),
        ({"source": {"path": "/a", "git": {"url": "https://h/r"}}}, "exactly one of path and git"),
        ({"source": {"path": "relative"}}, "spec.source.path"),
        ({"include": ["x"] * 65}, "spec.include"),
    ):
        with pytest.raises(client.ApiException, match=why):
            await cluster.create("refused", **spec)
    with pytest.raises(client.ApiException, match="at most 52 characters"):
        await cluster.create("n" * 53)
    await cluster.create("fixed", ref="main", include=["src/"])
    for change, why in (
        ({"source": {"path": "/other"}}, "source is immutable"),
        ({"ref": None}, "ref is immutable"),
        ({"embedding": {"provider": "ollama"}}, "embedding is immutable"),
        ({"include": ["src/", "docs/"]}, "include is immutable"),
        ({"include": None}, "include is immutable"),
        ({"exclude": ["docs/"]}, "exclude is immutable"),
    ):
        with pytest.raises(client.ApiException, match=why):
            await cluster.patch("fixed", **change)
    spec = (await cluster.read("fixed"))["spec"]
    assert (spec["backoffLimit"], spec["embedding"], spec["ttlSecondsAfterFinished"]) == (
        6, {"provider": "static"}, 604800,
    )  # fmt: skip


async def test_the_probe_answers(cluster: Cluster, operator: Operator) -> None:
    async def ready() -> bool:
        return await operator.probe() == 200

    await eventually("the liveness probe answers", ready)
