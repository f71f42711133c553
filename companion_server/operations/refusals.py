"""The answers of a connection that is closed before, or instead of, the application's.

    400   it is not HTTP/1.1                          431   the head is too large
    408   the head or the body took too long          503   every connection is busy; Retry-After

Bodies are in the protocol's shape, `{"error": ...}`; the connection ends with them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from http import HTTPStatus

from companion_server.operations.telemetry import Application, Receive, Scope, Send

__all__ = ["HOSTS", "LARGE", "NO_HTTP", "refusal", "refusing"]

LARGE = "The request's line and headers are too long or too many"
HOSTS = "The request has no Host header, or several"
NO_HTTP = "What came is no HTTP request"
RETRY_AFTER_S = 1
_BOUNDED = "This server bounds what a connection may take"
_REST = {  # of the three sentences
    HTTPStatus.BAD_REQUEST: "It takes HTTP/1.1 (RFC 9112). Correct the client",
    HTTPStatus.SERVICE_UNAVAILABLE: f"{_BOUNDED}. Ask again in a second, and answer on the device "
    "meanwhile",
    HTTPStatus.REQUEST_TIMEOUT: f"{_BOUNDED}. Send the request again, over a better link",
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE: f"{_BOUNDED}. Send fewer or shorter headers",
}


def refusal(status: HTTPStatus, what: str, more: Sequence[tuple[bytes, bytes]] = ()) -> bytes:
    """A whole HTTP/1.1 response; `what` is a sentence without its full stop, `more` are headers."""
    body = _body(status, what)
    lines = [f"HTTP/1.1 {status.value} {status.phrase}".encode()]
    lines += [name + b": " + value for name, value in [*more, *_headers(status, body)]]
    return b"\r\n".join([*lines, b"", body])


def refusing(status: HTTPStatus, what: str) -> Application:
    """An application that answers so, for a request that has begun."""
    body = _body(status, what)

    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        headers = _headers(status, body)
        await send({"type": "http.response.start", "status": status.value, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return app


def _body(status: HTTPStatus, what: str) -> bytes:
    return json.dumps({"error": f"{what}. {_REST[status]}."}).encode()


def _headers(status: HTTPStatus, body: bytes) -> list[tuple[bytes, bytes]]:
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),
    ]
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        headers.append((b"retry-after", str(RETRY_AFTER_S).encode()))
    return headers
