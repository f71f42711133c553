"""FastAPI's own page, completed: bodies, headers, errors and keys from the tables beside it."""

from __future__ import annotations

from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from companion_server.openapi.operations import OPERATIONS, STREAMS, Operation
from companion_server.openapi.schemas import SCHEMAS
from companion_server.openapi.statuses import error_response
from companion_server.security.access import OPEN, PAIR, ROUTES, WEBSOCKET

__all__ = ["describe", "install", "routes_of"]

Json = dict[str, Any]

_ABOUT = """\
Inference by the Open Inference Protocol v2, with binary tensors; bundles for phones; keys.

Every error is `{"error": "..."}`: what happened, what was expected, what to do next. A path that
does not exist is a 404, a method that a path does not have a 405 with `Allow`. HEAD is answered
wherever GET is. The same inference is offered over gRPC (`inference.GRPCInferenceService`) and over
WebSocket.
"""
_KEYS = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "An API key, ht_..."},
    "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
}
_GATE_ERRORS = (401, 403, 429, 503)
_PLACES = {
    "model": "The model's name.",
    "version": "A bundle id of the model, or one of its aliases.",
    "bundle_id": "SHA-256 of the bundle's manifest, in hex.",
    "alias": "A word for a bundle, such as `prod`.",
}


def install(app: FastAPI) -> None:
    """Make `app.openapi()`, which `/openapi.json` serves, the completed page, made once."""
    made: Json = {}

    def openapi() -> Json:
        if not made:
            made.update(describe(app))
        return made

    app.openapi = openapi  # type: ignore[method-assign]  # as FastAPI's manual extends it


def describe(app: FastAPI) -> Json:
    """The OpenAPI document of `app`."""
    page = get_openapi(title=app.title, version=app.version, routes=app.routes, description=_ABOUT)
    paths, held = page["paths"], set(routes_of(app))
    for entry, operation in OPERATIONS.items():
        if entry not in held:
            continue
        method, _, path = entry.partition(" ")
        item = paths.setdefault(path, {})
        found = item.setdefault(method.lower(), {"operationId": _operation_id(method, path)})
        item[method.lower()] = _completed(found, operation, entry)
    for path, text in STREAMS.items():
        paths[path] = {"description": text, "x-websocket": True, "parameters": _places(path)}
    page["components"] = {"schemas": SCHEMAS, "securitySchemes": _KEYS}
    return page


def routes_of(app: FastAPI) -> Iterator[str]:
    """`METHOD path` of every route, through included routers; `WEBSOCKET path` of streams."""
    waiting: list[Any] = list(app.routes)
    while waiting:
        route = waiting.pop()
        inner = getattr(route, "original_router", None)  # newer FastAPI keeps them apart
        if inner is not None:
            waiting.extend(inner.routes)
        elif getattr(route, "methods", None):
            yield from (f"{method} {route.path}" for method in route.methods)
        else:
            yield f"{WEBSOCKET} {route.path}"


def _completed(found: Json, operation: Operation, entry: str) -> Json:
    """The Operation Object of `entry`, from what FastAPI found of it and from its table."""
    method, _, path = entry.partition(" ")
    # HEAD needs what GET needs
    verb = ROUTES.get(f"GET {path}" if method == "HEAD" else entry, "")
    open_to_all = verb in (OPEN, PAIR)
    errors = {*operation.errors, *((403,) if open_to_all else _GATE_ERRORS)}
    made: Json = {
        "tags": found.get("tags", ["operations"]),
        "summary": operation.summary or found.get("summary", ""),
        "operationId": found["operationId"],
        "responses": {
            **{str(status): _good(status, operation) for status in operation.gives},
            **{str(status): error_response(status) for status in sorted(errors)},
        },
        "security": [] if open_to_all else [{name: []} for name in _KEYS],
    }
    if operation.description:
        made["description"] = operation.description
    if parameters := [*_places(path), *_queries(found), *operation.parameters]:
        made["parameters"] = parameters
    if operation.takes:
        made["requestBody"] = {"required": operation.needs_body, "content": operation.takes}
    return made


def _good(status: int, operation: Operation) -> Json:
    made: Json = {"description": HTTPStatus(status).phrase}
    if operation.gives[status]:
        made["content"] = operation.gives[status]
    if operation.headers:
        made["headers"] = {
            name: {"description": text, "schema": {"type": "string"}}
            for name, text in operation.headers.items()
        }
    return made


def _places(path: str) -> list[Json]:
    """The parameters in a path."""
    names = [part[1:-1] for part in path.split("/") if part.startswith("{")]
    schema = {"type": "string", "minLength": 1}
    return [
        {
            "name": name,
            "in": "path",
            "required": True,
            "description": _PLACES[name],
            "schema": schema,
        }
        for name in names
    ]


def _queries(found: Json) -> list[Json]:
    """What a route itself says of its query and headers."""
    return [each for each in found.get("parameters", []) if each["in"] != "path"]


def _operation_id(method: str, path: str) -> str:
    words = [part.strip("{}") for part in path.split("/") if part]
    return "_".join([method.lower(), *words]).replace(".", "_")
