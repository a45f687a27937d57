"""What a job may not have, and may not hold: on a real API server, with real kubelets."""

import signal
from pathlib import Path

import pytest
from kubernetes.aio import client

from codebase_index.api.job import ANNOTATION_GIT_HOSTS, LABEL_GIT_CREDENTIALS, JobState
from tests.operator.wiring.environment import Cluster, Operator, eventually

pytestmark = pytest.mark.cluster


async def test_jobs_that_cannot_start_hold_no_slot_for_ever(cluster: Cluster, dsn: str, tmp_path: Path) -> None:
    """The image is on no node: three jobs take the slots and fail, each with its reason, and a fourth gets one."""
    operator = Operator(cluster.namespace, dsn, tmp_path, env={"CODEBASE_START_DEADLINE_SECONDS": "8"})
    operator.start()
    try:
        ids = {name: await cluster.create(name) for name in ("j1", "j2", "j3", "j4")}

        async def failed() -> bool:
            return all([(await cluster.status(name)).get("phase") == "Failed" for name in ids])

        await eventually("all four fail, the fourth after it had a slot", failed)
        for name, job_id in ids.items():
            status = await cluster.status(name)
            assert status["reason"] == "StartDeadlineExceeded"
            assert "ErrImageNeverPull" in status["message"]
            assert (await cluster.row(job_id)).state is JobState.FAILED

        async def no_pods() -> bool:
            return await cluster.pods() == set()

        await eventually("their pods are gone", no_pods)
    finally:
        operator.stop(signal.SIGTERM)


async def test_a_secret_is_given_only_when_it_is_labelled_for_the_host(
    cluster: Cluster, operator: Operator
) -> None:
    secret = client.V1Secret(
        metadata=client.V1ObjectMeta(name="token"), string_data={"username": "u", "password": "p"}
    )
    await cluster.core.create_namespaced_secret(cluster.namespace, secret)
    git = {"url": "https://git.example.org/shop.git", "secretRef": {"name": "token"}}
    job_id = await cluster.create("private", source={"git": git})

    async def refused() -> bool:
        status = await cluster.status("private")
        return (status.get("phase"), status.get("reason")) == ("Pending", "SecretRefused")

    await eventually("the condition says that the Secret is refused", refused)
    message = (await cluster.status("private"))["message"]
    assert f"kubectl -n {cluster.namespace} label secret token {LABEL_GIT_CREDENTIALS}=true" in message
    assert await cluster.pods() == set()
    assert not (await cluster.row(job_id)).slot

    change = {
        "metadata": {
            "labels": {LABEL_GIT_CREDENTIALS: "true"}, "annotations": {ANNOTATION_GIT_HOSTS: "git.example.org"}
        }
    }  # fmt: skip
    await cluster.core.patch_namespaced_secret("token", cluster.namespace, change)

    async def has_pod() -> bool:
        return await cluster.pods() == {"private-a1"}

    await eventually("the pod is created when the Secret is labelled", has_pod)
