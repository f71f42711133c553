"""Methods as RFC 9110 wants them: HEAD wherever GET is (§9.1), a 405 that lists them all (§15.5.6).

Starlette names only the methods of the first route that fits a path, and has no HEAD for a GET. The
table of routes is that of `security/access.py`.
"""

from __future__ import annotations

from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send

from companion_server.problems import problem
from companion_server.security.access import Access
from companion_server.security.refusals import headers_of, refused_method

__all__ = ["Methods"]

_OWN_HEAD = "/v2/bundles/{bundle_id}"  # has a route, which reads no file


class Methods:
    """Pure ASGI: a HEAD becomes a GET without its body; what a path does not take is refused."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._access = Access()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        found = self._access.find(scope["path"]) if scope["type"] == "http" else None
        method = scope.get("method", "")
        if found is None or method in found.verbs:
            await self._app(scope, receive, send)
        elif method != "HEAD" or "GET" not in found.verbs:
            error = refused_method(method, scope["path"], found.verbs)
            response = problem(error)
            response.headers.update(headers_of(error))
            await response(scope, receive, send)
        elif found.template == _OWN_HEAD:
            await self._app(scope, receive, send)
        else:
            await self._app({**scope, "method": "GET"}, receive, _without_body(send))


def _without_body(send: Send) -> Send:
    async def headers_only(message: Any) -> None:
        empty = message["type"] == "http.response.body"
        await send({**message, "body": b""} if empty else message)

    return headers_only
