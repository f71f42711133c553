"""Errors as the Open Inference Protocol writes them: a status and `{"error": "..."}`.

The status comes from one place, `http_status` in the tree of `headtail.errors` and in `conditions`.
A 409 body also has `held`: the bundles and their cuts. A 429 has `Retry-After` in whole seconds, as
RFC 9110 §10.2.3 wants it, and `retry_after_ms` in its body.
"""

from __future__ import annotations

import math

from fastapi import FastAPI, Request
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from companion_server.conditions import DeadlinePassed, NotReady, Shed
from companion_server.operations.records import current_record
from headtail.errors import BundleMismatch, HeadtailError, TooLarge

__all__ = ["DeadlinePassed", "NotReady", "Shed", "install", "problem"]


def problem(error: HeadtailError) -> JSONResponse:
    """The response for an error of the tree."""
    body: dict[str, object] = {"error": str(error)}
    if isinstance(error, BundleMismatch):
        body["held"] = error.held
    headers = {}
    if isinstance(error, TooLarge):
        # what is left of a refused body would be read as the next request of this connection
        headers["connection"] = "close"
    if isinstance(error, Shed):
        headers["retry-after"] = str(math.ceil(error.retry_after_s))
        body["retry_after_ms"] = round(error.retry_after_s * 1e3)
        record = current_record.get()
        if record is not None:
            record.shed = error.reason
    return JSONResponse(body, status_code=error.http_status, headers=headers)


def install(app: FastAPI) -> None:
    """Give every failing request of `app` a body in the protocol's shape."""
    app.add_exception_handler(HeadtailError, _known)
    app.add_exception_handler(HTTPException, _routing)
    app.add_exception_handler(Exception, _unknown)


async def _known(_request: Request, error: Exception) -> Response:
    # not logged: anybody could fill the log with refusals, and the client has been told
    assert isinstance(error, HeadtailError)
    return problem(error)


async def _routing(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    asked = f"{request.method} {request.url.path[:200]}"
    text = f"{error.detail}: {asked}. The routes are listed at /openapi.json."
    return JSONResponse({"error": text}, status_code=error.status_code, headers=error.headers)


async def _unknown(_request: Request, _error: Exception) -> Response:
    # starlette re-raises after this, so the traceback is logged by the server and not sent
    return JSONResponse(
        {"error": "Internal error. The request was not answered. See the server's log."},
        status_code=500,
    )
