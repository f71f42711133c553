"""Methods as RFC 9110 wants them: HEAD wherever GET is (§9.1), a 405 that lists them all (§15.5.6).

Starlette names only the methods of the first route that fits a path, and has no HEAD for a GET. The
table of routes is that of `security/access.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from companion_server.security.access import WEBSOCKET, Access

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
            await _refusal(scope, found.verbs)(scope, receive, send)
        elif found.template == _OWN_HEAD:
            await self._app(scope, receive, send)
        else:
            await self._app({**scope, "method": "GET"}, receive, _without_body(send))


def _without_body(send: Send) -> Send:
    async def headers_only(message: Any) -> None:
        empty = message["type"] == "http.response.body"
        await send({**message, "body": b""} if empty else message)

    return headers_only


def _refusal(scope: Scope, verbs: Mapping[str, str]) -> Response:
    methods = {*verbs} - {WEBSOCKET}
    if not methods:
        text = "This is a WebSocket. It takes an upgrade (RFC 6455). Connect with a ws or wss URL."
        upgrade = {"upgrade": "websocket", "connection": "upgrade"}
        return JSONResponse({"error": text}, status_code=426, headers=upgrade)
    allow = ", ".join(sorted(methods | ({"HEAD"} if "GET" in methods else set())))
    text = (
        f"{scope['path'][:200]} does not take {scope['method'][:20]}. It takes {allow}. "
        "The routes are listed at /openapi.json."
    )
    return JSONResponse({"error": text}, status_code=405, headers={"allow": allow})
