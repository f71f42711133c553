import asyncio
import json

import pytest

from companion_server.methods import Methods


async def _inner(scope, receive, send):
    body = scope["method"].encode()
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def ask(method, path):
    """`(status, headers, body)` through the middleware."""
    sent = []

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "method": method, "path": path, "headers": []}
    asyncio.run(Methods(_inner)(scope, None, send))  # type: ignore[arg-type]  # nobody receives
    start, *rest = sent
    body = b"".join(message.get("body", b"") for message in rest)
    return start["status"], {k.decode(): v.decode() for k, v in start["headers"]}, body


def test_head_is_get_without_its_body():
    status, headers, body = ask("HEAD", "/v2/models/toy/ready")
    assert (status, headers["content-length"], body) == (200, "3", b"")


def test_a_bundle_has_a_head_of_its_own():
    assert ask("HEAD", "/v2/bundles/abc")[2] == b"HEAD"


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("GET", "/v2/models/toy/infer", "POST"),
        ("HEAD", "/v2/models/toy/infer", "POST"),
        ("OPTIONS", "/v2", "GET, HEAD"),
        ("PATCH", "/v2/bundles/abc", "DELETE, GET, HEAD, PUT"),
        ("TRACE", "/v2/models/toy/aliases/prod", "DELETE, PUT"),
    ],
)
def test_a_405_lists_every_method_of_the_path(method, path, allow):
    status, headers, body = ask(method, path)
    assert (status, headers["allow"]) == (405, allow)
    assert set(json.loads(body)) == {"error"}


def test_a_stream_asks_for_an_upgrade():
    status, headers, body = ask("GET", "/v2/models/toy/stream")
    assert (status, headers["upgrade"]) == (426, "websocket")
    assert "WebSocket" in json.loads(body)["error"]


def test_unknown_paths_are_left_to_the_application():
    assert ask("GET", "/nowhere")[0] == 200
