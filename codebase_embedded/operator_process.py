"""The operator of an instance: the same loop and planner, woken by the table's changes, and its pods' runtime."""

import asyncio
import logging
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

from codebase_embedded.folder import Folder
from codebase_embedded.life import end_with_instance, life_of_instance
from codebase_embedded.pods.runtime import PodRuntime
from codebase_embedded.resource_api import ResourceApi
from codebase_embedded.settings import NAMESPACE, SETTINGS_VARIABLE, Settings
from codebase_index import logs, tracing
from codebase_index.api.job import MAX_PROCESSES
from codebase_index.listening import listen_on
from codebase_index.store.address import FILE_VARIABLE, address_from_env
from codebase_index.store.database import Database
from codebase_index.store.errors import StoreError
from codebase_index.store.jobs.jobs import Jobs
from codebase_index.store.resources.resources import ResourceKind, ResourceNotFound, Resources
from codebase_index.store.resources.watch import Change, changes
from codebase_indexer.source import remote
from codebase_operator.cluster.actuator import Actuator
from codebase_operator.cluster.cache import ClusterCache
from codebase_operator.cluster.pods import BASE_BYTES, PROCESS_BYTES
from codebase_operator.metrics import Metrics
from codebase_operator.model.quantities import mebibytes
from codebase_operator.reconciler import ReconcileLoop
from codebase_operator.settings import PodTemplate
from codebase_operator.statistics import measure

log = logging.getLogger(__name__)

RETRY_SECONDS: Final = 0.2
"""Between attempts while Postgres starts: a second at most, so the first job must not wait for another."""

ACTIVITY_INTERVAL: Final = 10.0


def main() -> None:
    """Run until SIGTERM, or until the instance ends."""
    settings = Settings.of_json(os.environ[SETTINGS_VARIABLE])
    logs.configure("operator", settings.log_level)
    tracing.configure("codebase-operator")
    asyncio.run(end_with_instance(run(settings)))


async def run(settings: Settings) -> None:
    """Run until cancelled."""
    folder = Folder(settings.data)
    database = await Database.open(address_from_env(), name="codebase-operator", timeout=5.0)
    try:
        await _migrate(database)
        resources = Resources(database, NAMESPACE)
        api = ResourceApi(resources)
        cache = ClusterCache(api)
        metrics = Metrics()
        actuator = Actuator(
            api, Jobs(database, [NAMESPACE]), cache, pod_template(settings, os.environ), metrics.record_step
        )
        loop = ReconcileLoop(
            cache,
            database,
            actuator,
            NAMESPACE,
            settings.max_jobs,
            worker_limit=settings.max_jobs,
            metrics=metrics,
        )
        runtime = PodRuntime(resources, folder.pods, life_of_instance())
        async with asyncio.TaskGroup() as group:
            if settings.metrics_port:
                metrics.serve(settings.metrics_port, partial(listen_on, "127.0.0.1"))
                group.create_task(measure(database, NAMESPACE, metrics), name="measure")
            group.create_task(loop.run(), name="reconcile")
            group.create_task(runtime.run(), name="pods")
            group.create_task(_watch(resources, cache, loop.wake, runtime.wake), name="watch")
            group.create_task(_report_activity(cache, folder.activity), name="activity")
    finally:
        await database.close()


def pod_template(settings: Settings, env: Any) -> PodTemplate:
    """Return what pods have in common: the instance's database and sources, and limits for this machine."""
    processes = min(settings.processes, MAX_PROCESSES)
    limits = {"cpu": str(processes), "memory": mebibytes(BASE_BYTES + processes * PROCESS_BYTES)}
    variables = {
        FILE_VARIABLE: env[FILE_VARIABLE],
        "CODEBASE_ROOTS": settings.roots_json,
        "CODEBASE_GIT_HOSTS": ",".join(settings.git_hosts),
        "CODEBASE_LOG_LEVEL": settings.log_level,
        **_user_credentials(settings, env),
    }
    return PodTemplate(
        image="none",
        env=[{"name": name, "value": value.replace("$", "$$")} for name, value in variables.items()],
        resources={"limits": limits},
    )


def _user_credentials(settings: Settings, env: Any) -> dict[str, str]:
    """Return the variables by which an indexer finds the user's agent and keyring, if it may."""
    if not settings.user_credentials:
        return {}
    names = [name for name in remote.OF_USER if name in env]
    return {remote.USER_VARIABLE: "true", **{name: env[name] for name in names}}


async def _migrate(database: Database) -> None:
    """Bring the schema up to date as soon as Postgres answers."""
    while True:
        try:
            applied = await database.migrate(NAMESPACE)
            log.info("schema is up to date", extra={"applied": applied})
            return
        except StoreError as error:
            log.debug("the schema is not there yet: %s", error)
            await asyncio.sleep(RETRY_SECONDS)


async def _watch(
    resources: Resources, cache: ClusterCache, wake_loop: Callable[[], None], wake_pods: Callable[[], None]
) -> None:
    """Take each change into the cache, and wake whom it concerns. A connection that ends is opened again."""
    while True:
        try:
            async for change in changes(resources.address):
                if change is None:  # it listens from here on: what was before is in the next lists
                    version = str(await resources.version())
                    cache.jobs.observe(version)
                    cache.pods.observe(version)
                    cache.list_soon()
                else:
                    await _take(resources, cache, change)
                wake_loop()
                if change is None or change.kind is ResourceKind.POD:
                    wake_pods()
        except StoreError as error:
            log.warning("the watch ended and begins anew: %s", error)
            await asyncio.sleep(RETRY_SECONDS)


async def _take(resources: Resources, cache: ClusterCache, change: Change) -> None:
    take = cache.job_event if change.kind is ResourceKind.JOB else cache.pod_event
    body: dict[str, Any] = {"metadata": {"uid": change.uid, "resourceVersion": str(change.version)}}
    kind = change.type
    if kind != "DELETED":
        try:
            found = await resources.get(change.kind, change.name)
        except ResourceNotFound:
            return  # its deletion is on the way
        if found["metadata"]["uid"] != change.uid:
            return
        body = found
    take(kind, body)


async def _report_activity(cache: ClusterCache, file: Path) -> None:
    """Keep the instance from counting as unused while a job is unfinished."""
    while True:
        if any(not job.finished for job in cache.jobs.items.values()):
            await asyncio.to_thread(file.touch)
        await asyncio.sleep(ACTIVITY_INTERVAL)


if __name__ == "__main__":
    main()
