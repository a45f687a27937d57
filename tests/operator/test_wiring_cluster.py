"""The operator as a process against a real API server and a real Postgres.

The pods' image does not exist, so no pod ever works: the test plays the indexer in the database where a
job has to move on. Waits are bounded generously: they say that something happens, not how fast.
"""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import UUID, uuid4

import httpx
import pytest
import yaml
from kubernetes.aio import client, config

from codebase_index.job import GROUP, LABEL_JOB, PLURAL, VERSION, JobState, Phase
from codebase_index.store.database import Database
from codebase_index.store.jobs import Jobs, Progress
from codebase_index.store.rows import JobRow
from tests.crd import install_crd

pytestmark = pytest.mark.cluster

ROOT = Path(__file__).resolve().parents[2]
KUBECONFIG = Path(os.environ.get("KUBECONFIG") or ROOT / ".cluster/kubeconfig")
PATIENCE = 60.0


@dataclass
class Cluster:
    """A namespace of this test's own, and what the tests do in it."""

    api: client.ApiClient
    namespace: str
    jobs: Jobs

    def __post_init__(self) -> None:
        self.core = client.CoreV1Api(self.api)
        self.custom = client.CustomObjectsApi(self.api)
        self.where = {"group": GROUP, "version": VERSION, "namespace": self.namespace, "plural": PLURAL}

    async def create(self, name: str, **spec: Any) -> UUID:
        body = {
            "apiVersion": f"{GROUP}/{VERSION}",
            "kind": "IndexingJob",
            "metadata": {"name": name},
            "spec": {"source": {"path": f"/repos/{name}"}, **spec},
        }
        made = await self.custom.create_namespaced_custom_object(**self.where, body=body)
        return UUID(made["metadata"]["uid"])

    async def patch(self, name: str, **spec: Any) -> None:
        await self.custom.patch_namespaced_custom_object(
            **self.where, name=name, body={"spec": spec}, _content_type="application/merge-patch+json"
        )

    async def delete(self, name: str) -> None:
        await self.custom.delete_namespaced_custom_object(**self.where, name=name)

    async def read(self, name: str) -> dict[str, Any]:
        body: dict[str, Any] = await self.custom.get_namespaced_custom_object(**self.where, name=name)
        return body

    async def status(self, name: str) -> dict[str, Any]:
        return dict((await self.read(name)).get("status") or {})

    async def pods(self) -> set[str]:
        """Names of the pods that nobody is deleting."""
        found = await self.core.list_namespaced_pod(self.namespace)
        return {p.metadata.name for p in found.items if p.metadata.deletion_timestamp is None}

    async def all_pods(self) -> list[Any]:
        return list((await self.core.list_namespaced_pod(self.namespace)).items)

    async def events(self, name: str) -> list[str]:
        found = await self.core.list_namespaced_event(
            self.namespace, field_selector=f"involvedObject.name={name},involvedObject.kind=IndexingJob"
        )
        return [event.reason for event in found.items]

    async def row(self, job_id: UUID) -> JobRow:
        return await self.jobs.get(job_id)


async def eventually(claim: str, check: Callable[[], Awaitable[Any]]) -> Any:
    """Wait until a check is truthy, and return its value."""
    end = time.monotonic() + PATIENCE
    value: Any = None
    while time.monotonic() < end:
        value = await check()
        if value:
            return value
        await asyncio.sleep(0.2)
    raise AssertionError(f"not within {PATIENCE:.0f} s: {claim} (last: {value!r})")


@pytest.fixture
async def cluster(database: Database) -> AsyncIterator[Cluster]:
    assert KUBECONFIG.exists(), f"no cluster: {KUBECONFIG} is missing; run `make up`"
    configuration = client.Configuration()
    await config.load_kube_config(str(KUBECONFIG), client_configuration=configuration)
    async with client.ApiClient(configuration) as api:
        await install_crd(api)
        core = client.CoreV1Api(api)
        namespace = f"wiring-{uuid4().hex[:8]}"
        await core.create_namespace({"metadata": {"name": namespace}})
        try:
            yield Cluster(api, namespace, Jobs(database))
        finally:
            await core.delete_namespace(namespace)


Connect = Callable[[], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]


