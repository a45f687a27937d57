"""What `/metrics` shows, in the format of Prometheus. Levels follow from each snapshot, counts from each step.

Levels are the same in every operator; the steps are those of the one that leads. Names of repositories and jobs
are no labels: they are unbounded, and the log has them.
"""

import socket
import threading
from collections import Counter as Tally
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from socketserver import ThreadingMixIn
from typing import Any, Final, get_args
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

import prometheus_client as prometheus

from codebase_index.api.counters import Counters
from codebase_index.api.job import ErrorType, JobState
from codebase_index.api.resource import IndexingJobStatus, Progress
from codebase_index.listening import listen_everywhere
from codebase_index.store.catalog.statistics import Statistics
from codebase_index.version import VERSION
from codebase_operator.cluster.api import ApiError
from codebase_operator.model import actions as do
from codebase_operator.model.snapshot import FINAL_PHASES, JobView, Snapshot, job_views
from codebase_operator.planning.scheduler import schedule, slots_used

_ENDS: Final = [("completed", ""), ("cancelled", ""), *(("failed", error.value) for error in ErrorType)]
"""How a job may end. Each has its series from the start: one that begins with 1 never increases, so that an alert
would miss the first failure of each kind."""

_DURATIONS: Final = (1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 4 * 3600, 24 * 3600)
"""Seconds: from a small repository to what somebody should look at."""

ACTIVE: Final = (JobState.PENDING, JobState.RUNNING, JobState.BLOCKED)


@dataclass(frozen=True)
class Gauges:
    """What is true now, in numbers."""

    active: Mapping[JobState, int]
    """Unfinished jobs by state."""
    oldest_seconds: float
    """Age of the oldest unfinished job; 0 when there is none."""
    queued: int
    """Jobs that nothing but a slot keeps from starting."""
    slots: int
    limit: int
    stuck: int
    database: bool
    """Whether it answers. Without it, the states are those of the jobs' mirrors."""


def gauges_of(s: Snapshot) -> Gauges:
    """Count a snapshot. Pure."""
    views = job_views(s)
    active = [view for view in views if not view.final]
    ages = [s.now - view.job.created for view in active]
    return Gauges(
        active=Tally(_state(view) for view in active),
        oldest_seconds=max(0.0, max(ages, default=timedelta()).total_seconds()),
        queued=schedule(views, s).waiting_for_slot,
        slots=len(slots_used(views, s)),
        limit=s.limit,
        stuck=sum(view.stuck(s.now) for view in active),
        database=s.rows is not None,
    )


