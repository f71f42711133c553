"""The outer limits of admission: what one server holds of clients that it does not know yet.

    connections   how many, how long they may take, how much they may send before it means anything:
                  `ConnectionLimits`, enforced in `protocol.py`, below ASGI
    bodies        how many bytes of requests are in memory at once, whatever brought them: `Bodies`;
                  over HTTP before they are read: `BodyBudget`, here
    descriptors   enough for that many connections: `raise_descriptor_limit`

A body's own limit, before and after decompression, is `bodies.py`'s.
"""

from __future__ import annotations

import contextlib
import resource
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from companion_server.conditions import Shed
from companion_server.operations.records import current_record
from companion_server.operations.telemetry import Application, Message, Receive, Scope, Send
from companion_server.origins import holder_of
from companion_server.problems import problem

__all__ = ["Bodies", "BodyBudget", "ConnectionLimits", "raise_descriptor_limit"]

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
    body_bytes_per_s: int = 8192  # a link of 0.1 Mbit/s carries 12,500
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


class Bodies:
    """Bytes of inference requests in memory at once, `limit` at most; `held` are there now.

    A client (`holder_of`) may hold half of what the others leave, so whatever some of them hold,
    there is room for the next one; only where nothing is held may a body take more. It is how
    switches share a buffer among queues: Choudhury and Hahne, "Dynamic queue length thresholds for
    shared-memory packet switches", 1998, https://doi.org/10.1109/90.664262.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.held = 0
        self._held_of: Counter[str] = Counter()

    def take(self, size: int, holder: str) -> None:
        """Hold `size` bytes more for a client; raises `Shed` over its share or the limit."""
        own = self._held_of[holder] + size
        share = (self.limit - self.held + self._held_of[holder]) // 2 if self.held else self.limit
        if size and own > share:
            raise Shed(
                f"There is no room for a body of {size} bytes beside the {self.held} in flight.",
                expected=f"This server holds at most {self.limit} bytes of request bodies, and of "
                "one client half of what the others leave.",
                retry_after_s=RETRY_AFTER_S,
                reason="memory",
            )
        self._held_of[holder] = own
        self.held += size

    def give_back(self, size: int, holder: str) -> None:
        """Hold `size` bytes of a client's no longer."""
        self.held -= size
        self._held_of[holder] -= size
        if not self._held_of[holder]:
            del self._held_of[holder]

    @contextlib.contextmanager
    def holding(self, size: int, holder: str) -> Iterator[None]:
        """Hold `size` bytes for a client until the block ends; raises as `take`."""
        self.take(size, holder)
        try:
            yield
        finally:
            self.give_back(size, holder)


class BodyBudget:
    """Pure ASGI: holds the bodies of inference requests in `bodies`.

    What a request declares is reserved before a byte of it is read; one that does not fit is
    answered 429 with Retry-After, and uvicorn throws its body away as it comes. A body without a
    length is counted as it comes. Other routes stream (uploads go to disk) and are not counted.
    """

    def __init__(self, app: Application, *, bodies: Bodies, max_body_bytes: int) -> None:
        self._app = app
        self._bodies = bodies
        self._max_body_bytes = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on if there is room for it."""
        if scope["type"] != "http" or not scope["path"].endswith("/infer"):
            await self._app(scope, receive, send)
            return
        declared = _declared(scope)
        if declared is not None and declared > self._max_body_bytes:
            await self._app(scope, receive, send)  # which says 413 without reading it
            return
        reserved = _Reserved(self._bodies, holder_of(scope), declared or 0)
        try:
            self._bodies.take(reserved.size, reserved.holder)
        except Shed as shed:
            await _refuse(shed, scope, receive, send)
            return
        try:
            counted = receive if declared is not None else reserved.counting(receive)
            await self._app(scope, counted, send)
        finally:
            self._bodies.give_back(reserved.size, reserved.holder)


@dataclass
class _Reserved:
    bodies: Bodies
    holder: str
    size: int

    def counting(self, receive: Receive) -> Receive:
        """For a body of unknown length: each piece is held as it comes."""

        async def counted() -> Message:
            message = await receive()
            piece = len(message.get("body", b""))
            self.bodies.take(piece, self.holder)
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
