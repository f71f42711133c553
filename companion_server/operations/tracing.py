"""OpenTelemetry spans of answered requests, under the phone's own trace.

A request's times are measured anyway, so its spans are made when it is over, with those times:

    infer                       kind server, parent: the phone's `traceparent`
    ├── decode   the body to checked arrays          ├── compute   the batch it took part in
    ├── queue    until its batch began               └── encode    outputs to the body

They lie end to end before the end of the reply; what is left at the beginning is the body's
arrival. Spans have names, sizes and times, never payloads. OpenTelemetry is imported only when an
exporter is configured; without one there is no tracer, and a request costs nothing here.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import headtail
from companion_server.operations.records import RequestRecord
from headtail.errors import MissingDependency, UsageFault

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import SpanProcessor, TracerProvider

__all__ = ["Tracer", "open_tracer", "tracer_of"]

SPANS = ("decode", "queue", "compute", "encode")
EXPORT_TIMEOUT_S = 5.0
SERVER_ERROR = 500


def open_tracer(endpoint: str, *, ratio: float = 1.0) -> Tracer:
    """A tracer that sends to an OTLP/HTTP receiver, `http://HOST:4318`, from its own thread.

    A request whose caller says so is always recorded, one whose caller says not to never, and of
    the rest a share `ratio`. Spans that cannot be delivered are dropped, and logged. The standard
    `OTEL_EXPORTER_OTLP_HEADERS` and `..._CERTIFICATE` apply. Raises `UsageFault` for what is not
    an address and `MissingDependency` without OpenTelemetry.
    """
    if not endpoint.startswith(("http://", "https://")):
        raise UsageFault(
            f"The trace receiver is {endpoint!r}.",
            expected="An OTLP/HTTP receiver is http://HOST:PORT or https://HOST:PORT.",
            remedy="Give the address of a collector's OTLP/HTTP port, 4318 as a rule.",
        )
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        raise MissingDependency(
            "opentelemetry-exporter-otlp-proto-http",
            needed_for="sending traces",
            install="pip install 'headtail[server]'",
        ) from None
    url = endpoint.rstrip("/") + "/v1/traces"
    exporter = OTLPSpanExporter(endpoint=url, timeout=EXPORT_TIMEOUT_S)
    return tracer_of(BatchSpanProcessor(exporter), ratio=ratio)


def tracer_of(processor: SpanProcessor, *, ratio: float = 1.0) -> Tracer:
    """A tracer that gives its spans to `processor`; nothing global is set."""
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased

    resource = Resource.create(
        {"service.name": "headtail", "service.version": headtail.__version__}
    )
    provider = TracerProvider(
        resource=resource, sampler=ParentBased(TraceIdRatioBased(ratio)), shutdown_on_exit=False
    )
    provider.add_span_processor(processor)
    return Tracer(provider)


class Tracer:
    """Makes the spans of finished requests."""

    def __init__(self, provider: TracerProvider) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("headtail.companion_server", headtail.__version__)

    def record(self, record: RequestRecord) -> None:
        """Make the spans of a request that ended just now.

        Requests that named no model (health, metrics, the status page) are left out.
        """
        if not record.model:
            return
        from opentelemetry.trace import SpanKind, StatusCode, set_span_in_context

        end = time.time_ns()
        span = self._tracer.start_span(
            "infer",
            context=_parent(record),
            kind=SpanKind.SERVER,
            attributes=_attributes(record),
            start_time=end - _ns(record.total_ms),
        )
        if record.status >= SERVER_ERROR:
            span.set_status(StatusCode.ERROR)
        if record.batch and span.is_recording():
            context = set_span_in_context(span)
            times = (record.decode_ms, record.queue_ms, record.compute_ms, record.encode_ms)
            begin = end - _ns(sum(times))
            for name, ms in zip(SPANS, times, strict=True):
                stage = self._tracer.start_span(name, context=context, start_time=begin)
                begin += _ns(ms)
                stage.end(begin)
        span.end(end)

    def close(self) -> None:
        """Send what is left and end the sending thread; blocks for `EXPORT_TIMEOUT_S` at most."""
        self._provider.shutdown()


def _ns(ms: float) -> int:
    return int(ms * 1e6)


def _parent(record: RequestRecord) -> Context:
    from opentelemetry.context import Context
    from opentelemetry.trace import (
        NonRecordingSpan,
        SpanContext,
        TraceFlags,
        set_span_in_context,
    )

    trace = record.trace
    if trace is None:
        return Context()
    told = SpanContext(
        int(trace.trace_id, 16),
        int(trace.span_id, 16),
        is_remote=True,
        trace_flags=TraceFlags(TraceFlags.SAMPLED if trace.sampled else TraceFlags.DEFAULT),
    )
    return set_span_in_context(NonRecordingSpan(told), Context())


def _attributes(record: RequestRecord) -> dict[str, str | int]:
    # https://opentelemetry.io/docs/specs/semconv/http/http-spans/ where it has a name
    return {
        "http.response.status_code": record.status,
        "http.request.body.size": record.bytes_in,
        "http.response.body.size": record.bytes_out,
        "network.protocol.name": record.protocol,
        "headtail.model": record.model,
        "headtail.bundle": record.bundle_id,
        "headtail.cut": record.cut,
        "headtail.codec": record.codec,
        "headtail.batch": record.batch,
        "headtail.shed": record.shed,
    }
