"""Errors as the Open Inference Protocol writes them: a status and `{"error": "..."}`.

The status comes from one place, `http_status` in the tree of `headtail.errors`; this module adds
the two conditions that only a server has. A 409 body also has `held`: the bundles and their cuts.

    NotReady         503   the tails are still being loaded, or could not be
    DeadlinePassed   504   the client's budget was spent before compute began; nothing was computed
"""

from __future__ import annotations

from fastapi import FastAPI, Request
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from headtail.errors import BundleMismatch, EnvironmentFault, HeadtailError, TooLarge, WireFault

__all__ = ["DeadlinePassed", "NotReady", "install", "problem"]


class NotReady(EnvironmentFault):
    """The server cannot answer yet, or cannot at all; the text says which."""


class DeadlinePassed(WireFault):
    """The client's time budget was spent before compute began."""

    http_status = 504


def problem(error: HeadtailError) -> JSONResponse:
    """The response for an error of the tree."""
    body: dict[str, object] = {"error": str(error)}
    if isinstance(error, BundleMismatch):
        body["held"] = error.held
    # what is left of a refused body would be read as the next request of this connection
    headers = {"connection": "close"} if isinstance(error, TooLarge) else None
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
    text = f"{error.detail}: {request.method} {request.url.path}. The routes are listed at /v2."
    return JSONResponse({"error": text}, status_code=error.status_code, headers=error.headers)


async def _unknown(_request: Request, _error: Exception) -> Response:
    # starlette re-raises after this, so the traceback is logged by the server and not sent
    return JSONResponse(
        {"error": "Internal error. The request was not answered. See the server's log."},
        status_code=500,
    )
