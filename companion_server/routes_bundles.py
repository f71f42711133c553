"""`/v2/bundles`: what a phone can download, resumable by range and checked by hash.

The strong `ETag` of a bundle is the SHA-256 of its zip, so `If-Range` makes a resumed download safe
and `If-None-Match` makes a repeated one free (RFC 9110 §13 and §14). The list has an `ETag` too,
and with `?wait=SECONDS` the answer to "nothing new" is held back until there is something: that is
how phones learn of updates for one request a minute.
"""

from __future__ import annotations

import hashlib
import time
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from companion_server.ranges import Unsatisfiable, byte_range
from companion_server.security.scopes import Principal, principal_of
from companion_server.store import BundleStore, StoredBundle
from headtail.errors import UsageFault
from headtail.strictjson import canonical_bytes

__all__ = ["router"]

MAX_WAIT_S = 55  # proxies and load balancers give up after 60
MAX_WAITING = 1024  # requests held back at once; more are answered at once
_LIST: dict[str, Any] = {
    "parameters": [
        {
            "name": "wait",
            "in": "query",
            "description": "Seconds to wait for a change if If-None-Match has the present ETag.",
            "schema": {"type": "integer", "minimum": 0, "maximum": MAX_WAIT_S, "default": 0},
        },
        {"name": "If-None-Match", "in": "header", "schema": {"type": "string"}},
    ]
}


def router(store: BundleStore) -> APIRouter:
    """The routes over `store`."""
    routes = APIRouter(tags=["bundles"])

    @routes.get(
        "/v2/bundles",
        summary="Bundles held, with size, hash, aliases and artifacts",
        openapi_extra=_LIST,
    )
    async def listing(request: Request) -> Response:
        return await _listing(store, request)

    @routes.get(
        "/v2/bundles/{bundle_id}",
        summary="One bundle as a zip",
        response_class=Response,
    )
    async def download(bundle_id: str, request: Request) -> Response:
        return _respond(store.bundle(bundle_id), request)

    routes.add_api_route(
        "/v2/bundles/{bundle_id}", download, methods=["HEAD"], include_in_schema=False
    )
    return routes


async def _listing(store: BundleStore, request: Request) -> Response:
    known = request.headers.get("if-none-match", "")
    until = time.monotonic() + _wait_s(request)
    principal = principal_of(request.scope)
    body, etag = _listed(store, principal)
    while _matches(known, etag) and (left := until - time.monotonic()) > 0:
        if store.changes.waiting >= MAX_WAITING or not await store.changes.wait(left):
            break
        body, etag = _listed(store, principal)
    headers = {"etag": etag, "cache-control": "no-cache"}
    if _matches(known, etag):
        return Response(status_code=304, headers=headers)
    return Response(body, headers=headers, media_type="application/json")


def _listed(store: BundleStore, principal: Principal) -> tuple[bytes, str]:
    """The list and its ETag; a key for some models sees those only."""
    rows = []
    for stored in store.bundles.values():
        if not principal.allows("read", stored.model):
            continue
        names = store.aliases(stored.model)
        pointing = sorted(name for name, key in names.items() if key == stored.bundle_id)
        rows.append({**stored.summary(), "aliases": pointing})
    body = canonical_bytes(rows)
    return body, f'"{hashlib.sha256(body).hexdigest()}"'


def _wait_s(request: Request) -> float:
    text = request.query_params.get("wait", "0")
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise UsageFault(
            f"wait is {text[:40]!r}.",
            expected=f"Whole seconds; more than {MAX_WAIT_S} count as {MAX_WAIT_S}.",
            remedy="Ask for /v2/bundles?wait=30, with If-None-Match and the ETag of the last list.",
        )
    return min(int(text), MAX_WAIT_S)


def _respond(stored: StoredBundle, request: Request) -> Response:
    etag = f'"{stored.zip_sha256}"'
    headers = {"etag": etag, "accept-ranges": "bytes", "cache-control": "no-cache"}
    wanted = request.headers.get("if-match")
    if wanted is not None and not _matches(wanted, etag, weakly=False):
        text = f"The zip is another one. Its ETag is {etag}. Download it from its beginning."
        return JSONResponse({"error": text}, status_code=412, headers=headers)
    if _matches(request.headers.get("if-none-match", ""), etag):
        return Response(status_code=304, headers=headers)
    size = stored.zip_bytes
    try:
        part = byte_range(_wanted_range(request, etag), size)
    except Unsatisfiable:
        text = f"Range begins past the end. The zip has {size} bytes. Ask for a range inside it."
        headers["content-range"] = f"bytes */{size}"
        return JSONResponse({"error": text}, status_code=416, headers=headers)
    start, stop = part or (0, size)
    if part:
        headers["content-range"] = f"bytes {start}-{stop - 1}/{size}"
    headers["content-length"] = str(stop - start)
    headers["content-disposition"] = f'attachment; filename="{stored.bundle_id}.zip"'
    status = 206 if part else 200
    if request.method == "HEAD":
        return Response(status_code=status, headers=headers, media_type="application/zip")
    body = stored.read(start, stop)
    return StreamingResponse(
        body, status_code=status, headers=headers, media_type="application/zip"
    )


def _wanted_range(request: Request, etag: str) -> str:
    # RFC 9110 §14.2: Range is defined for GET only; §13.1.5: If-Range compares strongly
    if request.method != "GET" or request.headers.get("if-range", etag) != etag:
        return ""
    return request.headers.get("range", "")


def _matches(header: str, etag: str, *, weakly: bool = True) -> bool:
    # RFC 9110 §13.1.2: the weak comparison, so W/"x" matches "x"; §13.1.1: If-Match is strong
    tags = (tag.strip() for tag in header.split(","))
    return any((tag.removeprefix("W/") if weakly else tag) in (etag, "*") for tag in tags)
