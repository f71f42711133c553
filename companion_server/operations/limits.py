"""The outer limits of admission: what one server holds of clients that it does not know yet.

    connections   how many, how long they may take, how much they may send before it means anything:
                  `ConnectionLimits`, enforced in `protocol.py`, below ASGI
    bodies        how many bytes of request bodies are in memory at once: `BodyBudget`, here
    descriptors   enough for that many connections: `raise_descriptor_limit`

A body's own limit, before and after decompression, is `bodies.py`'s.
"""

from __future__ import annotations

import resource
from dataclasses import dataclass

from companion_server.conditions import Shed
from companion_server.operations.records import current_record
from companion_server.operations.telemetry import Application, Message, Receive, Scope, Send
from companion_server.problems import problem

__all__ = ["BodyBudget", "ConnectionLimits", "raise_descriptor_limit"]

RETRY_AFTER_S = 1.0  # bodies of one request are held for less
SPARE_DESCRIPTORS = 256  # for bundles, sockets of our own, and libraries


@dataclass(frozen=True)
class ConnectionLimits:
    """Times in seconds, sizes in bytes.

    A request's head (its line and headers) must be there `head_s` after the connection was made or
    its first byte came, and have at most `head_bytes` and `headers`. A body may take
    `body_s` and a second more for every `body_bytes_per_s` that came. A connection that asks for
    nothing is closed after `idle_s`, or earlier when there are more than `connections`: those that
    have sent no whole head go first, the oldest before the others.
    """

    connections: int = 1024
    head_s: float = 10.0
    head_bytes: int = 16 << 10
    headers: int = 64
    body_s: float = 10.0
    body_bytes_per_s: int = 4096
    idle_s: float = 75.0  # longer than a pause between two pictures: a new one costs a round trip

    @property
    def tick_s(self) -> float:
        """How often times are looked at: the shortest is kept within a quarter."""
        return min(self.head_s, self.body_s, self.idle_s, 4.0) / 4


def raise_descriptor_limit(connections: int) -> int:
    """Let this process open that many sockets and `SPARE_DESCRIPTORS`, as far as it may.

    The limit now in force. Many systems start a process with 1024, which 1,000 idle phones use up.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + SPARE_DESCRIPTORS
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return soft
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    return allowed


class BodyBudget:
    """Pure ASGI: at most `limit` bytes of inference requests' bodies are held at once.

    What a request declares is reserved before a byte of it is read; one that does not fit is
    answered 429 with Retry-After, and uvicorn throws its body away as it comes. A body without a
    length is counted as it comes. Other routes stream (uploads go to disk) and are not counted.
    """

    def __init__(self, app: Application, *, limit: int, max_body_bytes: int) -> None:
        self._app = app
        self._limit = limit
        self._max_body_bytes = max_body_bytes
        self.held = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on if there is room for it."""
        if scope["type"] != "http" or not scope["path"].endswith("/infer"):
            await self._app(scope, receive, send)
            return
        declared = _declared(scope)
        if declared is not None and declared > self._max_body_bytes:
            await self._app(scope, receive, send)  # which says 413 without reading it
            return
        reserved = _Reserved(self, declared or 0)
        if self.held + reserved.size > self._limit:
            await _refuse(self._shed(reserved.size), scope, receive, send)
            return
        self.held += reserved.size
        try:
            counted = receive if declared is not None else reserved.counting(receive)
            await self._app(scope, counted, send)
        finally:
            self.held -= reserved.size

    def take(self, size: int) -> None:
        """Hold `size` bytes more; raises `Shed` over the limit."""
        if self.held + size > self._limit:
            raise self._shed(size)
        self.held += size

    def _shed(self, size: int) -> Shed:
        return Shed(
            f"There is no room for a body of {size} bytes beside the {self.held} in flight.",
            expected=f"This server holds at most {self._limit} bytes of request bodies.",
            retry_after_s=RETRY_AFTER_S,
            reason="memory",
        )


@dataclass
class _Reserved:
    budget: BodyBudget
    size: int

    def counting(self, receive: Receive) -> Receive:
        """For a body of unknown length: each piece is held as it comes."""

        async def counted() -> Message:
            message = await receive()
            piece = len(message.get("body", b""))
            self.budget.take(piece)
            self.size += piece
            return message

        return counted


def _declared(scope: Scope) -> int | None:
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit():
            return int(value)
    return None


async def _refuse(shed: Shed, scope: Scope, receive: Receive, send: Send) -> None:
    record = current_record.get()
    if record is not None:
        record.shed = shed.reason
    response = problem(shed)
    if any(name == b"expect" for name, _ in scope["headers"]):
        # the client has not sent its body and, refused, may or may not do so: RFC 9110 §10.1.1
        response.headers["connection"] = "close"
    await response(scope, receive, send)
