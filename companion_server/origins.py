"""Whom a request counts for: clients take turns in the queue, and share the memory of bodies."""

from __future__ import annotations

from starlette.types import Scope

from companion_server.security.scopes import principal_of

__all__ = ["client_of", "holder_of"]


def client_of(scope: Scope) -> str:
    """The key's id, or the connection's address and port where there are no keys."""
    principal = principal_of(scope)
    if principal.key_id:
        return principal.key_id
    host, port = scope.get("client") or ("", 0)
    return f"{host}:{port}"


def holder_of(scope: Scope) -> str:
    """The key's id, or the connection's address without keys: a phone opens many connections."""
    return principal_of(scope).key_id or (scope.get("client") or ("", 0))[0]
