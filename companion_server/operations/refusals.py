"""The answers of a connection that is closed before, or instead of, the application's.

    408   the head or the body took too long          431   the head is too large
    503   every connection is busy; with Retry-After

Bodies are in the protocol's shape, `{"error": ...}`; the connection ends with them.
"""

from __future__ import annotations

import json
from http import HTTPStatus

from companion_server.operations.telemetry import Application, Receive, Scope, Send

__all__ = ["LARGE", "refusal", "refusing"]

LARGE = "The request's line and headers are too long or too many"
RETRY_AFTER_S = 1
_REMEDIES = {
    HTTPStatus.SERVICE_UNAVAILABLE: "Ask again in a second, and answer on the device meanwhile",
    HTTPStatus.REQUEST_TIMEOUT: "Send the request again, over a better link",
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE: "Send fewer or shorter headers",
}


def refusal(status: HTTPStatus, what: str) -> bytes:
    """A whole HTTP/1.1 response; `what` is a sentence without its full stop."""
    body = _body(status, what)
    lines = [f"HTTP/1.1 {status.value} {status.phrase}".encode()]
    lines += [name + b": " + value for name, value in _headers(status, body)]
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
    text = f"{what}. This server bounds what a connection may take. {_REMEDIES[status]}."
    return json.dumps({"error": text}).encode()


def _headers(status: HTTPStatus, body: bytes) -> list[tuple[bytes, bytes]]:
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),
    ]
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        headers.append((b"retry-after", str(RETRY_AFTER_S).encode()))
    return headers
