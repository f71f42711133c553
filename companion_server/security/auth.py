"""The gate in front of the application: who asks, may they, and not too often.

    AuthMiddleware(app, *, keys, rate=None, audit=None, model_of=...)     pure ASGI
    Gate(keys, rate=None).check_rpc(method, metadata) -> Principal        for gRPC's interceptor

    keys       KeyRing, or None for a server without keys (loopback only, `binding.check_binding`)
    rate       RateLimiter, one bucket per key, or None
    audit      AuditLog or None
    model_of   bundle id -> model name, None if it is not held; for routes that name a bundle only

Afterwards `scope["headtail.principal"]` is a `Principal`: the key's; `NOBODY` on an open route;
`ANONYMOUS`, who may do everything, on a server without keys. A handler that learns the model only
from the body calls `scopes.require(principal_of(scope), verb, model)`.

A key comes as `Authorization: Bearer ht_...` (RFC 6750 §2.1) or `X-API-Key: ht_...`, which goes
first, for clients behind a proxy that uses `Authorization` itself. Never in the URL, which is
logged. Refusals are 401 with `WWW-Authenticate` and 403 (RFC 6750 §3), 404 and 405 for what the
table of routes lacks, 429 with `Retry-After`; a WebSocket is refused before it is accepted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from companion_server.conditions import Shed
from companion_server.problems import problem
from companion_server.security.access import OPEN, PAIR, ROUTES, RPCS, WEBSOCKET, Access, Match
from companion_server.security.audit import REFUSED
from companion_server.security.binding import check_from_this_machine
from companion_server.security.refusals import Forbidden, Unauthenticated
from companion_server.security.scopes import ANONYMOUS, NOBODY, PRINCIPAL, Principal, require
from companion_server.security.watching import Watched, refusal_event
from headtail.errors import HeadtailError, UnknownName, UsageFault

if TYPE_CHECKING:
    from companion_server.security.audit import AuditLog
    from companion_server.security.keys import KeyRing
    from companion_server.security.rate import RateLimiter

__all__ = ["Admission", "AuthMiddleware", "Gate"]

Headers = Iterable[tuple[bytes, bytes]]
_BEARER = b"bearer "


@dataclass(frozen=True, slots=True)
class Admission:
    """A request that may go on: for which verb, by which route (None: not in the table)."""

    verb: str
    route: Match | None


class Gate:
    """Who asks, and what they may; the same for HTTP, WebSocket and gRPC."""

    def __init__(
        self,
        keys: KeyRing | None,
        *,
        rate: RateLimiter | None = None,
        model_of: Callable[[str], str | None] = lambda _bundle_id: None,
    ) -> None:
        self._keys = keys
        self._rate = rate
        self._model_of = model_of
        self._access = Access(ROUTES)

    def identify(self, headers: Headers) -> Principal:
        """Whose key is in `headers` (names in lower case).

        Raises `Unauthenticated`, `Shed` for a key that asks too often, and `EnvironmentFault` while
        the keys cannot be read.
        """
        if self._keys is None:
            return ANONYMOUS
        principal = self._keys.check(_credential(headers))
        if principal is None:
            raise Unauthenticated(
                "The API key is not valid.",
                expected="A key of this server that is not revoked and has not expired.",
                remedy="Pair the device again, or ask for a new key.",
            )
        self._throttle(principal)
        return principal

    def check(self, scope: Scope) -> Admission:
        """Let an HTTP request or WebSocket go on, its principal in its scope, or raise."""
        headers, path = scope["headers"], scope["path"]
        scope[PRINCIPAL] = NOBODY
        found = self._access.find(path)
        method = scope.get("method", WEBSOCKET)
        verb = _verb(found, method)
        if self._keys is None:
            check_from_this_machine(headers)
            scope[PRINCIPAL] = ANONYMOUS
            return Admission(verb or OPEN, found)
        if verb in (OPEN, PAIR):
            return Admission(verb, found)
        principal = scope[PRINCIPAL] = self.identify(headers)
        if found is None:
            raise UnknownName("route", path[:200], {entry.split(" ")[1] for entry in ROUTES})
        if verb is None:
            raise _NotAllowed(method, path, found)
        require(principal, verb, self._model(found.parameters))
        return Admission(verb, found)

    def check_rpc(self, method: str, metadata: Iterable[tuple[str, str | bytes]]) -> Principal:
        """The principal of a gRPC call of `method` (`/package.Service/Method`).

        The model is in the message: call `scopes.require` with it too.
        """
        verb = RPCS.get(method)
        if self._keys is None:
            return ANONYMOUS
        if verb == OPEN:
            return NOBODY
        principal = self.identify(
            (name.encode("ascii"), value.encode("latin-1", "replace"))
            for name, value in metadata
            if isinstance(value, str)
        )
        if verb is None:
            raise UnknownName("method", method[:200], RPCS)
        require(principal, verb)
        return principal

    def _model(self, parameters: Mapping[str, str]) -> str | None:
        if "model" in parameters:
            return parameters["model"]
        if "bundle_id" in parameters:
            # what is not held has no name, which only the glob * covers
            return self._model_of(parameters["bundle_id"]) or ""
        return None

    def _throttle(self, principal: Principal) -> None:
        wait_s = 0.0 if self._rate is None else self._rate.take(principal.key_id)
        if wait_s:
            raise Shed(
                f"Key {principal.name!r} has asked too often.",
                expected="Every key has a rate of requests, with a burst above it.",
                retry_after_s=wait_s,
                reason="rate",
            )


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
        audit = self._audit
        if audit is None or admission.verb == OPEN or not audit.wants(admission.verb):
            await self._app(scope, receive, send)
            return
        watched = Watched(scope, receive, send)
        try:
            await self._app(scope, watched.receive, watched.send)
        finally:
            audit.write(watched.event(admission.verb, admission.route))


class _NotAllowed(UsageFault):
    http_status = 405

    def __init__(self, method: str, path: str, found: Match) -> None:
        self.allow = ", ".join(sorted(found.verbs))
        super().__init__(
            f"{path[:200]} does not take {method[:20]}.",
            expected=f"It takes {self.allow}.",
            remedy="The routes are listed at /openapi.json.",
        )


def _verb(found: Match | None, method: str) -> str | None:
    if found is None:
        return None
    # what may be got may be asked about (RFC 9110 §9.3.2)
    return found.verbs.get(method) or (found.verbs.get("GET") if method == "HEAD" else None)


def _credential(headers: Headers) -> str:
    """The one key in `headers`; `Unauthenticated` if there is none, or several."""
    bearer, named = [], []
    for name, value in headers:
        if name == b"authorization":
            bearer.append(value)
        elif name == b"x-api-key":
            named.append(value)
    given = named or bearer
    if len(given) == 1:
        if named:
            return given[0].decode("latin-1")
        if given[0][: len(_BEARER)].lower() == _BEARER:
            return given[0][len(_BEARER) :].decode("latin-1")
    raise Unauthenticated(
        "The request has no API key." if not given else "The request has no single API key.",
        expected="One header, `Authorization: Bearer ht_...` or `X-API-Key: ht_...`.",
        remedy="Pair the device, or make a key with `headtail keys add`.",
    )


async def _refuse(error: HeadtailError, scope: Scope, receive: Receive, send: Send) -> None:
    websocket = scope["type"] == "websocket"
    if websocket and "websocket.http.response" not in scope.get("extensions", {}):
        await send({"type": "websocket.close", "code": 1008})  # RFC 6455 §7.4.1: policy
        return
    response: Response = problem(error)
    for name, value in _challenge(error).items():
        response.headers[name] = value
    await response(scope, receive, send)


def _challenge(error: HeadtailError) -> dict[str, Any]:
    if isinstance(error, Unauthenticated):
        return {"www-authenticate": 'Bearer realm="headtail"', "cache-control": "no-store"}
    if isinstance(error, Forbidden):
        return {"www-authenticate": 'Bearer realm="headtail", error="insufficient_scope"'}
    if isinstance(error, _NotAllowed):
        return {"allow": error.allow}
    return {}
