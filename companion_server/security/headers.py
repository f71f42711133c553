"""What browsers are told about every response, after the OWASP Secure Headers Project
(https://owasp.org/www-project-secure-headers/) for an API that has one page.

A page brings its own Content-Security-Policy, `page_policy`, with a hash for each inline script and
style (CSP Level 3 §8.3, https://www.w3.org/TR/CSP3/), so that nothing injected runs. Everything
else may do nothing at all in a browser. `Strict-Transport-Security` is sent over TLS only and not
for loopback, where other programs serve http under the same name (RFC 6797 §7.2, §14.3).
"""

from __future__ import annotations

import base64
import hashlib
import re

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from companion_server.security.binding import is_loopback

__all__ = ["SecurityHeaders", "page_policy"]

_POLICY = b"content-security-policy"
_STARTS = ("http.response.start", "websocket.http.response.start")
_ALWAYS = [
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
    (b"cross-origin-resource-policy", b"same-origin"),
]
_NOTHING = (_POLICY, b"default-src 'none'; frame-ancestors 'none'")
_HSTS = (b"strict-transport-security", b"max-age=31536000")
_INLINE = re.compile(rb"<(script|style)(?:\s[^>]*)?>(.*?)</\1\s*>", re.DOTALL | re.IGNORECASE)


class SecurityHeaders:
    """Pure ASGI; adds the headers to whatever `app` answers."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI interface."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        more = [*_ALWAYS, _HSTS] if _wants_hsts(scope) else _ALWAYS

        async def with_headers(message: Message) -> None:
            if message["type"] in _STARTS:
                held = list(message.get("headers", ()))
                own = any(name.lower() == _POLICY for name, _ in held)
                message["headers"] = [*held, *more] if own else [*held, *more, _NOTHING]
            await send(message)

        await self._app(scope, receive, with_headers)


def page_policy(html: bytes) -> str:
    """The Content-Security-Policy of a page that loads nothing from elsewhere.

    Its inline scripts and styles run, images may be data, requests go to this server only.
    """
    hashes: dict[bytes, list[str]] = {b"script": [], b"style": []}
    for found in _INLINE.finditer(html):
        digest = base64.b64encode(hashlib.sha256(found[2]).digest()).decode("ascii")
        hashes[found[1].lower()].append(f"'sha256-{digest}'")
    scripts, styles = (" ".join(hashes[kind]) or "'none'" for kind in (b"script", b"style"))
    return "; ".join(
        [
            "default-src 'none'",
            f"script-src {scripts}",
            f"style-src {styles}",
            "img-src 'self' data:",
            "connect-src 'self'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        ]
    )


def _wants_hsts(scope: Scope) -> bool:
    if scope.get("scheme") not in ("https", "wss"):
        return False
    here = scope.get("server")
    return not (here and is_loopback(here[0]))
