"""The gate in front of the application: who asks, may they, and not too often.

    AuthMiddleware(app, *, keys, rate=None, audit=None, model_of=...)     pure ASGI
    Gate(keys, rate=None, audit=None).check_rpc(method, metadata, peer=...) -> Principal      gRPC

    keys       KeyRing, or None for a server without keys (loopback only, `binding.check_binding`)
    rate       RateLimiter, one bucket per key, or None
    audit      AuditLog or None
    model_of   bundle id -> model name, None if it is not held; for routes that name a bundle only

Afterwards `scope["headtail.principal"]` is a `Principal`: the key's; `NOBODY` on an open route;
`ANONYMOUS`, who may do everything, on a server without keys. A handler that learns the model only
from the body calls `scopes.require(principal_of(scope), verb, model)`; one that answers many
requests on one connection calls `Gate.check_again` for each.

A key comes as `Authorization: Bearer ht_...` (RFC 6750 §2.1) or `X-API-Key: ht_...`, which goes
first, for clients behind a proxy that uses `Authorization` itself. Never in the URL, which is
logged. Refusals are 401 with `WWW-Authenticate` and 403 (RFC 6750 §3), 404 and 405 for what the
table of routes lacks, 429 with `Retry-After`; a WebSocket is refused before it is accepted.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from companion_server.problems import problem
from companion_server.security.access import OPEN
from companion_server.security.audit import REFUSED, AuditLog
from companion_server.security.gate import Gate
from companion_server.security.refusals import headers_of
from companion_server.security.scopes import admit, principal_of
from companion_server.security.watching import Watched, changes, refusal_event
from headtail.errors import HeadtailError

if TYPE_CHECKING:
    from companion_server.security.keys import KeyRing
    from companion_server.security.rate import RateLimiter

__all__ = ["AuthMiddleware", "Gate"]


class AuthMiddleware:
    """`app` behind a `Gate`; see the module's docstring for the arguments."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        keys: KeyRing | None,
        rate: RateLimiter | None = None,
        audit: AuditLog | None = None,
        model_of: Callable[[str], str | None] = lambda _bundle_id: None,
    ) -> None:
        self._app = app
        self._audit = audit
        self._gate = Gate(keys, rate=rate, model_of=model_of)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI interface."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        try:
            admission = self._gate.check(scope)
        except HeadtailError as error:
            if self._audit is not None and self._audit.wants(REFUSED):
                self._audit.write(refusal_event(scope, error.http_status))
            await _refuse(error, scope, receive, send)
            return
        admit(principal_of(scope))
        audit = self._audit
        verb = admission.verb
        if audit is None or verb == OPEN or not audit.wants(verb, changes=changes(scope)):
            await self._app(scope, receive, send)
            return
        watched = Watched(scope, receive, send)
        try:
            await self._app(scope, watched.receive, watched.send)
        finally:
            event = watched.event(verb, admission.route)
            # a pairing that failed has no key, and anybody can try again and again
            if event.key or audit.wants(REFUSED):
                audit.write(event)


async def _refuse(error: HeadtailError, scope: Scope, receive: Receive, send: Send) -> None:
    websocket = scope["type"] == "websocket"
    if websocket and "websocket.http.response" not in scope.get("extensions", {}):
        await send({"type": "websocket.close", "code": 1008})  # RFC 6455 §7.4.1: policy
        return
    response: Response = problem(error)
    response.headers.update(headers_of(error))
    await response(scope, receive, send)