def _state(view: JobView) -> JobState:
    if view.row is not None:
        return view.row.state
    mirrored = (view.job.status.phase or "").lower()
    return JobState(mirrored) if mirrored in ACTIVE else JobState.PENDING


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True  # a reader that hangs holds up neither the others nor the end

    def __init__(self, listening: socket.socket, app: Callable[..., Iterable[bytes]]) -> None:
        super().__init__(("", 0), _Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listening
        self.server_address = listening.getsockname()
        self.server_name, self.server_port = "", self.server_address[1]  # HTTPServer would look the name up
        self.setup_environ()
        self.set_app(app)


class _Handler(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: probes and scrapes come every few seconds."""


class Metrics:
    """The operator's metrics, in a registry of their own, and beside them whether it is of use.

    `unready_reason` says why it is not, or None.
    """

    def __init__(
        self, is_leader: Callable[[], bool] = lambda: True, unready_reason: Callable[[], str | None] = lambda: None
    ) -> None:
        self._unready_reason = unready_reason
        self.registry = prometheus.CollectorRegistry()
        gauge, counter = self._gauge, self._counter
        self._active = gauge("jobs_active", "Unfinished jobs", "state")
        self._oldest = gauge("job_oldest_active_seconds", "Age of the oldest unfinished job; 0 without any")
        self._stuck = gauge("jobs_stuck", "Unfinished jobs that are older than 7 days")
        self._queued = gauge("queue_length", "Jobs that wait for a slot, and for nothing else")
        self._slots = gauge("slots_used", "Jobs that count against the limit")
        self._limit = gauge("slots_limit", "Jobs that may run at once")
        self._database = gauge("database_up", "Whether the database answered in the last cycle")
        self._ended = counter("jobs_ended", "Jobs that ended, as this operator told", "state", "error_type")
        self._retries = counter("retries", "Attempts started anew; counted against backoffLimit or not", "counted")
        self.cycle_errors = counter("cycle_errors", "Passes that an error ended, a bug of the operator")
        self._queue_wait = self._histogram("queue_wait_seconds", "From a job's creation to its first start")
        self._job = self._histogram("job_seconds", "From a job's first start to its end", "state")
        self._counts = {
            name: counter(name, f"The counter {name} of all jobs, as they go on") for name in Counters.model_fields
        }
        self._indexes = gauge("indexes", "Indexes of the namespace")
        self._chunks = gauge("index_chunks", "Chunks of these indexes")
        self._oldest_index = gauge("oldest_index_seconds", "Age of the least recently indexed one; 0: none")
        self._database_bytes = gauge("database_bytes", "Size of the database, with what it holds for others")
        self._connections = gauge("database_connections", "Connections to the database, of all programs")
        self._max_connections = gauge("database_connections_limit", "Connections that Postgres allows")
        self._steps = counter("steps", "Steps of plans; a conflict or failure is planned again", "step", "outcome")
        self.cycle = prometheus.Histogram(
            "codebase_operator_cycle_seconds", "Duration of one pass: list, read, plan, apply",
            buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10), registry=self.registry,
        )  # fmt: skip
        gauge("leader", "Whether this operator applies plans").set_function(lambda: float(is_leader()))
        gauge("ready", "Whether it leads or stands by; 0: another release runs the namespace's jobs").set_function(
            lambda: float(unready_reason() is None)
        )
        gauge("build_info", "1, with the version of this program", "version").labels(VERSION).set(1)
        for counted in ("true", "false"):  # so that the first retry is an increase
            self._retries.labels(counted)
        for end in _ENDS:
            self._ended.labels(*end)
        for step in get_args(do.Action):
            self._steps.labels(step.__name__, "failed")
        prometheus.ProcessCollector(registry=self.registry)

    def set_gauges(self, gauges: Gauges) -> None:
        """Take over the levels of the latest snapshot."""
        for state in ACTIVE:
            self._active.labels(state.value).set(gauges.active.get(state, 0))
        self._oldest.set(gauges.oldest_seconds)
        self._stuck.set(gauges.stuck)
        self._queued.set(gauges.queued)
        self._slots.set(gauges.slots)
        self._limit.set(gauges.limit)
        self._database.set(gauges.database)

    def set_statistics(self, statistics: Statistics) -> None:
        """Take over what the database holds."""
        self._indexes.set(statistics.indexes)
        self._chunks.set(statistics.chunks)
        self._oldest_index.set(statistics.oldest_index_seconds)
        self._database_bytes.set(statistics.database_bytes)
        self._connections.set(statistics.connections)
        self._max_connections.set(statistics.max_connections)

    def record_step(self, action: do.Action, error: Exception | None) -> None:
        """Count a step that was tried; `error` is why it failed."""
        conflict = isinstance(error, ApiError) and error.status == 409
        outcome = "done" if error is None else "conflict" if conflict else "failed"
        self._steps.labels(type(action).__name__, outcome).inc()
        match action:
            # The fence is its first half: when only the API failed after it, the retry is a fact.
            case do.Retry() if error is None or isinstance(error, ApiError):
                self._retries.labels(str(action.counted).lower()).inc()
            # Written under the version that was read: no two operators, no two passes, succeed with one.
            case do.WriteStatus(job, status) if error is None:
                self._record_change(job.status, status, created=job.created)

    def _record_change(self, before: IndexingJobStatus, now: IndexingJobStatus, *, created: datetime) -> None:
        """Count what a job did since its status was written last."""
        done, earlier = now.progress or Progress(), before.progress or Progress()
        for name, count in done.counts().items():
            self._counts[name].inc(max(0, count - getattr(earlier, name)))
        if now.started_at and not before.started_at:
            self._queue_wait.observe(max(0.0, (now.started_at - created).total_seconds()))
        if now.phase in FINAL_PHASES and before.phase not in FINAL_PHASES:
            state = now.phase.lower()
            self._ended.labels(state, (now.reason or "") if state == "failed" else "").inc()
            ended_at = now.completed_at or now.cancelled_at
            if now.started_at and ended_at:
                self._job.labels(state).observe(max(0.0, (ended_at - now.started_at).total_seconds()))

    def serve(self, port: int, listen: Callable[[int], socket.socket] = listen_everywhere) -> Callable[[], None]:
        """Answer /metrics and /readyz on this port, also when the loop is stuck; return how to stop it."""
        server = _Server(listen(port), self._app())
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()

        def stop() -> None:
            server.shutdown()
            server.server_close()
            thread.join()

        return stop

    def _app(self) -> Callable[..., Iterable[bytes]]:
        metrics: Callable[..., Iterable[bytes]] = prometheus.make_wsgi_app(self.registry)

        def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
            if environ["PATH_INFO"] != "/readyz":
                return metrics(environ, start_response)
            reason = self._unready_reason()
            status = "503 Service Unavailable" if reason else "200 OK"
            start_response(status, [("Content-Type", "text/plain; charset=utf-8")])
            return [f"{reason or 'ok'}\n".encode()]

        return app

    def _gauge(self, name: str, text: str, *labels: str) -> prometheus.Gauge:
        return prometheus.Gauge(f"codebase_operator_{name}", text, labels, registry=self.registry)

    def _histogram(self, name: str, text: str, *labels: str) -> prometheus.Histogram:
        return prometheus.Histogram(
            f"codebase_operator_{name}", text, labels, buckets=_DURATIONS, registry=self.registry
        )

    def _counter(self, name: str, text: str, *labels: str) -> prometheus.Counter:
        return prometheus.Counter(f"codebase_operator_{name}", text, labels, registry=self.registry)
