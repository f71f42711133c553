"""Publishing: bundles in, aliases moved, bundles out again. What is checked is in `store/`.

An upload is `PUT /v2/bundles/{bundle_id}` with the zip as its body, whole or in pieces with
`Content-Range` (a partial PUT, https://www.rfc-editor.org/rfc/rfc9110#section-14.5). A piece is
answered with 202 and how much was received; after the last one `GET .../status` tells what becomes
of the bundle: `checking`, `loading`, then `live`, or `refused` with the reason.
"""

from __future__ import annotations

import asyncio
import functools
from typing import Any

from fastapi import APIRouter, Request
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, Response

from companion_server.bodies import read_body
from companion_server.problems import problem
from companion_server.security.scopes import NO_NAME, principal_of, require
from companion_server.store import Lifecycle
from companion_server.store.uploads import Part, Piece, UploadBusy, UploadGap
from headtail.errors import HeadtailError, SchemaFault, WireFault
from headtail.strictjson import parse

__all__ = ["router"]

WRITE_BYTES = 1 << 20  # collected before the disk is bothered
MAX_READ_OFF = 8 << 20  # of a refused body, so that its sender hears why instead of a reset
MAX_ALIAS_BODY = 4 << 10
_BUNDLE = "/v2/bundles/{bundle_id}"
_ALIASES = "/v2/models/{model}/aliases"


def router(lifecycle: Lifecycle) -> APIRouter:
    """The routes that change what `lifecycle` holds."""
    routes = APIRouter(tags=["publishing"])
    _uploads(routes, lifecycle)
    _aliases(routes, lifecycle)

    @routes.delete(
        _BUNDLE,
        summary="Remove a published bundle, or drop its upload",
        status_code=204,
    )
    async def remove(bundle_id: str, request: Request) -> Response:
        principal = principal_of(request.scope)
        everybodys = principal.allows("admin", NO_NAME)
        await lifecycle.remove(bundle_id, None if everybodys else principal.key_id)
        return Response(status_code=204)

    return routes


def _uploads(routes: APIRouter, lifecycle: Lifecycle) -> None:
    @routes.put(
        _BUNDLE,
        summary="Upload a bundle's zip, or a piece of it",
        status_code=202,
        response_class=JSONResponse,
    )
    async def upload(bundle_id: str, request: Request) -> Response:
        try:
            await _receive(lifecycle, bundle_id, request)
        except ClientDisconnect:
            return Response(status_code=400)  # nobody hears it; what came is kept
        except HeadtailError as error:
            return await _refusal(error, request)
        told = lifecycle.status(bundle_id, _owner(request))
        return JSONResponse(told, status_code=200 if told["state"] == "live" else 202)

    @routes.get(
        f"{_BUNDLE}/status",
        summary="Whether a bundle is served, on its way, or refused and why",
    )
    async def status(bundle_id: str, request: Request) -> dict[str, Any]:
        return lifecycle.status(bundle_id, _owner(request))


def _aliases(routes: APIRouter, lifecycle: Lifecycle) -> None:
    @routes.get(_ALIASES, summary="Aliases of a model and where they point")
    async def listing(model: str) -> dict[str, str]:
        lifecycle.store.versions(model)
        return lifecycle.store.aliases(model)

    @routes.put(
        f"{_ALIASES}/{{alias}}",
        summary="Point an alias to a bundle",
    )
    async def put(model: str, alias: str, request: Request) -> dict[str, str]:
        bundle_id = _target(await read_body(request, limit=MAX_ALIAS_BODY))
        await lifecycle.set_alias(model, alias, bundle_id)
        return lifecycle.store.aliases(model)

    @routes.delete(
        f"{_ALIASES}/{{alias}}",
        summary="Remove an alias",
        status_code=204,
    )
    async def delete(model: str, alias: str) -> Response:
        await lifecycle.set_alias(model, alias, None)
        return Response(status_code=204)


def _owner(request: Request) -> str:
    return principal_of(request.scope).key_id


async def _receive(lifecycle: Lifecycle, bundle_id: str, request: Request) -> None:
    """Store a request's piece; the last one starts the checks."""
    length = request.headers.get("content-length", "")
    if not (length.isascii() and length.isdigit()):
        raise _LengthRequired()
    owner, placed = _owner(request), request.headers.get("content-range", "")
    piece = Piece.parse(bundle_id, placed, int(length), owner=owner)
    lifecycle.store.writable()
    if lifecycle.known(bundle_id, owner):
        await _read_off(request)
        return
    uploads = lifecycle.uploads
    assert uploads is not None  # the store is writable
    part = await asyncio.to_thread(uploads.open, piece)
    with part:
        await _write(part, request)
    if part.complete:
        # the model's name stands in the manifest, which is only now there to be read
        lifecycle.accept(part, functools.partial(require, principal_of(request.scope), "publish"))


async def _write(part: Part, request: Request) -> None:
    waiting = bytearray()
    try:
        async for chunk in request.stream():
            waiting += chunk
            if len(waiting) >= WRITE_BYTES:
                await asyncio.to_thread(part.write, bytes(waiting))
                waiting.clear()
    finally:  # a sender who went away goes on from here
        await asyncio.to_thread(part.write, bytes(waiting))


async def _refusal(error: HeadtailError, request: Request) -> Response:
    response = problem(error)
    if isinstance(error, (UploadGap, UploadBusy)):
        known = {"received": error.received} if isinstance(error, UploadGap) else {"busy": True}
        response = JSONResponse({"error": str(error), **known}, status_code=error.http_status)
    if not await _read_off(request):
        response.headers["connection"] = "close"
    return response


async def _read_off(request: Request) -> bool:
    """Read what is left of a short body; False if it is too long for that."""
    length = request.headers.get("content-length", "")
    if not length.isdigit() or int(length) > MAX_READ_OFF:
        return False
    try:
        async for _ in request.stream():
            pass
    except (ClientDisconnect, RuntimeError):  # RuntimeError: it was read to its end before
        return False
    return True


def _target(body: bytes) -> str:
    try:
        value = parse(body)
    except SchemaFault as error:
        raise _no_target(error.what) from None
    if not isinstance(value, dict) or set(value) != {"bundle_id"}:
        raise _no_target("The body is something else.")
    if not isinstance(value["bundle_id"], str):
        raise _no_target(f"bundle_id is {type(value['bundle_id']).__name__}.")
    return value["bundle_id"]


def _no_target(what: str) -> WireFault:
    return WireFault(
        what,
        expected='An alias is set with the body {"bundle_id": "..."}.',
        remedy="Send the id of a bundle that /v2/bundles lists.",
    )


class _LengthRequired(WireFault):
    http_status = 411

    def __init__(self) -> None:
        super().__init__(
            "The upload has no Content-Length.",
            expected="A server that may have no room wants to know before the first byte.",
            remedy="Send the length, as every client does that sends a file.",
        )
