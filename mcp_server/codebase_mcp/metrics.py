"""The metrics of the server, which the probe port serves at `/metrics` for Prometheus.

Names of repositories, jobs and callers are no labels: there is no bound for them, and the log has them.
"""

from collections.abc import Callable
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from starlette.requests import Request
from starlette.responses import Response

from codebase_index.version import VERSION

REGISTRY: Final = CollectorRegistry()

_SEARCH_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 8)
"""Seconds; 8 is the timeout of a search."""

CALLS: Final = Counter(
    "codebase_server_calls_total", "Calls of tools; outcome: ok, refused, crashed, cancelled",
    ["tool", "outcome"], registry=REGISTRY,
)  # fmt: skip
CALL_SECONDS: Final = Histogram(
    "codebase_server_call_seconds", "Duration of calls of tools",
    ["tool"], buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 8), registry=REGISTRY,
)  # fmt: skip
CONNECTIONS: Final = Gauge(
    "codebase_server_connections", "Open connections; state: waiting for the client, working for it",
    ["port", "state"], registry=REGISTRY,
)  # fmt: skip
CLOSED_CONNECTIONS: Final = Counter(
    "codebase_server_connections_closed_total", "Connections that were closed or refused by the server",
    ["port", "reason"], registry=REGISTRY,
)  # fmt: skip
AUTHENTICATIONS: Final = Counter(
    "codebase_server_authentications_total",
    "Requests by who sent them; outcome: ok, missing (no token), refused, unavailable (nobody could say)",
    ["outcome"], registry=REGISTRY,
)  # fmt: skip
REFUSALS: Final = Counter(
    "codebase_server_refusals_total", "Calls that were refused; reason: the first words of what was answered",
    ["tool", "reason"], registry=REGISTRY,
)  # fmt: skip
SEARCH_SECONDS: Final = Histogram(
    "codebase_server_search_seconds", "Duration of searches, with the wait for a permit",
    ["mode"], buckets=_SEARCH_BUCKETS, registry=REGISTRY,
)  # fmt: skip
EMBEDDING_SECONDS: Final = Histogram(
    "codebase_server_embedding_seconds", "Until a query had its vector, or had none; outcome: ok, missing",
    ["outcome"], buckets=_SEARCH_BUCKETS, registry=REGISTRY,
)  # fmt: skip
_POOL: Final = Gauge(
    "codebase_server_database_connections", "Connections of this server to Postgres; state: idle, used",
    ["state"], registry=REGISTRY,
)  # fmt: skip
Gauge("codebase_server_build_info", "1, with the version of this program", ["version"], registry=REGISTRY).labels(
    VERSION
).set(1)

REFUSAL_REASONS: Final = frozenset(
    {"validation", "ambiguous", "not indexed", "not found", "job not found", "cannot cancel", "conflict", "in use"}
    | {"queue is full", "busy", "unavailable", "forbidden", "read-only"}
)
"""The first words of refusals. Whatever else a text may begin with is counted as `other`: labels need a bound."""


_OUTCOMES: Final = ("ok", "refused", "crashed", "cancelled")


for _outcome in ("ok", "missing", "refused", "unavailable"):
    AUTHENTICATIONS.labels(_outcome)


def announce(tool: str) -> None:
    """Show the counts of a tool from the start: a series that begins with 1 has no increase, and no alert."""
    for outcome in _OUTCOMES:
        CALLS.labels(tool, outcome)
    for reason in REFUSAL_REASONS:
        REFUSALS.labels(tool, reason)


def refusal_reason(text: str) -> str:
    """Return which of the reasons a refusal begins with, or `other`."""
    reason = text.split(":", 1)[0]
    return reason if reason in REFUSAL_REASONS else "other"


def count_refusal(tool: str, text: str) -> None:
    """Count a refused call by the beginning of its answer."""
    REFUSALS.labels(tool, refusal_reason(text)).inc()


def watch_connections(idle: Callable[[], int], used: Callable[[], int]) -> None:
    """Show the connections to Postgres from now on, counted each time that somebody asks for the metrics."""
    _POOL.labels("idle").set_function(idle)
    _POOL.labels("used").set_function(used)


async def serve_metrics(_: Request) -> Response:
    """Answer with all metrics."""
    return Response(generate_latest(REGISTRY), media_type=CONTENT_TYPE_LATEST)
