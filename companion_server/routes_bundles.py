"""`/v2/bundles`: what a phone can download, resumable by range and checked by hash.

The strong `ETag` of a bundle is the SHA-256 of its zip, so `If-Range` makes a resumed download safe
and `If-None-Match` makes a repeated one free (RFC 9110 §13 and §14).
"""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from companion_server.ranges import Unsatisfiable, byte_range
from companion_server.store import BundleStore, StoredBundle

__all__ = ["router"]


def router(store: BundleStore) -> APIRouter:
    """The routes over `store`."""
    routes = APIRouter(tags=["bundles"])

    @routes.get("/v2/bundles", summary="Bundles held, with size, hash and artifacts")
    async def listing() -> list[dict[str, Any]]:
        return [stored.summary() for stored in store.bundles.values()]

    @routes.get(
        "/v2/bundles/{bundle_id}",
        summary="One bundle as a zip",
        response_class=Response,
        responses={206: {}, 304: {}, 404: {}, 416: {}},
    )
    async def download(bundle_id: str, request: Request) -> Response:
        return _respond(store.bundle(bundle_id), request)

    routes.add_api_route(
        "/v2/bundles/{bundle_id}", download, methods=["HEAD"], include_in_schema=False
    )
    return routes


def _respond(stored: StoredBundle, request: Request) -> Response:
    etag = f'"{stored.zip_sha256}"'
    headers = {"etag": etag, "accept-ranges": "bytes", "cache-control": "no-cache"}
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


def _matches(header: str, etag: str) -> bool:
    # RFC 9110 §13.1.2: the weak comparison, so W/"x" matches "x"
    tags = (tag.strip().removeprefix("W/") for tag in header.split(","))
    return any(tag in (etag, "*") for tag in tags)
