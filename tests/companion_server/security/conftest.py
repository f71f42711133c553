"""A ring of keys with one key per verb, a clock that only tests move, and an ASGI caller."""

import asyncio
from typing import Any

import pytest

from companion_server.security.keys import KeyRing
from companion_server.security.scopes import VERBS, Scope


class Clock:
    """Seconds; stands still."""

    def __init__(self, now=1_800_000_000.0):
        self.now = now

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "state"
    path.mkdir(mode=0o700)
    return path


@pytest.fixture
def ring(folder, clock):
    return KeyRing(folder, clock=clock)


@pytest.fixture
def keys(ring):
    """The text of a key for each verb, good for every model."""
    return {verb: ring.add(verb, (Scope(verb, "*"),))[0] for verb in VERBS}


def http_scope(method, path, headers=()):
    return {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": b"",
        "headers": list(headers),
        "client": ("192.0.2.7", 4711),
        "server": ("127.0.0.1", 8707),
        "scheme": "http",
        "extensions": {},
    }


def bearer(key):
    return (b"authorization", b"Bearer " + key.encode())


def call(app, scope, body=b""):
    """`(status, headers, body)` of one request to an ASGI application."""
    sent = []

    async def receive():
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message):
        sent.append(message)

    asyncio.run(app(scope, receive, send))
    if sent[0]["type"] == "websocket.close":
        return sent[0]["code"], {}, b""
    headers = {name.decode(): value.decode() for name, value in sent[0].get("headers", ())}
    return sent[0]["status"], headers, b"".join(message.get("body", b"") for message in sent[1:])


class Greeter:
    """An application that answers 200 to everything and keeps the last scope."""

    def __init__(self) -> None:
        self.scope: dict[str, Any] = {}

    async def __call__(self, scope, receive, send):
        self.scope = scope
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"hello"})


greet = Greeter()
