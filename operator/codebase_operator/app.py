"""The wiring to kopf: it connects, watches, answers probes, starts and stops. Nothing is decided here.

Only startup, cleanup, event and probe handlers: so no finalizers and no annotations, and `kubectl delete`
never hangs when the operator is down. Events only feed the cache and wake the loop.
"""

import asyncio
import itertools
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import kopf

from codebase_index.api.job import GROUP, LABEL_COMPONENT, PLURAL, VERSION
from codebase_index.store.database import Database
from codebase_index.store.jobs.jobs import Jobs
from codebase_index.store.rights import Rights
from codebase_operator.cluster.actuator import Actuator
from codebase_operator.cluster.cache import ClusterCache
from codebase_operator.cluster.kubernetes_api import KubernetesApi
from codebase_operator.cluster.lease import LeaderElector, identity_of
from codebase_operator.cluster.pods import COMPONENT
from codebase_operator.metrics import Metrics
from codebase_operator.reconciler import ReconcileLoop
from codebase_operator.settings import Settings
from codebase_operator.statistics import measure


def liveness_endpoint(env: Mapping[str, str] = os.environ) -> str:
    """Return where the kubelet asks whether the operator lives: CODEBASE_LIVENESS, or port 8080 of its pod.

    kopf listens on the addresses of one family; the kubelet asks the pod's first one, which is in CODEBASE_POD_IP.
    """
    host = "[::]" if ":" in env.get("CODEBASE_POD_IP", "") else "0.0.0.0"  # noqa: S104 - every address is meant
    return env.get("CODEBASE_LIVENESS") or f"http://{host}:8080/healthz"


class EndlessBackoffs:
    """1, 2, 3, 5, 5, 5, ... s: a watcher that runs out of retries dies for good (kopf #1145, #1276).

    An iterable, not a generator: kopf iterates it anew for every request.
    """

    def __iter__(self) -> Iterator[float]:
        return itertools.chain((1.0, 2.0, 3.0), itertools.repeat(5.0))


@dataclass
class Operator:
    """What lives from startup to cleanup."""

    api: KubernetesApi
    database: Database
    cache: ClusterCache
    loop: ReconcileLoop
    leader: LeaderElector | None
    tasks: list[asyncio.Task[None]]
    stop_metrics: Callable[[], None]

    @classmethod
    async def start(cls, settings: Settings) -> "Operator":
        """Connect everything and start the loop. A database that is away does not keep it from starting."""
        api = await KubernetesApi.connect(settings.namespace)
        database = await Database.open(
            settings.database,
            name="codebase-operator",
            timeout=5.0,
            owner=settings.owner,
            rights=Rights(settings.server_deletes),
        )
        cache = ClusterCache(api)
        leader = (
            LeaderElector(api, settings.lease, identity_of(settings.release, settings.pod))
            if settings.lease
            else None
        )
        is_leader = leader.is_leader if leader else lambda: True
        metrics = Metrics(is_leader, leader.unready_reason if leader else lambda: None)
        jobs = Jobs(database, [settings.namespace])
        actuator = Actuator(api, jobs, cache, settings.template, metrics.record_step, settings.site)
        loop = ReconcileLoop(
            cache, database, actuator, settings.namespace, settings.limit,
            worker_limit=settings.worker_limit, is_leader=is_leader, metrics=metrics, site=settings.site,
        )  # fmt: skip
        stop_metrics = metrics.serve(settings.metrics_port) if settings.metrics_port else lambda: None
        tasks = [asyncio.create_task(loop.run(), name="reconcile")]
        if settings.metrics_port:
            tasks.append(asyncio.create_task(measure(database, settings.namespace, metrics), name="measure"))
        if leader:
            tasks.append(asyncio.create_task(leader.run(loop.wake), name="lead"))
        return cls(api, database, cache, loop, leader, tasks, stop_metrics)

    async def stop(self) -> None:
        """Stop the loop, then release the lease, so that the next operator starts only when this one has ended."""
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        if self.leader:
            await self.leader.release()
        self.stop_metrics()
        await self.database.close()
        await self.api.close()


def configure(kopf_settings: kopf.OperatorSettings) -> None:
    """Set kopf up for watching only."""
    kopf_settings.scanning.disabled = True  # would need rights on CRDs and namespaces
    kopf_settings.posting.enabled = False  # events are told by the planner, few and telling
    kopf_settings.networking.error_backoffs = EndlessBackoffs()
    # Without limits, a request over a connection that died silently would wait for 5 minutes.
    kopf_settings.networking.request_timeout = 10
    kopf_settings.networking.connect_timeout = 5
    # The server ends each watch after a minute; if even that is lost, the client does.
    kopf_settings.watching.server_timeout = 60
    kopf_settings.watching.client_timeout = 70
    kopf_settings.watching.connect_timeout = 5
    # After faults of a handler; ours only feed the cache, so a long pause would only blind it.
    kopf_settings.queueing.error_delays = (1, 2, 3, 5)


def registry(site: Settings) -> kopf.OperatorRegistry:
    """Return kopf's registry with this operator's handlers."""
    handlers = kopf.OperatorRegistry()
    running: list[Operator] = []

    @kopf.on.login(registry=handlers)
    async def login(**kwargs: Any) -> kopf.ConnectionInfo | None:
        # kopf would prefer the official client's synchronous half, which is slow to import.
        return kopf.login_with_service_account(**kwargs) or kopf.login_with_kubeconfig(**kwargs)

    # What fails here is configuration: end with the reason, and do not try for ever.
    @kopf.on.startup(registry=handlers, errors=kopf.ErrorsMode.PERMANENT)
    async def startup(settings: kopf.OperatorSettings, **_: Any) -> None:
        configure(settings)
        running.append(await Operator.start(site))

    @kopf.on.cleanup(registry=handlers)
    async def cleanup(**_: Any) -> None:
        while running:
            await running.pop().stop()

    @kopf.on.event(GROUP, VERSION, PLURAL, registry=handlers)
    async def job_event(type: str | None, body: kopf.Body, **_: Any) -> None:
        for operator in running:
            operator.cache.job_event(type, body)
            operator.loop.wake()

    @kopf.on.event("", "v1", "pods", labels={LABEL_COMPONENT: COMPONENT}, registry=handlers)
    async def pod_event(type: str | None, body: kopf.Body, **_: Any) -> None:
        for operator in running:
            operator.cache.pod_event(type, body)
            operator.loop.wake()

    @kopf.on.probe(registry=handlers)
    async def healthy(**_: Any) -> str:
        unhealthy_reason = running[0].cache.unhealthy_reason() if running else "not started"
        if unhealthy_reason:
            # Any other exception would be retried after a minute, with the request hanging so long.
            raise kopf.PermanentError(unhealthy_reason)
        return (running[0].cache.degraded_reason() or "ok") if running else "ok"

    return handlers


def run(settings: Settings, liveness: str) -> None:
    """Run until SIGTERM."""
    kopf.run(
        registry=registry(settings),
        standalone=True,
        namespaces=[settings.namespace],
        liveness_endpoint=liveness,
    )
