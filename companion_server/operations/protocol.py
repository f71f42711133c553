"""uvicorn's HTTP/1.1 connection with the limits that it lacks.

What uvicorn 0.54 with httptools enforces by itself: an idle timeout after an answer (which any
byte, even a blank line, cancels), `limit_concurrency` (counted over connections that have sent
nothing too, so that 1,000 silent ones lock everybody out with 503), and a pause after 64 KiB of
body that nobody read. It has no limit on the size or number of headers, on the time until a head is
complete, on the pace of a body or of a reader, on trailers and chunk extensions, or on connections.

Each connection notes what it waits for and since when; one timer for all of them looks at that, so
a request pays for a few dictionary operations and no timer of its own (5 us, measured). A refusal
is an answer of this protocol with a status; then what the client still sends is thrown away for
`LINGER_S`, because closing at once would reset the connection under the answer (RFC 9112 §9.6).

A TLS handshake happens before any of this; `loops.py` bounds it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from companion_server.operations.joining import JoiningTransport
from companion_server.operations.limits import ConnectionLimits
from companion_server.operations.refusals import HOSTS, LARGE, NO_HTTP, refusal, refusing

__all__ = ["ConnectionGuard", "guarded_protocol"]

LINGER_S = 1.0
MAX_LINGERING = 64  # connections that were refused and may still be reading why
HEADER_OVERHEAD = 4  # ": " and the line's end
NO_HEAD, HEAD, BODY, WHOLE = "no head", "head", "body", "whole"


class ConnectionGuard:
    """The connections of one server, and what closes them; belongs to one event loop.

    `closed` is called with a key of `reasons.CONNECTION_REASONS`.
    """

    def __init__(self, limits: ConnectionLimits, closed: Callable[[str], None]) -> None:
        self.limits = limits
        self.closed = closed
        # insertion-ordered sets, the oldest first
        self.headless: dict[GuardedProtocol, None] = {}
        self.idle: dict[GuardedProtocol, None] = {}
        self.members: set[GuardedProtocol] = set()
        self.open: set[Any] = set()  # uvicorn's own; upgraded ones are in it too
        self.lingering: dict[GuardedProtocol, float] = {}
        self._timer: asyncio.TimerHandle | None = None

    @property
    def count(self) -> int:
        """Open connections, WebSockets too, without those that were refused."""
        return len(self.open) - len(self.lingering)

    def admit(self, connection: GuardedProtocol) -> bool:
        """Take a new connection in, at the cost of one that waits if need be."""
        self.members.add(connection)
        self.open = connection.connections
        if self._timer is None:
            self._tick(connection.loop)
        if self.count <= self.limits.connections:
            return True
        for waiting in (self.headless, self.idle):
            oldest = next(iter(waiting), None)
            if oldest is not None:
                self.closed("evicted")
                oldest.drop()
                return True
        return False

    def forget(self, connection: GuardedProtocol) -> None:
        """It is gone, or no longer HTTP."""
        self.members.discard(connection)
        self.headless.pop(connection, None)
        self.idle.pop(connection, None)
        self.lingering.pop(connection, None)

    def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        for connection in list(self.members):
            connection.check(now)
        for connection, since in list(self.lingering.items()):
            if now - since >= LINGER_S:
                connection.drop()
        # without connections there is nothing to time; the next one starts the clock again
        active = bool(self.members or self.lingering)
        self._timer = loop.call_later(self.limits.tick_s, self._tick, loop) if active else None


def guarded_protocol(guard: ConnectionGuard) -> type[asyncio.Protocol]:
    """A class for `uvicorn.Config(http=...)` whose connections belong to `guard`."""

    class Guarded(GuardedProtocol):
        pass

    Guarded.guard = guard
    return Guarded


class GuardedProtocol(HttpToolsProtocol):
    """One connection."""

    guard: ConnectionGuard

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._reading = NO_HEAD
        self._since = 0.0  # of what is being read
        self._looked = 0.0
        self._unparsed = 0  # bytes since the parser last said what they were
        self._body_bytes = 0
        self._answered = 0.0  # when the last answer was complete
        self._sending = 0.0  # since when its reader has been slow
        self._closing = 0.0  # since when it has been closed with bytes still to go
        self.timeout_keep_alive = self.guard.limits.idle_s  # type: ignore[assignment]

    # What uvicorn calls

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A connection: take it in, or say why not."""
        super().connection_made(transport)
        self.transport = JoiningTransport(transport, self.loop)  # type: ignore[assignment]
        self._since = self._looked = self.loop.time()
        if self.guard.admit(self):
            self.guard.headless[self] = None
        else:
            self._refuse("full", HTTPStatus.SERVICE_UNAVAILABLE, "Too many connections are open")

    def connection_lost(self, exc: Exception | None) -> None:
        """The end of it."""
        self.guard.forget(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Bytes: count them until the parser knows what they are."""
        if self in self.guard.lingering:
            return
        if self._reading == WHOLE and not self._answering:
            # a blank line too: it must not keep a connection alive for ever
            self._start(NO_HEAD)
        self._unparsed += len(data)
        super().data_received(data)
        limits = self.guard.limits
        if self.transport.is_closing() or self._reading == WHOLE:
            return
        if self._unparsed > limits.head_bytes or len(self.headers or ()) > limits.headers:
            self._refuse("large_headers", HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, LARGE)

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        super().on_message_begin()
        if self._reading == WHOLE:  # pipelined: its time begins now
            self._start(HEAD)
        self._reading = HEAD
        self._unparsed = 0

    def on_headers_complete(self) -> None:
        """The head is whole: what it measures is known exactly."""
        self.guard.headless.pop(self, None)
        self._start(BODY)
        upgrade = self.parser.should_upgrade() and self._should_upgrade()
        if not upgrade:
            if self._head_too_large():
                self.guard.closed("large_headers")
                self.app = refusing(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, LARGE)
            elif not self._has_one_host():
                self.app = refusing(HTTPStatus.BAD_REQUEST, HOSTS)
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """A piece of body."""
        self._unparsed = 0
        self._body_bytes += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is whole."""
        self._unparsed = 0
        self._reading = WHOLE
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """The answer is: from now on the connection is idle."""
        self.transport.flush()  # type: ignore[attr-defined]  # before anything else is done for it
        self._answered = self.loop.time()
        super().on_response_complete()
        if self._reading == WHOLE and not self._answering and self in self.guard.members:
            self.guard.idle[self] = None

    def send_400_response(self, msg: str) -> None:
        """What came is not HTTP: say so as every other error is said."""
        self._write(HTTPStatus.BAD_REQUEST, NO_HTTP)
        self.transport.close()

    def timeout_keep_alive_handler(self) -> None:
        """Nothing came for long enough."""
        if not self.transport.is_closing():
            self.guard.closed("idle")
        super().timeout_keep_alive_handler()

    def pause_writing(self) -> None:
        """The reader is behind: its time begins."""
        self._sending = self.loop.time()
        super().pause_writing()

    def resume_writing(self) -> None:
        """It has caught up."""
        self._sending = 0.0
        super().resume_writing()

    def handle_websocket_upgrade(self) -> None:
        """From here on it is `websockets`' connection, which has limits of its own."""
        if self._head_too_large():
            self._refuse("large_headers", HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, LARGE)
            return
        self.guard.forget(self)
        super().handle_websocket_upgrade()

    # What the guard calls

    def check(self, now: float) -> None:
        """Close this connection if it takes too long."""
        if self._reader_is_slow(now):
            self.guard.closed("slow_reader")
            self.drop()
            return
        limits = self.guard.limits
        if self.flow.read_paused:
            self._since += now - self._looked  # the delay is ours
        self._looked = now
        spent = now - self._since
        if self.transport.is_closing():
            return
        if self._reading in (NO_HEAD, HEAD):
            if spent > limits.head_s:
                text = f"The request's head was not complete after {limits.head_s:g} s"
                self._refuse("slow_headers", HTTPStatus.REQUEST_TIMEOUT, text)
        elif self._reading == BODY:
            allowed = limits.body_s + self._body_bytes / limits.body_bytes_per_s
            # whoever has been answered has no reason to go on sending
            late = not self._answering and now - self._answered > limits.body_s
            if spent > allowed or late:
                text = f"The body came with less than {limits.body_bytes_per_s} bytes/s"
                self._refuse("slow_body", HTTPStatus.REQUEST_TIMEOUT, text)

    def _reader_is_slow(self, now: float) -> bool:
        limits = self.guard.limits
        if self.transport.is_closing() and not self._closing:
            self._closing = now
        since = self._sending or self._closing
        if not since:
            return False
        waiting = self.transport.get_write_buffer_size()
        return now - since > limits.body_s + waiting / limits.body_bytes_per_s

    def drop(self) -> None:
        """Close without a word."""
        self.guard.forget(self)
        self.connections.discard(self)
        self.transport.abort()

    # The rest

    @property
    def _answering(self) -> bool:
        return bool(self.pipeline) or (self.cycle is not None and not self.cycle.response_complete)

    def _start(self, reading: str) -> None:
        self._reading = reading
        self._since = self.loop.time()
        self._unparsed = self._body_bytes = 0
        self.guard.idle.pop(self, None)
        if reading == NO_HEAD:
            self.guard.headless[self] = None

    def _head_too_large(self) -> bool:
        limits = self.guard.limits
        size = len(self.url)
        for name, value in self.headers:
            size += len(name) + len(value) + HEADER_OVERHEAD
        return size > limits.head_bytes or len(self.headers) > limits.headers

    def _has_one_host(self) -> bool:
        # RFC 9112 §3.2; with two, a proxy and this server could each take another for the real one
        hosts = [name for name, _ in self.headers].count(b"host")
        return hosts == 1 or (not hosts and self.parser.get_http_version() == "1.0")

    def _write(self, status: HTTPStatus, what: str) -> None:
        self.transport.write(refusal(status, what, self.server_state.default_headers))

    def _refuse(self, reason: str, status: HTTPStatus, what: str) -> None:
        """Answer `status` if an answer can still be given, then close."""
        self.guard.closed(reason)
        begun = self.cycle is not None and self.cycle.response_started
        if (begun and self._answering) or len(self.guard.lingering) >= MAX_LINGERING:
            self.drop()
            return
        self._write(status, what)
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.guard.forget(self)
        self.guard.lingering[self] = self.loop.time()
        if self._answering:
            self._abandon()

    def _abandon(self) -> None:
        """Tell the application that waits for the body that nobody will read its answer."""
        for cycle in (self.cycle, *(waiting for waiting, _ in self.pipeline)):
            cycle.disconnected = True
            cycle.message_event.set()
