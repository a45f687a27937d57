"""The metrics of the server, which the probe port serves at `/metrics` for Prometheus.

Names of repositories, jobs and callers are no labels: there is no bound for them, and the log has them.
"""

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from starlette.requests import Request
from starlette.responses import Response

_REGISTRY: Final = CollectorRegistry()

CALLS: Final = Counter(
    "codebase_server_calls_total", "Calls of tools; outcome: ok, refused, crashed, cancelled",
    ["tool", "outcome"], registry=_REGISTRY,
)  # fmt: skip
CALL_SECONDS: Final = Histogram(
    "codebase_server_call_seconds", "Duration of calls of tools",
    ["tool"], buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 8), registry=_REGISTRY,
)  # fmt: skip
CONNECTIONS: Final = Gauge(
    "codebase_server_connections", "Open connections; state: waiting for the client, working for it",
    ["port", "state"], registry=_REGISTRY,
)  # fmt: skip
CLOSED_CONNECTIONS: Final = Counter(
    "codebase_server_connections_closed_total", "Connections that were closed or refused by the server",
    ["port", "reason"], registry=_REGISTRY,
)  # fmt: skip


async def serve_metrics(_: Request) -> Response:
    """Answer with all metrics."""
    return Response(generate_latest(_REGISTRY), media_type=CONTENT_TYPE_LATEST)
