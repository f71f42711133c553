"""Who asks, and may they: the same for HTTP, WebSocket and gRPC. The rules are in `auth.py`."""

from __future__ import annotations

import urllib.parse
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from starlette.types import Scope

from companion_server.conditions import Shed
from companion_server.security.access import OPEN, PAIR, ROUTES, RPCS, WEBSOCKET, Access, Match
from companion_server.security.audit import REFUSED, AuditLog, Event
from companion_server.security.binding import check_from_this_machine, check_peer
from companion_server.security.refusals import Unauthenticated, refused_method
from companion_server.security.scopes import (
    ANONYMOUS,
    NO_NAME,
    NOBODY,
    PRINCIPAL,
    Principal,
    require,
)
from headtail.errors import HeadtailError, UnknownName

if TYPE_CHECKING:
    from companion_server.security.keys import KeyRing
    from companion_server.security.rate import RateLimiter

__all__ = ["Admission", "Gate"]

Headers = Iterable[tuple[bytes, bytes]]
_BEARER = b"bearer "
# without a model these concern every one: a pairing code gives away a key for all
_WHOLE = ("admin", "metrics")


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
        audit: AuditLog | None = None,
        model_of: Callable[[str], str | None] = lambda _bundle_id: None,
    ) -> None:
        self._keys = keys
        self._rate = rate
        self._audit = audit
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
            raise _invalid()
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
            check_peer((scope.get("client") or ("",))[0])
            check_from_this_machine(headers)
            scope[PRINCIPAL] = ANONYMOUS
            return Admission(verb or OPEN, found)
        if verb in (OPEN, PAIR):
            return Admission(verb, found)
        principal = scope[PRINCIPAL] = self.identify(headers)
        if found is None:
            raise UnknownName("route", path[:200], {entry.split(" ")[1] for entry in ROUTES})
        if verb is None:
            raise refused_method(method, path, found.verbs)
        require(principal, verb, self._model(verb, found.parameters))
        return Admission(verb, found)

    def check_again(self, principal: Principal) -> None:
        """For every further request of one stream: the key may have ended, and the rate counts."""
        if self._keys is None or not principal.key_id:
            return
        if not self._keys.still_good(principal.key_id):
            raise _invalid()
        self._throttle(principal)

    def check_rpc(
        self, method: str, metadata: Iterable[tuple[str, str | bytes]], *, peer: str = ""
    ) -> Principal:
        """The principal of a gRPC call of `method` (`/package.Service/Method`).

        The model is in the message: call `scopes.require` with it too. The audit log gets the call
        as it begins, without sizes.
        """
        verb = RPCS.get(method)
        principal = NOBODY
        try:
            if self._keys is None:
                # gRPC writes the brackets of an IPv6 address as a URL would
                check_peer(urllib.parse.unquote(peer).rpartition(":")[0])
            principal = self._rpc_principal(method, verb, metadata)
        except HeadtailError as error:
            self._note(Event(REFUSED, error.http_status, route=method, peer=peer))
            raise
        if verb not in (None, OPEN):
            event = Event(verb or "", 0, method, principal.key_id, principal.name, peer)
            self._note(event)
        return principal

    def _rpc_principal(
        self, method: str, verb: str | None, metadata: Iterable[tuple[str, str | bytes]]
    ) -> Principal:
        if self._keys is None:
            return ANONYMOUS
        if verb == OPEN:
            return NOBODY
        principal = self.identify(
            (name.encode("latin-1", "replace"), value.encode("latin-1", "replace"))
            for name, value in metadata
            if isinstance(value, str)
        )
        if verb is None:
            raise UnknownName("method", method[:200], RPCS)
        require(principal, verb)
        return principal

    def _note(self, event: Event) -> None:
        if self._audit is not None and self._audit.wants(event.verb):
            self._audit.write(event)

    def _model(self, verb: str, parameters: Mapping[str, str]) -> str | None:
        if "model" in parameters:
            return parameters["model"]
        if "bundle_id" not in parameters:
            return NO_NAME if verb in _WHOLE else None
        # what is not held has no name, which only the glob * covers; but that of a bundle to come
        # stands in its manifest, against which the handler holds the scope
        unknown = None if verb == "publish" else NO_NAME
        return self._model_of(parameters["bundle_id"]) or unknown

    def _throttle(self, principal: Principal) -> None:
        wait_s = 0.0 if self._rate is None else self._rate.take(principal.key_id)
        if wait_s:
            raise Shed(
                f"Key {principal.name!r} has asked too often.",
                expected="Every key has a rate of requests, with a burst above it.",
                retry_after_s=wait_s,
                reason="rate",
            )


def _invalid() -> Unauthenticated:
    return Unauthenticated(
        "The API key is not valid.",
        expected="A key of this server that is not revoked and has not expired.",
        remedy="Pair the device again, or ask for a new key.",
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
