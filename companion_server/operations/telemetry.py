"""Begins and finishes the record of each request; the ASGI middleware does it for HTTP.

Whoever answers finds the record in `records.current_record`. The gRPC and WebSocket shells call
`begin` and `finish` themselves, once for each inference.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from companion_server.operations.metrics import CLIENT_GONE, Metrics
from companion_server.operations.records import RequestRecord, current_record
from companion_server.operations.tracing import Tracer
from companion_server.security.scopes import PRINCIPAL
from headtail.wire.traceparent import HEADER, TraceParent

__all__ = ["Telemetry", "TelemetryMiddleware"]

_HEADER = HEADER.encode()

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]


class Telemetry:
    """Where finished requests go: metrics always, traces if there is a tracer."""

    def __init__(self, metrics: Metrics, *, tracer: Tracer | None = None) -> None:
        self.metrics = metrics
        self._tracer = tracer

    def begin(self, protocol: str, traceparent: str = "") -> RequestRecord:
        """A record that starts now, and is this task's `current_record` from here on."""
        trace = TraceParent.parse(traceparent) if traceparent else None
        record = RequestRecord(protocol, trace)
        current_record.set(record)
        return record

    def finish(self, record: RequestRecord, status: int) -> None:
        """The reply has gone, or nobody waits for it any more."""
        record.finish(status)
        self.metrics.observe(record)
        if self._tracer is not None:
            self._tracer.record(record)


class TelemetryMiddleware:
    """Pure ASGI: one record for each HTTP request, whoever answers or refuses it."""

    def __init__(self, app: Application, telemetry: Telemetry) -> None:
        self._app = app
        self._telemetry = telemetry

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and note what comes and goes."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        record = self._telemetry.begin("rest", _traceparent(scope))
        status, gone = CLIENT_GONE, False

        async def counted_receive() -> Message:
            nonlocal gone
            message = await receive()
            gone = gone or message["type"] == "http.disconnect"
            record.bytes_in += len(message.get("body", b""))
            return message

        async def counted_send(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            else:
                record.bytes_out += len(message.get("body", b""))
            await send(message)

        try:
            await self._app(scope, counted_receive, counted_send)
        except Exception:  # counted, and passed on
            if not gone:  # what the server then answers; otherwise there is nobody to answer
                status = 500
            raise
        finally:
            _name_client(record, scope)
            self._telemetry.finish(record, status)


def _traceparent(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == _HEADER:
            return str(value, "latin-1")
    return ""


def _name_client(record: RequestRecord, scope: Scope) -> None:
    principal = scope.get(PRINCIPAL)
    if principal is not None and principal.key_id:
        record.client, record.client_name = principal.key_id, principal.name
    elif scope.get("client"):
        record.client = scope["client"][0]  # without the port: a phone opens many connections
