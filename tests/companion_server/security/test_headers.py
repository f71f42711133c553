"""Security headers, and the policy that lets exactly the page's own scripts run."""

import asyncio
import base64
import hashlib

import pytest

from companion_server.security.headers import SecurityHeaders, page_policy
from tests.companion_server.security.conftest import call, greet, http_scope

PAGE = b"""<!doctype html><title>x</title><style>p{color:red}</style>
<script>alert(1)</script><SCRIPT type="module">let a = "</b>";</SCRIPT><p onclick="evil()">"""


def test_every_response_has_them():
    _, headers, _ = call(SecurityHeaders(greet), http_scope("GET", "/anything"))
    assert headers == {
        "x-content-type-options": "nosniff",
        "referrer-policy": "no-referrer",
        "x-frame-options": "DENY",
        "cross-origin-resource-policy": "same-origin",
        "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    }


@pytest.mark.parametrize(
    ("scheme", "server", "wanted"),
    [
        ("http", "192.0.2.1", False),
        ("https", "127.0.0.1", False),
        ("https", "::1", False),
        ("https", "192.0.2.1", True),
        ("wss", "192.0.2.1", True),
    ],
)
def test_strict_transport_security(scheme, server, wanted):
    scope = {**http_scope("GET", "/"), "scheme": scheme, "server": (server, 8707)}
    _, headers, _ = call(SecurityHeaders(greet), scope)
    assert ("strict-transport-security" in headers) is wanted


def test_a_page_keeps_its_own_policy():
    async def page(scope, receive, send):
        policy = (b"content-security-policy", page_policy(PAGE).encode())
        await send({"type": "http.response.start", "status": 200, "headers": [policy]})
        await send({"type": "http.response.body", "body": PAGE})

    _, headers, _ = call(SecurityHeaders(page), http_scope("GET", "/"))
    assert headers["content-security-policy"] == page_policy(PAGE)
    assert headers["x-frame-options"] == "DENY"


def hashed(text):
    return f"'sha256-{base64.b64encode(hashlib.sha256(text).digest()).decode()}'"


def test_the_policy_names_each_inline_part():
    parts = dict(part.split(" ", 1) for part in page_policy(PAGE).split("; "))
    second = hashed(b'let a = "</b>";')
    assert parts["script-src"] == f"{hashed(b'alert(1)')} {second}"
    assert parts["style-src"] == hashed(b"p{color:red}")
    assert "unsafe" not in page_policy(PAGE)
    assert parts["default-src"] == parts["frame-ancestors"] == parts["base-uri"] == "'none'"
    assert page_policy(b"<p>").count("'none'") == 6


def test_lifespan_passes():
    seen = []

    async def app(scope, receive, send):
        seen.append(scope["type"])

    async def never(*_messages):
        raise AssertionError

    asyncio.run(SecurityHeaders(app)({"type": "lifespan"}, never, never))
    assert seen == ["lifespan"]
