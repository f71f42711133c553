"""What the audit log says of a request, gathered beside its messages: sizes, status, duration."""

from __future__ import annotations

import time

from starlette.types import Message, Receive, Scope, Send

from companion_server.security.access import WEBSOCKET, Match
from companion_server.security.audit import NOTES, REFUSED, Event
from companion_server.security.scopes import principal_of

__all__ = ["Watched", "changes", "refusal_event"]

_SENT = ("body", "bytes", "text")
SWITCHED, FAILED = 101, 500


class Watched:
    """One request; `receive` and `send` go to the application in place of the server's.

    Bytes are those of bodies, or of WebSocket messages (characters of text ones).
    """

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._scope, self._receive, self._send = scope, receive, send
        self._started = time.perf_counter()
        self._bytes_in = self._bytes_out = 0
        self._status = FAILED  # what the server sends when the application raises
        scope[NOTES] = {}

    async def receive(self) -> Message:
        """The ASGI callable."""
        message = await self._receive()
        self._bytes_in += _size(message)
        return message

    async def send(self, message: Message) -> None:
        """The ASGI callable."""
        if message["type"] == "websocket.accept":
            self._status = SWITCHED
        self._status = message.get("status", self._status)
        self._bytes_out += _size(message)
        await self._send(message)

    def event(self, verb: str, route: Match | None) -> Event:
        """What happened, for `AuditLog.write`."""
        principal = principal_of(self._scope)
        named = {} if route is None else route.parameters
        about = {
            "model": named.get("model", ""),
            "bundle": named.get("bundle_id", named.get("version", "")),
        } | self._scope[NOTES]
        return Event(
            verb=verb,
            status=self._status,
            route=f"{_method(self._scope)} {route.template if route else '?'}",
            key=principal.key_id,
            name=principal.name,
            peer=_peer(self._scope),
            model=about["model"],
            bundle=about["bundle"],
            bytes_in=self._bytes_in,
            bytes_out=self._bytes_out,
            ms=(time.perf_counter() - self._started) * 1e3,
            sampled=not changes(self._scope),
        )


def refusal_event(scope: Scope, status: int) -> Event:
    """A request that was turned away; of its text only what is a method of HTTP."""
    principal = principal_of(scope)
    return Event(
        verb=REFUSED,
        status=status,
        route=_method(scope),
        key=principal.key_id,
        name=principal.name,
        peer=_peer(scope),
    )


def changes(scope: Scope) -> bool:
    """Whether the request may change something: its method is not a safe one."""
    return scope.get("method") not in ("GET", "HEAD")


def _method(scope: Scope) -> str:
    return str(scope.get("method", WEBSOCKET))[:20]


def _peer(scope: Scope) -> str:
    client = scope.get("client")
    return f"{client[0]}:{client[1]}" if client else ""


def _size(message: Message) -> int:
    return sum(len(message.get(part) or b"") for part in _SENT)
