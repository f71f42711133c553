"""What goes wrong, and how it is told: one text for each status, on every route."""

from __future__ import annotations

from typing import Any

from companion_server.openapi.schemas import reference

__all__ = ["ERRORS", "error_response"]

ERRORS: dict[int, str] = {
    400: "The request is malformed.",
    401: "There is no API key, or none that is valid.",
    403: "The key has no scope for this; without keys, the request comes from a web page.",
    404: "There is no such model, bundle or route; the text names the nearest.",
    409: "What the request is about is not what the server has.",
    411: "The body has no Content-Length.",
    412: "If-Match names another ETag.",
    413: "The body is too long, before or after decompression.",
    416: "The range begins past the end.",
    422: "The tensors are not those that the model or cut takes.",
    429: "Shed: the server has too much to do, or the key has asked too often.",
    503: "Not ready: a tail is being loaded or could not be, or the keys cannot be used.",
    504: "The deadline would have passed before compute, so nothing was computed.",
    507: "There is no room for it.",
}
_SCHEMAS = {409: "Conflict", 429: "Shed"}
_HEADERS: dict[int, dict[str, Any]] = {
    401: {"WWW-Authenticate": "Bearer, with the realm"},
    429: {"Retry-After": "whole seconds; retry_after_ms in the body is more exact"},
    416: {"Content-Range": "the size, as bytes */SIZE"},
}


def error_response(status: int) -> dict[str, Any]:
    """The Response Object of an error status."""
    described: dict[str, Any] = {
        "description": ERRORS[status],
        "content": {"application/json": {"schema": reference(_SCHEMAS.get(status, "Error"))}},
    }
    if status in _HEADERS:
        described["headers"] = {
            name: {"description": text, "schema": {"type": "string"}}
            for name, text in _HEADERS[status].items()
        }
    return described
