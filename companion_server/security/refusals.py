"""Why a caller is turned away, with the statuses of RFC 9110 §15.5.2 to §15.5.6.

    HeadtailError
    └── UsageFault
        ├── Unauthenticated   401   no key, or none that is valid; never says which part was wrong
        ├── Forbidden         403   a valid key that may not do this
        ├── NotAllowed        405   a route that is there, but not for this method
        └── NoUpgrade         426   a WebSocket's route, asked by plain HTTP

Too many requests of one key are `companion_server.conditions.Shed`, 429.
"""

from __future__ import annotations

from collections.abc import Iterable

from companion_server.security.access import WEBSOCKET
from headtail.errors import HeadtailError, UsageFault

__all__ = [
    "Forbidden",
    "NoUpgrade",
    "NotAllowed",
    "Unauthenticated",
    "headers_of",
    "refused_method",
]


class Unauthenticated(UsageFault):
    """No key was given, or none that is valid."""

    http_status = 401


class Forbidden(UsageFault):
    """The caller is known, or needs no key, and may still not do this."""

    http_status = 403


class NotAllowed(UsageFault):
    """The route takes other methods; `allow` lists them as the header of that name does."""

    http_status = 405

    def __init__(self, method: str, path: str, allow: str) -> None:
        self.allow = allow
        super().__init__(
            f"{path[:200]} does not take {method[:20]}.",
            expected=f"It takes {allow}.",
            remedy="The routes are listed at /openapi.json.",
        )


class NoUpgrade(UsageFault):
    """The route is a WebSocket's."""

    http_status = 426

    def __init__(self, path: str) -> None:
        super().__init__(
            f"{path[:200]} is a WebSocket.",
            expected="It takes an upgrade (RFC 6455).",
            remedy="Connect with a ws or wss URL.",
        )


def refused_method(method: str, path: str, methods: Iterable[str]) -> NotAllowed | NoUpgrade:
    """Why a route that takes `methods` does not take `method`; both may be `WEBSOCKET`."""
    allowed = {*methods} - {WEBSOCKET}
    if not allowed:
        return NoUpgrade(path)
    heads = {"HEAD"} if "GET" in allowed else set()  # RFC 9110 §9.3.2
    return NotAllowed(method, path, ", ".join(sorted(allowed | heads)))


def headers_of(error: HeadtailError) -> dict[str, str]:
    """What an answer with this error says in its headers."""
    if isinstance(error, Unauthenticated):
        return {"www-authenticate": 'Bearer realm="headtail"', "cache-control": "no-store"}
    if isinstance(error, Forbidden):
        return {"www-authenticate": 'Bearer realm="headtail", error="insufficient_scope"'}
    if isinstance(error, NotAllowed):
        return {"allow": error.allow}
    if isinstance(error, NoUpgrade):
        return {"upgrade": "websocket", "connection": "upgrade"}
    return {}
