"""One id from a tool call to the lines of its pod, and OpenTelemetry's spans where a collector is named.

The id is that of the W3C's trace context: the server takes it from the client or makes it, the job's resource
carries it in an annotation, its pods in an environment variable, and log lines of all three say it. Spans are made
where OTEL_EXPORTER_OTLP_ENDPOINT is set, and only then is the SDK imported: an indexer's start is short.
"""

import os
import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final

from codebase_index.context_value import set_for_block
from codebase_index.trace_context import ANNOTATION, TraceContext
from codebase_index.version import VERSION

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")

_EXPORT_SECONDS: Final = 2
"""How long a collector may take, unless OTEL_EXPORTER_OTLP_TIMEOUT says it: a pod that ends waits for it."""

_current: ContextVar[TraceContext | None] = ContextVar("trace", default=None)
_provider: "TracerProvider | None" = None


def current() -> TraceContext | None:
    """Return where this task is in a trace, if it is in one."""
    return _current.get()


def annotations() -> dict[str, str]:
    """Return what a resource is annotated with, so that what is done for it belongs to this trace."""
    here = current()
    return {ANNOTATION: str(here)} if here else {}


def configure(program: str, env: Mapping[str, str] = os.environ) -> None:
    """Send spans to the collector that the environment names, if it names one."""
    global _provider
    if not any(env.get(name) for name in ENDPOINTS):
        return
    from opentelemetry import trace
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    timeout = None if env.get("OTEL_EXPORTER_OTLP_TIMEOUT") else _EXPORT_SECONDS
    _provider = TracerProvider(resource=Resource.create({"service.name": program, "service.version": VERSION}))
    _provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(timeout=timeout)))
    trace.set_tracer_provider(_provider)


def shut_down() -> None:
    """Send what is not sent yet. For a process that ends by itself; others do so when they exit."""
    if _provider is not None:
        _provider.shutdown()


def continued(parent: TraceContext | None) -> AbstractContextManager[None]:
    """Let the block's log lines belong to this trace, without a span of its own."""
    return set_for_block(_current, parent)


@contextmanager
def span(name: str, parent: TraceContext | None = None, **attributes: str) -> Iterator[None]:
    """Let the block be a span of the trace that runs, else of its parent's, else of a new one.

    An error that leaves the block marks the span, by its type alone: its text may hold what others wrote.
    """
    if _provider is None:
        with continued(current() or parent or TraceContext(secrets.token_hex(16), secrets.token_hex(8))):
            yield
        return
    from opentelemetry.trace import StatusCode, get_current_span

    running = get_current_span().get_span_context().is_valid
    context = None if running or parent is None else _context_of(parent)
    with _provider.get_tracer(__name__).start_as_current_span(
        name, context, attributes=attributes, record_exception=False, set_status_on_exception=False
    ) as made:
        place = made.get_span_context()
        here = TraceContext(f"{place.trace_id:032x}", f"{place.span_id:016x}", f"{place.trace_flags:02x}")
        try:
            with continued(here):
                yield
        except BaseException as error:
            made.set_attribute("error.type", type(error).__qualname__)
            made.set_status(StatusCode.ERROR)
            raise


def _context_of(parent: TraceContext) -> Any:
    from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context

    flags = TraceFlags(int(parent.flags, 16))
    place = SpanContext(int(parent.trace_id, 16), int(parent.span_id, 16), is_remote=True, trace_flags=flags)
    return set_span_in_context(NonRecordingSpan(place))


def is_exporting() -> bool:
    """Return whether spans are sent anywhere."""
    return _provider is not None


def record(name: str, seconds: float, failed: bool, **attributes: str) -> None:
    """Tell of something that has just ended, within the span that runs; outside of one, of nothing."""
    if _provider is None:
        return
    from opentelemetry.trace import SpanKind, StatusCode, get_current_span

    if not get_current_span().is_recording():
        return
    now = time.time_ns()
    made = _provider.get_tracer(__name__).start_span(
        name, kind=SpanKind.CLIENT, start_time=now - int(seconds * 1e9), attributes=attributes
    )
    if failed:
        made.set_status(StatusCode.ERROR)
    made.end(now)