class Door:
    """A way to a server that can be shut: connections break, and new ones are refused."""

    def __init__(
        self, connect: Callable[[], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]
    ) -> None:
        self._connect = connect
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self.port = 0

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def shut(self) -> None:
        if self._server:
            self._server.close()
            for writer in list(self._writers):
                writer.transport.abort()
            await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await self._connect()
        both = {writer, back}
        self._writers |= both
        try:
            await asyncio.gather(self._pump(reader, back), self._pump(there, writer))
        finally:
            self._writers -= both
            for end in both:
                end.transport.abort()

    @staticmethod
    async def _pump(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(65536):
                target.write(data)
                await target.drain()
        except OSError:
            pass
        finally:
            target.close()


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


class Operator:
    """The operator as a process of its own."""

    def __init__(
        self, namespace: str, dsn: str, folder: Path, kubeconfig: Path = KUBECONFIG, *,
        name: str = "operator", lease: str = "",
    ) -> None:  # fmt: skip
        folder.mkdir(exist_ok=True)
        template = folder / "pod.json"
        template.write_text(json.dumps({"image": "localhost/none:0", "imagePullPolicy": "Never"}))
        metrics = free_port()
        self.name = name
        self.liveness = f"http://127.0.0.1:{free_port()}/healthz"
        self.metrics = f"http://127.0.0.1:{metrics}/metrics"
        self.log = folder / "operator.log"
        self._environment = {
            **os.environ,
            "KUBECONFIG": str(kubeconfig),
            "CODEBASE_NAMESPACE": namespace,
            "CODEBASE_DATABASE_URL": dsn,
            "CODEBASE_POD_TEMPLATE": str(template),
            "CODEBASE_LIVENESS": self.liveness,
            "CODEBASE_LOG_LEVEL": "DEBUG",
            "CODEBASE_POD": name,
            "CODEBASE_LEASE_NAME": lease,
            "CODEBASE_METRICS_PORT": str(metrics),
        }
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "codebase_operator"], env=self._environment, stderr=log, stdout=log
            )

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        assert self._process
        self._process.send_signal(how)
        return self._process.wait(20)

    async def probe(self) -> int:
        """Return the liveness probe's HTTP status, 0 when it does not answer."""
        return (await self._get(self.liveness))[0]

    async def says(self) -> str:
        """Return what the liveness probe answers."""
        return (await self._get(self.liveness))[1]

    async def samples(self, name: str) -> list[str]:
        """Return the lines of a metric."""
        lines = (await self._get(self.metrics))[1].splitlines()
        return [line for line in lines if line.startswith(f"codebase_operator_{name}")]

    async def leads(self) -> bool:
        return await self.samples("leader") == ["codebase_operator_leader 1.0"]

    @staticmethod
    async def _get(url: str) -> tuple[int, str]:
        try:
            async with httpx.AsyncClient(trust_env=False) as http:
                answer = await http.get(url)
                return answer.status_code, answer.text
        except httpx.TransportError:
            return 0, ""

    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def tracebacks(self) -> list[str]:
        return [line for line in self.log.read_text().splitlines() if "Traceback" in line]


@pytest.fixture
async def operator(cluster: Cluster, dsn: str, tmp_path: Path) -> AsyncIterator[Operator]:
    operator = Operator(cluster.namespace, dsn, tmp_path)
    operator.start()
    try:
        yield operator
        assert operator.running(), operator.log.read_text()[-3000:]
    finally:
        if operator.running():
            operator.stop()
    assert operator.tracebacks() == []


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
    async with cluster.jobs._db.connection() as connection:
        await connection.execute(f"UPDATE jobs SET {done} WHERE id = $1", job_id)


async def remove_pod(cluster: Cluster, name: str) -> None:
    await cluster.core.delete_namespaced_pod(name, cluster.namespace, body={"gracePeriodSeconds": 0})


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


async def test_two_operators_keep_the_limit(
    cluster: Cluster, operator: Operator, dsn: str, tmp_path: Path
) -> None:
    folder = tmp_path / "second"
    folder.mkdir()
    second = Operator(cluster.namespace, dsn, folder)
    second.start()
    try:
        for number in range(8):
            await cluster.create(f"twin{number}")

        async def full() -> bool:
            return len(await cluster.all_pods()) >= 3

        await eventually("three jobs run", full)
        for _ in range(20):
            owners = {pod.metadata.labels[LABEL_JOB] for pod in await cluster.all_pods()}
            assert len(owners) == 3
            await asyncio.sleep(0.2)
    finally:
        second.stop()


async def test_of_two_operators_with_a_lease_one_leads_and_the_other_takes_over(
    cluster: Cluster, dsn: str, tmp_path: Path
) -> None:
    leases = client.CoordinationV1Api(cluster.api)
    both = [
        Operator(cluster.namespace, dsn, tmp_path / name, name=name, lease="codebase-operator")
        for name in ("one", "two")
    ]  # fmt: skip

    async def holder() -> str | None:
        found = await leases.read_namespaced_lease("codebase-operator", cluster.namespace)
        return found.spec.holder_identity

    async def leader() -> Operator | None:
        leading = [operator for operator in both if await operator.leads()]
        assert len(leading) <= 1
        return leading[0] if leading else None

    async def job_gets_a_pod(name: str) -> None:
        await cluster.create(name)

        async def has_pod() -> bool:
            return f"{name}-a1" in await cluster.pods()

        await eventually(f"{name} has a pod", has_pod)

    async def takes_over(operator: Operator) -> bool:
        return await operator.leads() and await holder() == operator.name

    for operator in both:
        operator.start()
    try:
        first = await eventually("one leads", leader)
        (second,) = (operator for operator in both if operator is not first)
        assert await holder() == first.name
        await job_gets_a_pod("before")

        async def watches() -> bool:
            sees = 'codebase_operator_jobs_active{state="pending"} 1.0' in await second.samples("jobs_active")
            return sees and await second.probe() == 200

        await eventually("the other one is well and sees the job", watches)
        assert await second.samples("steps_total") == []
        assert await first.samples("steps_total") != []

        began = time.monotonic()
        first.stop(signal.SIGKILL)
        await eventually("the other one takes over", lambda: takes_over(second))
        print(f"taken over {time.monotonic() - began:.1f} s after the kill")
        await job_gets_a_pod("after")

        first.start()
        await eventually("the first one is back, and watches", lambda: says_ok(first))
        assert not await first.leads()
        began = time.monotonic()
        assert second.stop(signal.SIGTERM) == 0
        await eventually("it leads again", lambda: takes_over(first))
        print(f"handed over within {time.monotonic() - began:.1f} s of the SIGTERM")
        await job_gets_a_pod("again")
        assert [line for operator in both for line in operator.tracebacks()] == []
    finally:
        for operator in both:
            if operator.running():
                operator.stop()


async def says_ok(operator: Operator) -> bool:
    return await operator.probe() == 200


async def test_over_quota_the_job_stays_pending_with_the_reason(cluster: Cluster, operator: Operator) -> None:
    quota = {"metadata": {"name": "none"}, "spec": {"hard": {"pods": "0"}}}
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
    await cluster.create("fixed", ref="main")
    for change, why in (
        ({"source": {"path": "/other"}}, "source is immutable"),
        ({"ref": None}, "ref is immutable"),
        ({"embedding": {"provider": "ollama"}}, "embedding is immutable"),
    ):
        with pytest.raises(client.ApiException, match=why):
            await cluster.patch("fixed", **change)
    spec = (await cluster.read("fixed"))["spec"]
    assert (spec["backoffLimit"], spec["embedding"], spec["ttlSecondsAfterFinished"]) == (
        6, {"provider": "static"}, 604800,
    )  # fmt: skip


async def test_an_outage_of_the_api_server_is_noticed_and_survived(
    cluster: Cluster, dsn: str, tmp_path: Path
) -> None:
    settings = yaml.safe_load(KUBECONFIG.read_text())
    target = settings["clusters"][0]["cluster"]
    address = urlsplit(target["server"])
    door = Door(lambda: asyncio.open_connection(address.hostname, address.port))
    await door.open()
    target["server"] = f"https://{address.hostname}:{door.port}"
    through_the_door = tmp_path / "kubeconfig"
    through_the_door.write_text(yaml.safe_dump(settings))
    operator = Operator(cluster.namespace, dsn, tmp_path, through_the_door, lease="codebase-operator")
    operator.start()
    try:
        await cluster.create("before")

        async def works() -> bool:
            return await cluster.pods() == {"before-a1"} and await operator.probe() == 200

        await eventually("the operator works", works)
        await door.shut()
        await cluster.create("meanwhile")

        async def noticed() -> bool:
            assert await operator.probe() == 200  # a restart would not bring the API server back
            return "lists in a row failed" in await operator.says() and not await operator.leads()

        await eventually("it says so, and does nothing without its lease", noticed)
        await door.open()

        async def recovered() -> bool:
            there = await cluster.pods() == {"before-a1", "meanwhile-a1"}
            return there and "lists in a row" not in await operator.says()

        await eventually("the operator works again by itself", recovered)
        await cluster.create("after")

        async def hears_again() -> bool:
            return "after-a1" in await cluster.pods()

        await eventually("the operator hears of new jobs again", hears_again)
    finally:
        operator.stop()
        await door.shut()


async def test_an_outage_of_the_database_is_shown_and_survived(
    cluster: Cluster, postgres: str, dsn: str, tmp_path: Path
) -> None:
    folder = parse_qs(urlsplit(postgres).query)["host"][0]
    door = Door(lambda: asyncio.open_unix_connection(next(Path(folder).glob(".s.PGSQL.*[0-9]"))))
    await door.open()
    name = urlsplit(dsn).path.lstrip("/")
    operator = Operator(cluster.namespace, f"postgresql://postgres@127.0.0.1:{door.port}/{name}", tmp_path)
    await door.shut()
    operator.start()
    try:
        job_id = await cluster.create("patient")

        async def told() -> bool:
            status = await cluster.status("patient")
            return (status.get("phase"), status.get("reason")) == ("Pending", "DatabaseUnavailable")

        await eventually("the reason is shown", told)
        assert await cluster.pods() == set()
        assert await operator.probe() == 200  # a restart would not help
        await door.open()

        async def has_pod() -> bool:
            return await cluster.pods() == {"patient-a1"}

        await eventually("the job is admitted when the database is back", has_pod)
        await cluster.jobs.claim(job_id, 1, "patient-a1")

        async def phase_is(phase: str) -> bool:
            return (await cluster.status("patient")).get("phase") == phase

        await eventually("the job runs", lambda: phase_is("Running"))
        await door.shut()
        await eventually("the running job is blocked", lambda: phase_is("Blocked"))
        await door.open()
        await eventually("the job runs on", lambda: phase_is("Running"))
        assert (await cluster.row(job_id)).attempt == 1
    finally:
        operator.stop()
        await door.shut()


async def test_the_probe_answers(cluster: Cluster, operator: Operator) -> None:
    async def ready() -> bool:
        return await operator.probe() == 200

    await eventually("the liveness probe answers", ready)
